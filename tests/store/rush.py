"""Visitors of several gates on one real store, and what they saw: for tests in which the store loses a node or a slot."""

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

from gate.core.credentials import Ticket, new_id
from gate.core.decision import Entry
from gate.core.line import AWAY, Terms
from gate.core.snapshot import RoomView
from gate.core.wait import place_of
from gate.core.words import Reason
from gate.store.line import Line
from gate.store.link import Link, StoreUnavailable
from gate.store.memory import Memory

TICK = 0.1


def excess(admitted: list[int], terms: Terms) -> float:
    """By how many the fullest window is over ``burst + rate * window``. Times in microseconds; whole numbers until the end."""
    least, most = None, -(10**18)
    for index, at in enumerate(sorted(admitted)):
        line = index * terms.cost - terms.step * at
        least = line if least is None else min(least, line)
        most = max(most, line - least + terms.cost - terms.burst * terms.cost)
    return most / terms.cost


@dataclass
class Seen:
    """What came of one room. Times of the store's clock, microseconds."""

    terms: Terms
    admitted: list[int] = field(default_factory=list)
    joined: int = 0
    without_store: int = 0  # tickets given by time
    failed: int = 0  # claims that the store did not answer
    entered: dict[tuple[int, int], str] = field(default_factory=dict)  # (epoch, number) -> ticket
    twice: list[Ticket] = field(default_factory=list)  # numbers with which two tickets entered
    grown: list[tuple[int, int]] = field(default_factory=list)  # places before and after, where the later was worse

    @property
    def excess(self) -> float:
        return excess(self.admitted, self.terms)

    def between(self, begin: float, end: float) -> int:
        """Admissions between two moments, Unix seconds."""
        return sum(begin <= at / 1e6 < end for at in self.admitted)

    def longest_pause(self, begin: float, end: float) -> float:
        """Seconds in which nobody entered."""
        times = [begin, *(at / 1e6 for at in sorted(self.admitted) if begin <= at / 1e6 < end), end]
        return max(later - earlier for earlier, later in pairwise(times))


class Rush:
    """``visitors`` in each room at any time: who has entered is followed by a newcomer, unless ``refill`` is off."""

    def __init__(
        self,
        url: str,
        rooms: dict[str, Terms],
        *,
        gates: int = 2,
        visitors: int = 20,
        deadline: float = 5.0,
        refill: bool = True,
    ) -> None:
        self.seen = {room: Seen(terms) for room, terms in rooms.items()}
        self.links = [Link(url, deadline=deadline) for _ in range(gates)]
        self.lines = {
            room: [Line(link, room, new_id=lambda: new_id(secrets.token_bytes), memory=Memory()) for link in self.links]
            for room in rooms
        }
        self._visitors, self._refill = visitors, refill
        self._over = asyncio.Event()
        self._paid: set[str] = set()  # tickets that have entered

    async def run(self, meanwhile: Callable[["Rush"], Awaitable[None]]) -> None:
        """The rush goes on until ``meanwhile`` ends."""
        try:
            for link in self.links:
                await link.start()
                assert link.up, link.trouble
            async with asyncio.TaskGroup() as tasks:
                for room, lines in self.lines.items():
                    for line in lines:
                        tasks.create_task(self._tick(line, self.seen[room].terms))
                    for number in range(self._visitors):
                        tasks.create_task(self._visitor(lines[number % len(lines)], self.seen[room]))
                await meanwhile(self)
                self._over.set()
        finally:
            for link in self.links:
                await link.close()

    async def is_on(self, room: str) -> None:
        """Until the burst and two seconds' worth have entered."""
        seen = self.seen[room]
        await self._until(lambda: len(seen.admitted) >= seen.terms.burst + 2 * seen.terms.per_second, f"a rush at {room}")

    async def goes_on(self, room: str, since: float) -> None:
        """Until so many have entered since then (Unix seconds) as enter in two seconds."""
        seen = self.seen[room]
        await self._until(lambda: seen.between(since, math.inf) >= 2 * seen.terms.per_second, f"{room} goes on")

    @staticmethod
    async def _until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.1)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def _tick(self, line: Line, terms: Terms) -> None:
        while not self._over.is_set():
            with suppress(StoreUnavailable):
                await line.tick(terms)
            await self._pause(TICK)

    async def _visitor(self, line: Line, seen: Seen) -> None:
        while not self._over.is_set():
            entry = await line.join(seen.terms)
            ticket, ahead = entry.ticket, None
            seen.joined += 1
            seen.without_store += ticket.number >= AWAY
            while not self._note(entry, seen) and not self._over.is_set():
                await self._pause(min(entry.retry_after, TICK))
                ahead = self._look(ticket, line, seen, ahead)
                if ticket.number < AWAY and ticket.epoch == line.state.epoch and ticket.number > line.state.serving:
                    continue
                try:
                    entry = await line.claim(ticket, seen.terms, patience=0.2)
                except StoreUnavailable:
                    seen.failed += 1
            if entry.status == "entered":  # again, as a page that is loaded anew
                with suppress(StoreUnavailable):
                    self._note(await line.claim(ticket, seen.terms), seen)
            if not self._refill:
                return

    def _look(self, ticket: Ticket, line: Line, seen: Seen, before: int | None) -> int | None:
        """The place that the page would show."""
        state = line.state
        view = RoomView(
            line.name, epoch=state.epoch, serving=state.serving, last=state.last, waiting=state.waiting, through=state.through
        )
        place = place_of(ticket, view)
        if place is None:
            return before
        if before is not None and place.ahead > before:
            seen.grown.append((before, place.ahead))
        return place.ahead

    def _note(self, entry: Entry, seen: Seen) -> bool:
        ticket = entry.ticket
        if entry.status == "entered":
            again = ticket.id in self._paid
            if not again or entry.reason is Reason.ADMITTED:  # it paid once more where its mark was lost
                self._paid.add(ticket.id)
                seen.admitted.append(round((entry.expires - seen.terms.session) * 1e6))
            if ticket.number < AWAY and seen.entered.setdefault((ticket.epoch, ticket.number), ticket.id) != ticket.id:
                seen.twice.append(ticket)
        return entry.status in ("entered", "spent")
