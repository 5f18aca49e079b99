"""Who was called and may not have heard of it yet, and how many of those called come.

A called visitor hears of it when it looks at the status again, which the pages do the oftener the nearer they are. Until it
must have heard, it counts as somebody who may come any moment: nobody new enters past it.
"""

import math
from dataclasses import dataclass

from gate.core.bucket import SECOND
from gate.core.line import Terms

LOOK = 8.0  # seconds of rate that are called ahead: more than it takes to hear of it, and to come back once
LEAST_SHARE = 0.02  # no fewer than this share of those called are taken to be present


SOONEST = 250_000  # microseconds until the gates know of a call
MANY = 16  # calls that are kept apart


@dataclass(slots=True)
class Call:
    """Numbers called together: those above ``after`` and up to ``upto``; at ``heard`` all of them must have heard of it.

    ``count``: without those who were here already.
    """

    at: int
    after: int
    upto: int = 0
    count: int = 0
    knocked: int = 0
    heard: int = 0


class Calls:
    """The calls of one room, and the share of those called who came: older ones count less."""

    def __init__(self) -> None:
        self.open: list[Call] = []  # oldest first
        self.expected = self.came = 0.0
        self._now = 0

    @property
    def share(self) -> float:
        """As many as should have heard of it by now against those who knocked. Before anybody could come it is a quarter."""
        came, expected, now = self.came, self.expected, self._now - SOONEST
        for call in self.open:
            came += call.knocked
            if now > call.at:
                expected += call.count * (now - call.at) / (call.heard - call.at - SOONEST)
        share = (came + 0.5) / (expected + 2)
        return LEAST_SHARE if share < LEAST_SHARE else min(share, 1.0)

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
        self._now = now
        window = max(12.0, 20 / terms.per_second) if terms.step > 0 else 12.0
        fade = math.exp(-((now - since) / SECOND) / window)
        self.expected, self.came = self.expected * fade, self.came * fade
        for call in [call for call in reversed(self.open) if call.heard < now]:
            self.open.remove(call)
            self.expected, self.came = self.expected + call.count, self.came + call.knocked

    def on_the_way(self, place: float = math.inf) -> float:
        """Called visitors below ``place`` who have not knocked yet, and are expected to."""
        total, present = 0.0, self.share
        for call in self.open:
            if call.after + 1 >= place:
                break
            some = present * call.count - call.knocked
            if some <= 0:
                continue
            if call.upto >= place:
                some = some * (place - 1 - call.after) / (call.upto - call.after)
            total += some
        return total

    def call(self, serving: int, number: int, through: int, terms: Terms) -> None:
        """Everybody above ``serving`` up to ``number``. Those called within half a second, or when there are many, are one."""
        heard = self._now + self._hearing(number - through, terms)
        if not self.open or (self._now - self.open[-1].at > 500_000 and len(self.open) < MANY):
            self.open.append(Call(self._now, serving))
        newest = self.open[-1]
        newest.upto, newest.count, newest.heard = number, newest.count + number - serving, max(newest.heard, heard)

    def _hearing(self, ahead: int, terms: Terms) -> int:
        """How long it takes until a visitor who is called now and looks when told has knocked, microseconds.

        The pages look at the status after 0.15 of the shortest wait, or 2 to 30 seconds, up to 1.3 times that; a cache adds a
        second, a page's own beat another (:mod:`gate.core.wait`). The share may have been higher at the last look.
        """
        poll = 30.0
        if terms.step > 0:
            poll = min(poll, max(2.0, 0.2 * self.share * ahead / terms.per_second))
        return math.floor((2.5 + 1.3 * poll) * SECOND)

    def of(self, number: int) -> Call | None:
        return next((call for call in self.open if call.after < number <= call.upto), None)

    def knocked(self, number: int) -> None:
        """For the first time."""
        call = self.of(number)
        if call is not None and call.knocked < call.count:
            call.knocked += 1
        else:
            self.came += 1

    def was_here(self, number: int) -> None:
        """Called as it came: nobody to be expected."""
        call = self.of(number)
        if call is not None:
            call.count -= 1
