"""Is the origin overloaded? Two signals, measured by one worker: requests in flight, and time to the first byte.

The level rises at once and falls slowly: a level is kept for :data:`HOLD` seconds after the last sign of it, so that
shedding does not flap (overload.md section 3: cool-off).
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW = 5.0  # seconds of first-byte times looked at
LEAST = 10  # samples before the latency means anything
HOLD = 5.0  # seconds
MOST = 512  # samples kept


@dataclass(slots=True)
class Overload:
    """Level 1 beyond ``in_flight`` requests or a 90th percentile beyond ``latency`` seconds; level 2 at twice either."""

    in_flight: int
    latency: float
    current: int = 0  # requests at the origin now
    _samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST), repr=False)
    _seen: list[float] = field(default_factory=lambda: [-HOLD, -HOLD], repr=False)  # last sign of level 1 and 2

    def began(self, now: float) -> None:
        self.current += 1
        self._note(self.current / self.in_flight, now)

    def answered(self, seconds: float, now: float) -> None:
        self._samples.append((now, seconds))

    def ended(self) -> None:
        self.current -= 1

    def level(self, now: float) -> int:
        """0, 1 or 2. Call it about once a second."""
        self._note(self.current / self.in_flight, now)
        while self._samples and self._samples[0][0] <= now - WINDOW:
            self._samples.popleft()
        if len(self._samples) >= LEAST:
            self._note(self.percentile(0.9) / self.latency, now)
        if now - self._seen[1] < HOLD:
            return 2
        return 1 if now - self._seen[0] < HOLD else 0

    def percentile(self, share: float) -> float:
        """Of the kept first-byte times, in seconds; 0.0 when there are none."""
        if not self._samples:
            return 0.0
        ordered = sorted(seconds for _, seconds in self._samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def _note(self, load: float, now: float) -> None:
        if load > 1:
            self._seen[0] = now
        if load > 2:
            self._seen[1] = now
