"""The token bucket, in whole numbers: in every window of W seconds it gives at most ``burst + rate * W`` tokens, exactly.

Time is in microseconds. To keep everything whole, the level is not counted in tokens but in units: a token costs ``cost``
units and every microsecond brings ``step`` of them, where ``step / cost`` is the rate in lowest terms (120 a minute: 1 unit
a microsecond, 500,000 units a token). Lua computes with doubles, so no level may go beyond 2**53.

This is the twin of ``refill`` and ``due_in`` in ``gate/store/lua/room.lua``; a test holds the two together.
"""

import math
from dataclasses import dataclass

SECOND = 1_000_000  # microseconds
MOST = 2**53  # the last whole number a double can count to


def lowest_terms(amount: int, period: int) -> tuple[int, int]:
    """``(step, cost)`` for ``amount`` tokens per ``period`` seconds. An amount of 0 never gives a token."""
    micros = period * SECOND
    common = math.gcd(amount, micros)
    return amount // common, micros // common


@dataclass(slots=True)
class Bucket:
    """``level`` units at time ``stamp``; never more than ``burst`` tokens' worth."""

    step: int
    cost: int
    burst: int
    level: int
    stamp: int

    @classmethod
    def full(cls, step: int, cost: int, burst: int, now: int) -> "Bucket":
        return cls(step, cost, burst, burst * cost, now)

    @property
    def tokens(self) -> float:
        return self.level / self.cost

    def refill(self, now: int, step: int, cost: int, burst: int) -> None:
        """Credits the time since the last call at the old rate, then goes on at the new one; parts of a token are kept."""
        cap = self.burst * self.cost
        need = cap - self.level
        if self.step > 0 and need > 0:
            elapsed = now - self.stamp
            self.level = cap if elapsed >= need / self.step else min(cap, self.level + elapsed * self.step)
        if cost != self.cost:
            tokens, part = divmod(self.level, self.cost)
            self.level = tokens * cost + min(cost - 1, math.floor(float(part) * cost / self.cost))
        self.step, self.cost, self.burst, self.stamp = step, cost, burst, now
        self.level = min(self.level, burst * cost)

    def has(self, tokens: int) -> bool:
        return self.level >= tokens * self.cost

    def take(self) -> None:
        """Raises :class:`ValueError` when there is no token: the caller has to look first."""
        if self.level < self.cost:
            raise ValueError("the bucket is empty")
        self.level -= self.cost

    def due_in(self, before: int) -> int:
        """Microseconds until there is a token for the one behind ``before`` others; a minute when the rate is 0."""
        if self.step == 0:
            return 60 * SECOND
        return max(1, math.ceil(((before + 1) * self.cost - self.level) / self.step))
