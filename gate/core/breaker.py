"""A circuit breaker for one route: closed, open, half-open (Nygard, *Release It!*, chapter 5).

Two steps, as a streaming proxy needs them: :meth:`Breaker.acquire` before the request, then one report of how it went,
tagged with the generation in which it was acquired, so that a late result of an earlier state changes nothing
(the idea of sony/gobreaker).
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


RATIO_WINDOW = 10.0  # seconds
RATIO_LEAST = 20  # outcomes in the window before a ratio means anything
RATIO = 0.5


@dataclass(slots=True)
class Breaker:
    """Opens after ``failures`` failures within ``within`` seconds, or when half of at least 20 outcomes in 10 s failed.

    After ``open_for`` seconds one request is let through to probe: its success closes the breaker, its failure opens it
    again. A probe that has told nothing for as long, such as an upload that drips in, does not hold the others up: the next
    request is let through beside it, and whichever is answered first decides. Time is the caller's; any monotonic seconds
    will do.
    """

    failures: int = 3
    within: float = 60.0
    open_for: float = 30.0
    state: State = State.CLOSED
    generation: int = 0
    _opened: float = field(default=0.0, repr=False)
    _probes: int = field(default=0, repr=False)  # under way
    _probed: float = field(default=0.0, repr=False)  # when the last of them went
    _failed: deque[float] = field(default_factory=deque, repr=False)  # times of recent failures
    _recent: deque[tuple[float, bool]] = field(default_factory=deque, repr=False)  # (time, ok), for the ratio

    def refuses(self, now: float) -> bool:
        """Would :meth:`acquire` say no? Changes nothing."""
        if self.state is State.OPEN:
            return now - self._opened < self.open_for
        return self.state is State.HALF_OPEN and self._probes > 0 and now - self._probed < self.open_for

    def shown(self, now: float) -> State:
        """The state as it acts: one that would let the next request through to probe is half open, though none has come."""
        return State.HALF_OPEN if self.state is State.OPEN and not self.refuses(now) else self.state

    def acquire(self, now: float) -> int | None:
        """A generation to report with, or None: do not call the origin."""
        if self.refuses(now):
            return None
        if self.state is State.OPEN:
            self._turn(State.HALF_OPEN, now)
        if self.state is State.HALF_OPEN:
            self._probes += 1
            self._probed = now
        return self.generation

    def report(self, generation: int, ok: bool, now: float) -> None:
        """How an acquired request went."""
        if generation != self.generation:
            return
        if self.state is State.HALF_OPEN:
            self._turn(State.CLOSED if ok else State.OPEN, now)
            return
        self._recent.append((now, ok))
        while self._recent and self._recent[0][0] <= now - RATIO_WINDOW:
            self._recent.popleft()
        if ok:
            return
        self._failed.append(now)
        while self._failed and self._failed[0] <= now - self.within:
            self._failed.popleft()
        if len(self._failed) >= self.failures or self._half_failed():
            self._turn(State.OPEN, now)

    def abandon(self, generation: int) -> None:
        """The visitor left before the origin answered: that says nothing about the route."""
        if generation == self.generation and self._probes:
            self._probes -= 1

    def _half_failed(self) -> bool:
        if len(self._recent) < RATIO_LEAST:
            return False
        return sum(not ok for _, ok in self._recent) >= RATIO * len(self._recent)

    def _turn(self, state: State, now: float) -> None:
        self.state = state
        self.generation += 1
        self._probes = 0
        self._failed.clear()
        self._recent.clear()
        if state is State.OPEN:
            self._opened = now
