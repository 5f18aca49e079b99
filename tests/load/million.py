"""How long a line the store can bear: what a waiting visitor costs it in memory, and a tick and a claim in time.

``python -m tests.load.million [VISITORS]`` from the repository; a million unless told otherwise. Everybody joins through
:class:`gate.store.line.Line`, as the workers of a gate do, and is seen once more; two thousand come to the door.
"""

import asyncio
import math
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gate.core.credentials import Ticket, new_id
from gate.core.line import Terms
from gate.store.line import NOTED_EVERY, Line
from gate.store.link import Link
from gate.store.memory import Memory
from tests.stores import StoreServer

SHORT, FULL, FEW = 100_000, 1_000_000, 10_000
TERMS = Terms(100, 1, burst=100)
HELD = replace(TERMS, mode=TERMS.mode.HOLD)  # nobody is called while they come
WORKERS = 2
TOGETHER = 2_000  # visitors who come in the same moment
AT_THE_DOOR, COMING = 2_000, 1_000  # called; of whom so many come before it is measured how the line moves
SEEN_TOGETHER = 100_000  # visitors who are seen again between two ticks
BATCHES, CALLS = 12, 50  # the calmest of so many batches counts: others use the machine, too
MOVING = 2.0  # seconds


@dataclass
class Cost:
    """Of one line. Memory in bytes, times in microseconds of the store's."""

    visitors: int
    joining: float = 0.0  # seconds in all, on the gate's side
    leases: int = 0  # calls to the store that it took
    memory: int = 0  # that the line's keys take, nobody having come back
    store: int = 0  # that the store takes more than before, connections and all
    seen: float = 0.0  # that each one takes who is seen again while waiting
    present: float = 0.0  # that each one takes who has come to the door: standing there, inside, or late
    tick: float = math.inf  # in the calmest batch
    claim: float = math.inf
    moved: int = 0  # admissions in MOVING seconds, once visitors come


class Measured:
    """A line of so many in a room of its own, and what it costs."""

    def __init__(self, link: Link, visitors: int) -> None:
        self.link, self.room, self.cost = link, f"line-{visitors}", Cost(visitors)
        self.lines = [
            Line(link, self.room, new_id=lambda: new_id(secrets.token_bytes), memory=Memory()) for _ in range(WORKERS)
        ]
        self.first: list[Ticket] = []

    async def join(self) -> None:
        visitors = self.cost.visitors
        for line in self.lines:
            await line.tick(HELD)
        before = await self._all_memory()
        await self.link.command("CONFIG", "RESETSTAT")
        began = time.monotonic()
        for start in range(0, visitors, TOGETHER):
            count = min(TOGETHER, visitors - start)
            entries = await asyncio.gather(*(self.lines[k % WORKERS].join(HELD) for k in range(count)))
            self.first += [entry.ticket for entry in entries[: max(0, AT_THE_DOOR - len(self.first))]]
        self.cost.joining, (self.cost.leases, _) = time.monotonic() - began, await self._scripts()
        self.cost.memory, self.cost.store = await self._memory(), await self._all_memory() - before
        state = await self.lines[0].tick(HELD)
        assert state.last - state.serving >= visitors, f"{state.last - state.serving} of {visitors} stand in line"

    async def be_seen(self) -> None:
        """Everybody, once more."""
        line, before = self.lines[0], await self._memory()
        for start in range(0, line.state.last, SEEN_TOGETHER):
            for number in range(start + 1, min(start + SEEN_TOGETHER, line.state.last) + 1):
                line.present(Ticket(self.room, line.state.epoch, number, 0, ""))
            await asyncio.sleep(NOTED_EVERY)
            await line.tick(HELD)
        self.cost.seen = (await self._memory() - before) / self.cost.visitors

    async def come(self) -> None:
        """The first of them, to the door; some enter."""
        line = self.lines[0]
        while line.state.serving < max(ticket.number for ticket in self.first):
            await line.tick(TERMS)
        before = await self._memory()
        for ticket in self.first[:COMING]:
            await line.claim(ticket, TERMS, patience=0)
        self.cost.present = (await self._memory() - before) / COMING

    async def batch(self) -> None:
        """Some ticks and some claims."""
        line, first = self.lines[0], self.first
        self.cost.tick = min(self.cost.tick, await self._time_of(lambda _: line.tick(TERMS)))
        claim = await self._time_of(lambda number: line.claim(first[number], TERMS, patience=0))
        self.cost.claim = min(self.cost.claim, claim)

    async def move(self) -> None:
        """Who is at the door enters at the rate."""
        loop = asyncio.get_running_loop()
        before, until = (await self.lines[0].tick(TERMS)).admitted, loop.time() + MOVING
        many = round(1.5 * TERMS.per_second * MOVING)  # behind those who have entered by now

        async def visitor(number: int) -> None:
            line, ticket = self.lines[number % WORKERS], self.first[number]
            while (left := until - loop.time()) > 0:
                entry = await line.claim(ticket, TERMS, patience=left)
                if entry.status != "waiting":
                    return
                await asyncio.sleep(min(entry.retry_after, max(0.0, until - loop.time())))

        await asyncio.gather(*(visitor(number) for number in range(before, before + many)))
        self.cost.moved = (await self.lines[0].tick(TERMS)).admitted - before

    # -- what the store tells of itself

    async def _all_memory(self) -> int:
        return int((await self.link.command("INFO", "memory"))["used_memory"])

    async def _memory(self) -> int:
        """All of the room's keys, to the byte."""
        keys = await self.link.command("KEYS", f"gate:{{{self.room}}}:*")
        return sum([int(await self.link.command("MEMORY", "USAGE", key, "SAMPLES", 0)) for key in keys])

    async def _scripts(self) -> tuple[int, float]:
        """How many ran since the last reset, and microseconds of each."""
        stats = (await self.link.command("INFO", "commandstats")).get("cmdstat_evalsha", {"calls": 0, "usec_per_call": 0.0})
        return stats["calls"], stats["usec_per_call"]

    async def _time_of(self, call: Callable[[int], Awaitable[object]]) -> float:
        await self.link.command("CONFIG", "RESETSTAT")
        for number in range(CALLS):
            await call(number)
        return (await self._scripts())[1]


