"""When visitors come: a curve through points of a time and of how many have come by then."""

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from gate.core.notation import parse_duration

_ADVICE = "write points of a time and how many have come by then, like '0:0 30s:20000 5m:50000'"
MOST = 20_000_000  # a visitor costs about 100 bytes


@dataclass(frozen=True, slots=True)
class Curve:
    """``points``: seconds, and how many have come by then; between two of them visitors come evenly."""

    points: tuple[tuple[float, int], ...]

    @classmethod
    def even(cls, visitors: int, seconds: float) -> Self:
        return cls(((0.0, 0), (seconds, visitors)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises :class:`ValueError` for what is no such curve."""
        points: list[tuple[float, int]] = []
        for word in text.split():
            time, colon, count = word.rpartition(":")
            if not colon or not count.isdigit():
                raise ValueError(f"{word!r} is no point of a curve; {_ADVICE}")
            points.append((0.0 if time == "0" else parse_duration(time), int(count)))
        if not points or points[0][1] != 0:
            points.insert(0, (0.0, 0))
        for (early, few), (late, many) in pairwise(points):
            if late <= early or many < few:
                raise ValueError(f"times must grow, and numbers must not shrink, from point to point; {_ADVICE}")
        if len(points) < 2 or points[-1][1] == 0:
            raise ValueError(f"nobody comes; {_ADVICE}")
        if points[-1][1] > MOST:
            raise ValueError(f"more than {MOST:,} visitors do not fit into memory")
        return cls(tuple(points))

    @property
    def visitors(self) -> int:
        return self.points[-1][1]

    @property
    def end(self) -> float:
        """Seconds; the last visitor has come."""
        return self.points[-1][0]

    def second_of(self, count: int) -> float:
        """When so many have come."""
        for (begin, before), (end, after) in pairwise(self.points):
            if count <= after:
                return begin + (end - begin) * (count - before) / max(1, after - before)
        return self.end

    def grown_to(self, visitors: int) -> Self:
        """The same curve for so many visitors."""
        return type(self)(tuple((second, count * visitors // self.visitors) for second, count in self.points))

    def drawn(self, rng: random.Random) -> list[float]:
        """The second at which each comes, in order."""
        seconds: list[float] = []
        for (begin, before), (end, after) in pairwise(self.points):
            seconds += sorted([begin + rng.random() * (end - begin) for _ in range(after - before)])
        return seconds
