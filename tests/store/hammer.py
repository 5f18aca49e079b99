"""One of several processes that join and claim as fast as they can; says "ready" once it knows the room, and in the
end prints every admission in the store's microseconds.

usage: python -m tests.store.hammer URL ROOM AMOUNT PERIOD BURST ACTIVE|- SECONDS
"""

import asyncio
import json
import secrets
import sys
import time
from contextlib import suppress

from gate.core.credentials import Ticket, new_id
from gate.core.decision import Entry
from gate.core.line import Terms
from gate.store.line import Line
from gate.store.link import Link, StoreUnavailable
from gate.store.memory import Memory

VISITORS = 12
SESSION = 600.0


async def main(url: str, room: str, amount: str, period: str, burst: str, active: str, seconds: str) -> None:
    link = Link(url, deadline=10.0)
    await link.start()
    terms = Terms(int(amount), int(period), int(burst), None if active == "-" else int(active), SESSION)
    line = Line(link, room, new_id=lambda: new_id(secrets.token_bytes), memory=Memory())
    await line.tick(terms)
    print("ready", flush=True)
    admitted: dict[str, int] = {}
    until = time.monotonic() + float(seconds)

    def note(entry: Entry) -> bool:
        if entry.status == "entered":
            at = round((entry.expires - SESSION) * 1e6)
            if admitted.setdefault(entry.ticket.id, at) != at:
                # its mark was lost with the store, or it came so late that its token had run over: it paid again
                assert line.state.epoch > 1 or at - admitted[entry.ticket.id] > 250_000, "the same ticket entered twice"
                admitted[f"{entry.ticket.id} again"] = at
        return entry.status == "entered"

    async def visitor() -> None:
        while time.monotonic() < until:
            entry = await line.join(terms)
            ticket: Ticket = entry.ticket
            while not note(entry) and time.monotonic() < until:
                await asyncio.sleep(min(entry.retry_after, 0.3))
                with suppress(StoreUnavailable):
                    entry = await line.claim(ticket, terms, patience=0.2)
            if entry.status == "entered":  # again, as a reload would
                with suppress(StoreUnavailable):
                    note(await line.claim(ticket, terms))

    async def ticker() -> None:
        while time.monotonic() < until:
            with suppress(StoreUnavailable):
                await line.tick(terms)
            await asyncio.sleep(0.25)

    await asyncio.gather(ticker(), *(visitor() for _ in range(VISITORS)))
    await link.close()
    print(json.dumps(sorted(admitted.values())))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
