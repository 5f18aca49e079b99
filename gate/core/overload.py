"""Is the origin overloaded? Two signals, measured by one worker: requests that wait for their answer to begin, and how long
that takes.

Level 1 (shed what is sheddable) looks at every request. Level 2 (shed normal routes too) looks only at *vital* ones: those of
routes that are not sheddable and have no breaker of their own, so that one hanging side service never takes product pages
away. An answer that has begun is no load any more: a download or an event stream may last for hours.

The level rises at once and falls slowly: it is kept for :data:`HOLD` seconds after the last sign of it, so that shedding
does not flap (a cool-off, as in Kratos and go-zero).
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW = 5.0  # seconds of first-byte times looked at
LEAST = 10  # samples before the latency means anything
HOLD = 5.0  # seconds
MOST = 512  # samples kept


@dataclass(slots=True)
class Load:
    """What is at the origin, and how fast it begins to answer."""

    current: int = 0
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST), repr=False)

    def percentile(self, share: float) -> float:
        """Of the kept first-byte times, in seconds; 0.0 when there are none."""
        if not self.samples:
            return 0.0
        ordered = sorted(seconds for _, seconds in self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def forget(self, now: float) -> None:
        while self.samples and self.samples[0][0] <= now - WINDOW:
            self.samples.popleft()


@dataclass(slots=True)
class Overload:
    """Level 1 beyond ``in_flight`` requests or a 90th percentile beyond ``latency`` seconds; level 2 at twice either."""

    in_flight: int
    latency: float
    all: Load = field(default_factory=Load)
    vital: Load = field(default_factory=Load)
    _seen: list[float] = field(default_factory=lambda: [-HOLD, -HOLD], repr=False)  # last sign of level 1 and 2

    @property
    def current(self) -> int:
        """Requests that wait for the head of their answer."""
        return self.all.current

    def began(self, now: float, vital: bool) -> None:
        load = self.all
        load.current = current = load.current + 1
        if vital:
            self.vital.current += 1
        if current > self.in_flight:  # it is never less than the vital ones
            self._note(now)

    def answered(self, seconds: float, now: float, vital: bool) -> None:
        """It waits no more: the head is there, or it failed, after ``seconds``."""
        sample, load = (now, seconds), self.all
        load.current -= 1
        load.samples.append(sample)
        if vital:
            load = self.vital
            load.current -= 1
            load.samples.append(sample)

    def left(self, vital: bool) -> None:
        """It waits no more, and how long it took says nothing."""
        self.all.current -= 1
        if vital:
            self.vital.current -= 1

    def level(self, now: float) -> int:
        """0, 1 or 2. Call it about once a second."""
        self._note(now)
        for load, most in ((self.all, 1), (self.vital, 2)):
            load.forget(now)
            if len(load.samples) >= LEAST:
                self._sign(load.percentile(0.9) / self.latency, most, now)
        if now - self._seen[1] < HOLD:
            return 2
        return 1 if now - self._seen[0] < HOLD else 0

    def _note(self, now: float) -> None:
        self._sign(self.all.current / self.in_flight, 1, now)
        self._sign(self.vital.current / self.in_flight, 2, now)

    def _sign(self, load: float, most: int, now: float) -> None:
        if load > 1:
            self._seen[0] = now
        if load > 2 and most == 2:
            self._seen[1] = now
