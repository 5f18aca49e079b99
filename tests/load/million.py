"""How long a line the store can bear: what a waiting visitor costs it in memory, and a tick and a claim in time.

``python -m tests.load.million [VISITORS]`` from the repository; a million unless told otherwise. Everybody joins through
:class:`gate.store.line.Line`, as the workers of a gate do; a few thousand stand at the door, the others never come back.
"""

import asyncio
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
from gate.store.line import Line
from gate.store.link import Link
from gate.store.memory import Memory
from tests.stores import StoreServer

SHORT, FULL, FEW = 100_000, 1_000_000, 10_000
TERMS = Terms(200, 1, burst=200)
WORKERS = 2
TOGETHER = 2_000  # visitors who come in the same moment
AT_THE_DOOR = 5_000
BATCHES, CALLS = 5, 100  # the calmest of so many batches counts: others use the machine, too
MOVING = 2.0  # seconds


@dataclass(frozen=True)
class Cost:
    """Of one line. Memory in bytes, times in microseconds of the store's CPU."""

    visitors: int
    joining: float  # seconds in all, on the gate's side
    leases: int  # calls to the store that it took
    memory: int  # that the line's keys take, nobody having come back
    store: int  # that the store takes more than before, connections and all
    present: float  # that each one at the door takes
    tick: float
    claim: float
    moved: int  # admissions in MOVING seconds, once visitors come


class Store:
    """The numbers a store tells of itself."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def memory(self) -> int:
        return int((await self.link.command("INFO", "memory"))["used_memory"])

    async def memory_of(self, room: str) -> int:
        """All of its keys, to the byte."""
        keys = await self.link.command("KEYS", f"gate:{{{room}}}:*")
        return sum([int(await self.link.command("MEMORY", "USAGE", key, "SAMPLES", 0)) for key in keys])

    async def calls(self) -> tuple[int, float]:
        """Scripts run since the last reset, and microseconds of each."""
        stats = (await self.link.command("INFO", "commandstats")).get("cmdstat_evalsha", {"calls": 0, "usec_per_call": 0.0})
        return stats["calls"], stats["usec_per_call"]

    async def time_of(self, call: Callable[[int], Awaitable[object]]) -> float:
        best = float("inf")
        for _ in range(BATCHES):
            await self.link.command("CONFIG", "RESETSTAT")
            for number in range(CALLS):
                await call(number)
            best = min(best, (await self.calls())[1])
        return best


async def measure(link: Link, visitors: int) -> Cost:
    """A line of so many in a room of its own."""
    store, room = Store(link), f"line-{visitors}"
    lines = [Line(link, room, new_id=lambda: new_id(secrets.token_bytes), memory=Memory()) for _ in range(WORKERS)]
    held = replace(TERMS, mode=TERMS.mode.HOLD)  # nobody is called while they come
    for line in lines:
        await line.tick(held)
    before = await store.memory()
    await link.command("CONFIG", "RESETSTAT")
    began = time.monotonic()
    first: list[Ticket] = []
    for start in range(0, visitors, TOGETHER):
        count = min(TOGETHER, visitors - start)
        entries = await asyncio.gather(*(lines[k % WORKERS].join(held) for k in range(count)))
        first += [entry.ticket for entry in entries[: max(0, AT_THE_DOOR - len(first))]]
    joining, leases = time.monotonic() - began, (await store.calls())[0]
    memory, whole = await store.memory_of(room), await store.memory() - before
    line = lines[0]
    state = await line.tick(held)
    assert state.last - state.serving >= visitors, f"{state.last - state.serving} of {visitors} stand in line"

    while line.state.serving < max(ticket.number for ticket in first):
        await line.tick(TERMS)
    before = await store.memory_of(room)
    for ticket in first:
        await line.claim(ticket, TERMS, patience=0)
    present = (await store.memory_of(room) - before) / (line.state.ready + line.state.inside)
    tick = await store.time_of(lambda _: line.tick(TERMS))
    claim = await store.time_of(lambda number: line.claim(first[number % len(first)], TERMS, patience=0))
    return Cost(visitors, joining, leases, memory, whole, present, tick, claim, await _move(lines, first))


async def _move(lines: list[Line], tickets: list[Ticket]) -> int:
    """Who is at the door enters at the rate; how many did."""
    loop = asyncio.get_running_loop()
    before, until = (await lines[0].tick(TERMS)).admitted, loop.time() + MOVING

    async def visitor(number: int) -> None:
        line, ticket = lines[number % WORKERS], tickets[number]
        while (left := until - loop.time()) > 0:
            entry = await line.claim(ticket, TERMS, patience=left)
            if entry.status != "waiting":
                return
            await asyncio.sleep(min(entry.retry_after, max(0.0, until - loop.time())))

    await asyncio.gather(*(visitor(number) for number in range(round(1.5 * TERMS.per_second * MOVING))))
    return (await lines[0].tick(TERMS)).admitted - before


async def compare(url: str, sizes: list[int]) -> list[Cost]:
    link = Link(url, deadline=5.0)
    await link.start()
    try:
        return [await measure(link, size) for size in sizes]
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
        ("who has come back and is at the door, each", *(f"{cost.present:.0f} B" for cost in costs)),
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
