"""Is the shop up? Hysteresis over active checks and over what real requests meet.

``fall`` failures in a row take it down, ``rise`` good checks in a row bring it back. Real requests (passive) can only take
it down: a shop that is down gets none, so only the checks can see it rise.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """One origin, as one worker sees it. Starts up, because a gate that just started knows nothing bad."""

    fall: int = 3
    rise: int = 2
    up: bool = True
    since: float = 0.0  # when `up` last changed; Unix time, seconds
    _run: int = field(default=0, repr=False)  # length of the run of results that disagree with `up`
    _trouble: int = field(default=0, repr=False)  # real requests in a row that got no answer

    def record(self, ok: bool, now: float) -> None:
        """The result of one active check."""
        if ok:
            self._trouble = 0
        if ok == self.up:
            self._run = 0
            return
        self._run += 1
        if self._run >= (self.rise if ok else self.fall):
            self._turn(ok, now)

    def record_answer(self) -> None:
        """A real request was answered, whatever the status."""
        self._trouble = 0

    def record_trouble(self, now: float) -> None:
        """A real request got no answer at all: refused, timed out, reset.

        Takes the origin down after ``4 * fall`` in a row without one answer between, however the checks are going: a shop
        whose health page works and whose pages do not is down for its visitors.
        """
        self._trouble += 1
        if self.up and self._trouble >= 4 * self.fall:
            self._turn(False, now)

    def _turn(self, up: bool, now: float) -> None:
        self.up, self.since, self._run, self._trouble = up, now, 0, 0
