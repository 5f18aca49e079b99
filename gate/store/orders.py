"""The operators' orders in the store: one versioned document, changed by compare-and-set, and a list of who did what."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gate.core.orders import Orders
from gate.store.link import Link, StoreUnavailable

KEYS = ["gate:{orders}:document", "gate:{orders}:audit"]
KEPT = 1000  # audit entries
TRIES = 20


class OrdersStore:
    def __init__(self, link: Link, *, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    async def read(self) -> Orders | None:
        """The document in force; None when there is none. Raises :class:`StoreUnavailable`."""
        text = await self._link.command("HGET", KEYS[0], "json")
        return None if text is None else _read(text)

    async def write(
        self,
        change: Callable[[Orders], Orders],
        *,
        who: str,
        what: str | Callable[[Orders, Orders], str],
        known: Orders | None = None,
    ) -> Orders:
        """Applies ``change`` to the document in force (or to ``known``, if that is newer) and puts the result in force.

        ``what`` is the text for the audit, or says it of the documents before and after; where it has nothing to say, the
        change changes nothing, and the document before is returned. Both are called again when somebody else was faster.
        Raises :class:`StoreUnavailable`.
        """
        for _ in range(TRIES):
            stored = await self.read()
            base = stored or Orders()
            if known is not None and known.version > base.version:
                base = known
            new = replace(change(base), version=base.version + 1)
            said = what if isinstance(what, str) else what(base, new)
            if not said:
                return base
            entry = {"at": self._clock(), "who": who, "what": said, "version": new.version}
            if stored is not None and stored.version == base.version:
                taken, _ = await self._offer(new, entry, "next")
            else:
                taken, _ = await self._offer(new, entry, "any")
            if taken:
                return new
        raise StoreUnavailable(f"others changed the orders {TRIES} times in a row")

    async def publish(self, orders: Orders) -> Orders:
        """Puts ``orders`` (kept elsewhere while the store was away) in force if newer; returns those in force.

        Raises :class:`StoreUnavailable`.
        """
        _, in_force = await self._offer(orders, None, "any")
        return in_force or orders

    async def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first. Raises :class:`StoreUnavailable`."""
        found = await self._link.command("LRANGE", KEYS[1], 0, limit - 1) if limit > 0 else []
        return [json.loads(entry) for entry in found]

    async def _offer(self, orders: Orders, entry: dict[str, Any] | None, how: str) -> tuple[bool, Orders | None]:
        text = json.dumps(orders.to_json())
        audit = "" if entry is None else json.dumps(entry)
        taken, _, in_force = await self._link.run("orders", KEYS, [orders.version, text, audit, how, KEPT])
        return bool(taken), _read(in_force) if in_force else None


def _read(text: bytes) -> Orders:
    try:
        return Orders.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise StoreUnavailable(f"the orders in the store cannot be read: {error}") from error
