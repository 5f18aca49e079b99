"""Who was called and may not have heard of it yet, and how many of those called come.

A called visitor hears of it when it looks at the status again, which the pages do the oftener the nearer they are. Until it
must have heard, it counts as somebody who may come any moment: nobody new enters past it.
"""

import math
from dataclasses import dataclass

from gate.core.bucket import SECOND
from gate.core.line import Terms

LOOK = 8.0  # seconds of rate that are called ahead: more than it takes to hear of it, and to come back once
LEAST_SHARE = 0.02  # no fewer than this share of those called are taken to be present,
MOST_SEEN = 0.6  # and no more than this of those who were seen again: who is far away looks seldom, and is late
SOONEST = 250_000  # microseconds until the gates know of a call
MANY = 16  # calls of a kind that are kept apart


@dataclass(slots=True)
class Call:
    """Numbers called together: those above ``after`` and up to ``upto``; at ``heard`` all of them must have heard of it.

    ``count``: those who may come, without those who were here already; ``known`` of them had been seen again since their
    tickets were given. ``sure``: all of them had, and the others were passed by.
    """

    at: int
    after: int
    upto: int
    sure: bool
    count: int = 0
    knocked: int = 0
    heard: int = 0
    known: int = 0

    def part(self, now: int) -> float:
        """Of the time until everybody has heard of it, that is over."""
        since = self.at + SOONEST
        return (now - since) / (self.heard - since) if now > since else 0.0


class Calls:
    """The calls of one room, and the share of those called who came: older ones count less."""

    def __init__(self) -> None:
        self.open: list[Call] = []  # oldest first
        self.expected = self.came = 0.0
        self.expected_seen = self.came_seen = 0.0
        self.now = -1  # microseconds: when it was measured last
        self._shares: tuple[float, float] | None = None  # as of now, until somebody knocks or is called

    @property
    def share(self) -> float:
        """Of those nothing is known of: as many as should have heard of it by now against those who knocked. Before anybody
        could come it is a quarter."""
        return (self._shares or self._count())[0]

    @property
    def share_seen(self) -> float:
        """Of those who had been seen again: :func:`share_of_seen`."""
        return (self._shares or self._count())[1]

    def _count(self) -> tuple[float, float]:
        came, expected, now = self.came, self.expected, self.now
        for call in self.open:
            if not call.sure:
                came, expected = came + call.knocked, expected + call.count * call.part(now)
        share = min(max(LEAST_SHARE, (came + 0.5) / (expected + 2)), 1.0)
        self._shares = share, share_of_seen(self.came_seen, self.expected_seen, self.open, now)
        return self._shares

    @property
    def counted(self) -> float:
        """The share of those seen again that is counted on."""
        return min(MOST_SEEN, self.share_seen)

    @property
    def unheard(self) -> int:
        """Called visitors who may still knock, present or not."""
        total = 0
        for call in self.open:
            if call.count > call.knocked:
                total += call.count - call.knocked
        return total

    def measure(self, now: int, since: int, terms: Terms) -> None:
        """Counts those who must have heard of it by now."""
        self.now, self._shares, fade = now, None, fading(now, since, terms)
        self.expected, self.came = self.expected * fade, self.came * fade
        self.expected_seen, self.came_seen = self.expected_seen * fade, self.came_seen * fade
        for call in [call for call in reversed(self.open) if call.heard < now]:
            self.open.remove(call)
            self.expected_seen += call.known
            self.came_seen += min(call.knocked, call.known)
            if not call.sure:
                self.expected, self.came = self.expected + call.count, self.came + call.knocked

    def on_the_way(self, place: float = math.inf) -> float:
        """Called visitors below ``place`` who have not knocked yet, and are expected to."""
        total = 0.0
        present, seen = self._shares or self._count()
        seen = min(MOST_SEEN, seen)
        for call in self.open:
            if call.after + 1 >= place:
                break
            some = seen * call.known
            if not call.sure:
                some = max(some, present * call.count)
            some -= call.knocked
            if some <= 0:
                continue
            if call.upto >= place:
                some = some * (place - 1 - call.after) / (call.upto - call.after)
            total += some
        return total

    def call(self, serving: int, number: int, count: int, known: int, sure: bool, hearing: int) -> None:
        """``count`` people above ``serving`` up to ``number``, ``known`` of whom were seen again. Those called within half a
        second, or when there are many, are one call."""
        if count <= 0:
            return
        self._shares = None
        heard = self.now + hearing
        alike = [call for call in self.open if call.sure == sure]
        if not alike or (self.now - alike[-1].at > 500_000 and len(alike) < MANY):
            alike.append(Call(self.now, serving, number, sure))
            self.open.append(alike[-1])
        newest = alike[-1]
        newest.upto, newest.heard = max(newest.upto, number), max(newest.heard, heard)
        newest.count, newest.known = newest.count + count, newest.known + known

    def of(self, place: float) -> Call | None:
        """A call that ``place`` is in, if anybody of it is still to come."""
        return next((call for call in self.open if call.after < place <= call.upto and call.knocked < call.count), None)

    def knocked(self, place: float, settled: int) -> None:
        """For the first time."""
        if self.came_in(place):
            return
        if place > settled:
            self.came += 1
        else:
            self.came_seen += 1

    def came_in(self, place: float) -> bool:
        """One who was called came. False: of none of these calls."""
        self._shares = None
        call = self.of(place)
        if call is not None:
            call.knocked += 1
        return call is not None

    def came_back(self) -> None:
        """One who stands at the door already knocks at a place that nobody has knocked at."""
        self.expected, self.came, self._shares = self.expected + 1, self.came + 1, None

    def went(self) -> None:
        """One who was called as it came, and nobody expected, has left the door."""
        self.expected, self._shares = self.expected + 1, None

    def was_here(self, number: int) -> None:
        """Called as it came: nobody to be expected."""
        self._shares = None
        call = self.of(number)
        if call is not None:
            call.count -= 1


def share_of_seen(came: float, expected: float, calls: list[Call], now: int) -> float:
    """Of those called who had been seen again, how many come: all, until it turns out otherwise. Of ``expected`` who must have
    heard of it ``came`` came, and ``calls`` are under way: the first half of the time nobody can have come, and until all must
    have heard of it a call tells only that too few came. Where others were called with them, whoever came is taken to be one of
    these."""
    for call in calls:
        if call.known:
            knocked, due = min(call.knocked, call.known), call.known * (2 * call.part(now) - 1)
            if due > knocked:
                came, expected = came + knocked, expected + due
    return min(max(LEAST_SHARE, (came + 2) / (expected + 2)), 1.0)


def fading(now: int, since: int, terms: Terms) -> float:
    """What those who came or did not count for after that time, against now."""
    window = max(12.0, 20 / terms.per_second) if terms.step > 0 else 12.0
    return math.exp(-((now - since) / SECOND) / window)


def hearing(ahead: int, present: float, terms: Terms) -> int:
    """How long it takes until a visitor who is called now and looks when told has knocked, microseconds.

    The pages look at the status after 0.15 of the shortest wait, or 2 to 30 seconds, up to 1.3 times that; a cache adds a
    second, a page's own beat another (:mod:`gate.core.wait`). The share may have been higher at the last look.
    """
    poll = 30.0
    if terms.step > 0:
        poll = min(poll, max(2.0, 0.2 * present * ahead / terms.per_second))
    return math.floor((2.5 + 1.3 * poll) * SECOND)
