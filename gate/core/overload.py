"""Is the origin overloaded? Two signals, measured by one worker: requests that wait for their answer to begin, and how long
that takes.

Level 1 (shed what is sheddable) looks at every request. Level 2 (shed normal routes too) looks only at *vital* ones: those of
routes that are not sheddable and have no breaker of their own, so that one hanging side service never takes product pages
away. An answer that has begun is no load any more: a download or an event stream may last for hours.

The level rises at once and falls slowly: it is kept for :data:`HOLD` seconds after the last sign of it, so that shedding
does not flap (a cool-off, as in Kratos and go-zero).
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

WINDOW = 5.0  # seconds of first-byte times looked at
LEAST = 10  # samples before the latency means anything
HOLD = 5.0  # seconds
MOST = 512  # samples kept of either kind of requests


@dataclass(slots=True)
class Load:
    """Requests that wait for the head of their answer, and of those that have it when it came, and after how many seconds.

    Who sends a request counts it here (:class:`gate.attempt.Lane`): a call would cost more than to count does.
    """

    current: int = 0
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST), repr=False)

    def forget(self, now: float) -> None:
        while self.samples and self.samples[0][0] <= now - WINDOW:
            self.samples.popleft()


@dataclass(slots=True)
class Overload:
    """Level 1 beyond ``in_flight`` requests or a 90th percentile beyond ``latency`` seconds; level 2 at twice either.

    Each request is either in the load of the vital ones or in that of the others.
    """

    in_flight: int
    latency: float
    vital: Load = field(default_factory=Load)
    others: Load = field(default_factory=Load)
    _seen: list[float] = field(default_factory=lambda: [-HOLD, -HOLD], repr=False)  # last sign of level 1 and 2

    @property
    def current(self) -> int:
        """Requests that wait for the head of their answer."""
        return self.vital.current + self.others.current

    def note(self, now: float) -> None:
        """Keep a sign of it if too many wait. To be called when there are more than ``in_flight``."""
        self._sign(self.current / self.in_flight, 1, now)
        self._sign(self.vital.current / self.in_flight, 2, now)

    def level(self, now: float) -> int:
        """0, 1 or 2. Call it about once a second."""
        self.note(now)
        self.vital.forget(now)
        self.others.forget(now)
        for samples, most in ((self._latest(), 1), (self.vital.samples, 2)):
            if len(samples) >= LEAST:
                self._sign(_percentile(samples, 0.9) / self.latency, most, now)
        if now - self._seen[1] < HOLD:
            return 2
        return 1 if now - self._seen[0] < HOLD else 0

    def _latest(self) -> Collection[tuple[float, float]]:
        """Of all requests together as many samples as are kept of either kind."""
        if not self.others.samples:
            return self.vital.samples
        return sorted((*self.vital.samples, *self.others.samples))[-MOST:]

    def _sign(self, load: float, most: int, now: float) -> None:
        if load > 1:
            self._seen[0] = now
        if load > 2 and most == 2:
            self._seen[1] = now


def _percentile(samples: Collection[tuple[float, float]], share: float) -> float:
    ordered = sorted(seconds for _, seconds in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