async def compare(url: str, sizes: list[int]) -> list[Cost]:
    link = Link(url, deadline=5.0)
    await link.start()
    measured = [Measured(link, size) for size in sizes]
    try:
        for each in measured:
            await each.join()
            await each.be_seen()
        for each in measured:
            await each.come()
        for _ in range(BATCHES):  # in turns: the machine is as busy for one as for the other
            for each in measured:
                await each.batch()
        for each in measured:
            await each.move()
        return [each.cost for each in measured]
    finally:
        await link.close()


def table(costs: list[Cost]) -> Table:
    found = Table(title="A line in the store")
    rows = [
        ("waiting", *(f"{cost.visitors:,}" for cost in costs)),
        ("joining, on the gate's side, each", *(f"{cost.joining / cost.visitors * 1e6:.1f} µs" for cost in costs)),
        ("numbers a call to the store", *(f"{cost.visitors / cost.leases:.0f}" for cost in costs)),
        ("the line's keys, nobody having come back", *(f"{cost.memory:,} B" for cost in costs)),
        ("the same, each", *(f"{cost.memory / cost.visitors:.4f} B" for cost in costs)),
        ("the whole store grew by", *(f"{cost.store / 1024:.0f} KiB" for cost in costs)),
        ("who is seen again while waiting, each", *(f"{cost.seen:.2f} B" for cost in costs)),
        ("who has come to the door, each", *(f"{cost.present:.0f} B" for cost in costs)),
        ("a tick", *(f"{cost.tick:.0f} µs" for cost in costs)),
        ("a claim", *(f"{cost.claim:.0f} µs" for cost in costs)),
        (f"admitted in {MOVING:g} s at {TERMS.per_second:g} a second", *(str(cost.moved) for cost in costs)),
    ]
    head, *rest = rows
    for index, name in enumerate(head):
        found.add_column(name, justify="right" if index else "left")
    for row in rest:
        found.add_row(*row)
    return found


def main(visitors: int = FULL) -> list[Cost]:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as directory:
        server = StoreServer(Path(directory)).start()
        try:
            costs = asyncio.run(compare(server.url, [FEW, visitors]))
        finally:
            server.stop()
    Console(width=128).print(table(costs))
    return costs


if __name__ == "__main__":
    main(*(int(word.replace("_", "").replace(",", "")) for word in sys.argv[1:2]))
