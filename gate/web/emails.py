"""Addresses of visitors who want to hear when the shop is back: on disk before they are thanked, once each.

SQLite in WAL mode with ``synchronous=FULL``: when :meth:`Emails.add` returns, the address outlives the process and the
machine's power (sqlite.org/pragma.html#pragma_synchronous). Several workers write to one file.
"""

import asyncio
import csv
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

from gate.private import NotKept

BUSY = 5.0  # seconds to wait for another worker's write
MAX_PENDING = 1024  # visitors whose address waits for the disk; more are told to try again
_SCHEMA = """
CREATE TABLE IF NOT EXISTS emails (
    key TEXT PRIMARY KEY,      -- the address, case-folded
    address TEXT NOT NULL,     -- as first written
    asked REAL NOT NULL,       -- Unix time, seconds, of the first request
    times INTEGER NOT NULL,    -- requests so far
    language TEXT NOT NULL     -- of the page it was written on
) WITHOUT ROWID
"""
_ADD = """
INSERT INTO emails VALUES (?, ?, ?, 1, ?)
ON CONFLICT (key) DO UPDATE SET times = times + 1
RETURNING times
"""
# The dot-atom form of RFC 5322 with a host name after it: what every mail system takes, and nothing that could end a
# header line or a CSV cell.
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL})@(?P<host>{_LABEL}(?:\.{_LABEL})+)")


class BadAddress(ValueError):
    """This is not an e-mail address that we would write to."""


@dataclass(frozen=True, slots=True)
class Row:
    """One address, as exported. ``confirmed`` is always "no": we wrote to nobody, so nobody has said yes twice."""

    address: str
    asked: str  # RFC 3339, UTC
    times: int
    language: str
    confirmed: str = "no"


def parse_address(text: str) -> str:
    """The address with its host in lower case. Raises :class:`BadAddress`."""
    text = text.strip(" ")
    match = _ADDRESS.fullmatch(text)
    if match is None or len(text) > 254 or len(match["local"]) > 64 or match["host"].rpartition(".")[2].isdigit():
        raise BadAddress("not an e-mail address")
    return f"{match['local']}@{match['host'].lower()}"


class Emails:
    """The addresses in one file, made with mode 0600 when the first one comes."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path.expanduser()
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="emails")
        self._connection: sqlite3.Connection | None = None  # used in that thread only
        self._waiting: list[tuple[str, str, asyncio.Future[bool]]] = []
        self._pending = 0
        self._writer: asyncio.Task[None] | None = None

    def add(self, address: str, language: str = "") -> bool:
        """Keeps a parsed address; True if it is new. Blocks. Raises :class:`NotKept`."""
        return self._thread.submit(self._write, [(address, language)]).result()[0]

    async def keep(self, address: str, language: str = "") -> bool:
        """The same without blocking. Those who come while the disk is busy share its next write."""
        if self._pending >= MAX_PENDING:
            raise NotKept("too many addresses wait for the disk")
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((address, language, done))
        self._pending += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())
        try:
            return await done
        finally:
            self._pending -= 1

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                news = await loop.run_in_executor(self._thread, self._write, [(item[0], item[1]) for item in batch])
            except Exception as error:
                for *_, done in batch:
                    if not done.done():
                        done.set_exception(error if isinstance(error, NotKept) else NotKept(str(error)))
            else:
                for (*_, done), new in zip(batch, news, strict=True):
                    if not done.done():
                        done.set_result(new)

    def _write(self, batch: list[tuple[str, str]]) -> list[bool]:
        """One transaction for all. Runs in the writing thread."""
        try:
            if self._connection is None:
                self._connection = _open(self._path)
            now = self._clock()
            with self._connection as transaction:
                transaction.execute("BEGIN IMMEDIATE")
                return [
                    transaction.execute(_ADD, (address.casefold(), address, now, language)).fetchone()[0] == 1
                    for address, language in batch
                ]
        except (sqlite3.Error, OSError) as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None  # the next try starts afresh: the disk may have been mended
            raise NotKept(str(error)) from error

    def rows(self) -> Iterator[Row]:
        """All addresses, oldest first. Raises :class:`NotKept` when the file cannot be read."""
        if not self._path.exists():
            return
        try:
            with closing(_open(self._path)) as connection:
                query = (
                    "SELECT address, strftime('%Y-%m-%dT%H:%M:%SZ', asked, 'unixepoch'), times, language "
                    "FROM emails ORDER BY asked, key"
                )
                for row in connection.execute(query):
                    yield Row(*row)
        except (sqlite3.Error, OSError) as error:
            raise NotKept(str(error)) from error

    def close(self) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def write_csv(rows: Iterable[Row], file: IO[str]) -> int:
    """A table with a heading line; how many rows. No cell can be a formula in a spreadsheet (OWASP, CSV injection)."""
    table = csv.writer(file)
    table.writerow(["address", "asked", "times", "language", "confirmed"])
    count = 0
    for row in rows:
        table.writerow([_harmless(str(cell)) for cell in astuple(row)])
        count += 1
    return count


def _harmless(cell: str) -> str:
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # SQLite gives -wal and -shm the same mode
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
