"""Stock and orders of the demo shop in SQLite. An order and its stock change in one transaction: never oversold."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.demo.catalogue import PRODUCTS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (product TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0)) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, form TEXT NOT NULL UNIQUE, name TEXT NOT NULL, email TEXT NOT NULL,
    shipping INTEGER NOT NULL, total INTEGER NOT NULL, at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS lines (
    "order" TEXT NOT NULL REFERENCES orders (id), product TEXT NOT NULL, pieces INTEGER NOT NULL CHECK (pieces > 0),
    price INTEGER NOT NULL, PRIMARY KEY ("order", product)
) STRICT;
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


class SoldOut(Exception):
    """Fewer pieces are left than the order wants. ``product`` is the first such; ``left`` says how many there are."""

    def __init__(self, product: str, left: int) -> None:
        super().__init__(f"only {left} of {product!r} left")
        self.product = product
        self.left = left


@dataclass(frozen=True, slots=True)
class Order:
    """Money in cents, ``at`` in Unix seconds."""

    id: str
    name: str
    email: str
    shipping: int
    total: int
    at: float
    lines: Mapping[str, int]


class Warehouse:
    """One SQLite file. Safe between threads and processes; calls block for a disk write, so make them in a thread."""

    def __init__(self, path: Path, *, stock: Mapping[str, int]) -> None:
        """``stock`` fills a new file; a file that knows a product keeps its own count."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # an order that was confirmed is there after a power cut
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_SCHEMA)
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR IGNORE INTO stock VALUES (?, ?)", stock.items())
            self._db.execute("INSERT OR IGNORE INTO secrets VALUES ('cookie', ?)", (secrets.token_bytes(32),))
            self._db.execute("COMMIT")
            (self.cookie_secret,) = self._db.execute("SELECT value FROM secrets WHERE name = 'cookie'").fetchone()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def stock(self) -> dict[str, int]:
        with self._lock:
            return dict(self._db.execute("SELECT product, pieces FROM stock").fetchall())

    def place(self, form: str, cart: Mapping[str, int], *, name: str, email: str, shipping: int) -> Order:
        """Take the pieces and keep the order. The same ``form`` again gives the same order and takes nothing.

        Raises :class:`SoldOut`, and then nothing is taken.
        """
        total = sum(PRODUCTS[product].price * pieces for product, pieces in cart.items()) + shipping
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                row = self._db.execute("SELECT id FROM orders WHERE form = ?", (form,)).fetchone()
                if row is None:
                    row = (secrets.token_urlsafe(12),)
                    self._db.execute(
                        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (row[0], form, name, email, shipping, total, time.time()),
                    )
                    for product, pieces in sorted(cart.items()):
                        self._take(row[0], product, pieces)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        order = self.order(row[0])
        assert order is not None  # noqa: S101 - committed above
        return order

    def _take(self, order: str, product: str, pieces: int) -> None:
        taken = self._db.execute(
            "UPDATE stock SET pieces = pieces - ? WHERE product = ? AND pieces >= ?", (pieces, product, pieces)
        )
        if taken.rowcount != 1:
            left = self._db.execute("SELECT pieces FROM stock WHERE product = ?", (product,)).fetchone()
            raise SoldOut(product, left[0] if left else 0)
        self._db.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", (order, product, pieces, PRODUCTS[product].price))

    def order(self, wanted: str) -> Order | None:
        with self._lock:
            row = self._db.execute("SELECT id, name, email, shipping, total, at FROM orders WHERE id = ?", (wanted,)).fetchone()
            lines = self._db.execute(
                'SELECT product, pieces FROM lines WHERE "order" = ? ORDER BY product', (wanted,)
            ).fetchall()
        if row is None:
            return None
        id_, name, email, shipping, total, at = row
        return Order(id_, name, email, shipping, total, at, dict(lines))

    def count_orders(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM orders").fetchone()[0])
