"""Is the shop up? Hysteresis over active checks, and over what real requests meet.

``fall`` failed checks in a row take it down, ``rise`` good ones in a row bring it back. Real requests (passive) can take it
down too: a shop whose health page works while nobody gets an answer is down for its visitors. After such a fall good
checks count only when :data:`HOLD` seconds are over, for it is the checks that were wrong.
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW = 30.0  # seconds of real requests looked at
HOLD = 15.0  # seconds a passive fall lasts at least
LEAST = 4  # times `fall`: so many requests without an answer, and none with one, take the shop down


@dataclass(slots=True)
class Health:
    """One origin, as one worker sees it. Starts up, because a gate that just started knows nothing bad."""

    fall: int = 3
    rise: int = 2
    up: bool = True
    since: float = 0.0  # when `up` last changed; Unix time, seconds
    _run: int = field(default=0, repr=False)  # length of the run of checks that disagree with `up`
    troubles: deque[float] = field(default_factory=deque, repr=False)  # no answers since the last one, within the window
    _held_until: float = field(default=0.0, repr=False)

    def record(self, ok: bool, now: float) -> None:
        """The result of one active check. One that fails sees what the visitors saw: then the checks are right after all."""
        if not ok:
            self._held_until = 0.0
        if ok == self.up or (ok and now < self._held_until):
            self._run = 0
            return
        self._run += 1
        if self._run >= (self.rise if ok else self.fall):
            self._turn(ok, now)

    def record_answer(self) -> None:
        """A real request was answered, whatever the status."""
        self.troubles.clear()

    def record_trouble(self, now: float) -> None:
        """A real request got no answer at all: refused, timed out, reset. However the checks are going."""
        self.troubles.append(now)
        while self.troubles and self.troubles[0] <= now - WINDOW:
            self.troubles.popleft()
        if self.up and len(self.troubles) >= LEAST * self.fall:
            self._turn(False, now)
            self._held_until = now + HOLD

    def _turn(self, up: bool, now: float) -> None:
        self.up, self.since, self._run = up, now, 0
        self.troubles.clear()
