"""What an outsider measures of a sale: from the record of who came and who entered when, and from nothing else."""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from gate.core.bucket import SECOND
from gate.core.line import Terms
from gate.simulation.log import WINDOW, Log
from gate.simulation.people import ENTERED, FATES, FULL, GHOST, HIDDEN, LEFT

LEAST_TOKENS = 6  # and as long as so many tokens take
STEP = 0.5
LATER = 1.0  # who came so many seconds later and entered before has overtaken


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a list of seconds. All 0 when it is empty."""

    p10: float
    p50: float
    p90: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        ordered = sorted(values)
        if not ordered:
            return cls(0, 0, 0, 0, 0)
        found = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.1, 0.5, 0.9, 0.99)]
        return cls(*(round(value, 1) for value in (*found, ordered[-1])))


class Use(NamedTuple):
    """Of the rate, as shares: the ``least`` of any window, the first one of which begins at second ``at``, and what all windows
    have on average."""

    least: float
    at: float
    mean: float


@dataclass(frozen=True, slots=True)
class Part:
    """The visitors of one group; ``group`` None: those who were not invited."""

    group: str | None
    visitors: int
    entered: int
    left: int
    wait: Spread


@dataclass(frozen=True, slots=True)
class Figures:
    """``used``: the least share of the rate in any ``window`` seconds in which somebody present waited, and nothing but the
    rate stood against entering; None when there was no such time. ``used_at``: the second at which such a window begins.
    ``used_mean``: the share in all of them. ``excess``: by how many visitors the worst window of any
    length broke ``burst + rate * W``; 0 or less is the law. ``tau``: Kendall's, of the order of entering and of the line's
    order, for those of the common line who came when they were told; None for fewer than two. ``overtaken``: pairs of them in
    which the one who came a second later entered first; ``overtaken_by``: the longest such lead in seconds. ``peak``: of the
    visitors who waited, in whatever tab; ``counted``: of those whom the room counted as waiting, which ``maximum``, if it has
    one, is held against. ``parts``: by group, where somebody was invited.
    """

    visitors: int
    ghosts: int
    fates: dict[str, int]
    peak: int
    peak_at: float
    counted: int
    maximum: int | None
    empty_at: float | None
    over: str | None
    wait: Spread
    used: float | None
    used_at: float | None
    used_mean: float | None
    window: float
    excess: float
    most_inside: int
    tau: float | None
    overtaken: int
    overtaken_by: float
    grown: int
    sold: int
    knocks: int
    parts: list[Part]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def figures(log: Log) -> Figures:
    people, terms = log.people, log.sale.terms
    prompt = [who for _, who in log.admitted if people.kind[who] != HIDDEN and not people.group[who]]
    fates = dict.fromkeys(FATES, 0)
    for who, fate in enumerate(people.fate):
        if people.kind[who] != GHOST:
            fates[FATES[fate]] += 1
    highest = max(log.samples, key=lambda sample: sample.there, default=None)
    turns = _turns(log)
    order = [turns[who] for who in prompt]
    pairs, lead = overtaken([(turns[who], people.entered[who]) for who in prompt], LATER)
    window = max(WINDOW, LEAST_TOKENS / terms.per_second)
    use = used(log, window)
    return Figures(
        visitors=log.sale.curve.visitors,
        ghosts=log.sale.ghosts,
        fates=fates,
        peak=highest.there if highest else 0,
        peak_at=round(highest.second, 1) if highest else 0.0,
        counted=max((sample.waiting for sample in log.samples), default=0),
        maximum=terms.maximum,
        empty_at=None if fates["waits"] or log.over is not None else round(log.end, 1),
        over=None if log.over is None else log.over.value,
        wait=Spread.of(people.entered[who] - people.came[who] for _, who in log.admitted if people.kind[who] != GHOST),
        used=use and use.least,
        used_at=use and use.at,
        used_mean=use and use.mean,
        window=round(window, 1),
        excess=excess([at for at, _ in log.admitted], terms),
        most_inside=log.most_inside,
        tau=kendall(order),
        overtaken=pairs,
        overtaken_by=round(lead, 2),
        grown=log.grown,
        sold=log.sold,
        knocks=log.claims,
        parts=_parts(log),
    )


def _parts(log: Log) -> list[Part]:
    people, invited = log.people, log.sale.invited
    if not invited:
        return []
    counts = [dict.fromkeys(range(len(FATES)), 0) for _ in range(len(invited) + 1)]
    for who, fate in enumerate(people.fate):
        if people.kind[who] != GHOST:
            counts[people.group[who]][fate] += 1
    waits: list[list[float]] = [[] for _ in counts]
    for _, who in log.admitted:
        if people.kind[who] != GHOST:
            waits[people.group[who]].append(people.entered[who] - people.came[who])
    names = [None, *(name for name, _ in invited)]
    found = [
        Part(name, sum(count.values()), count[ENTERED], count[LEFT], Spread.of(wait))
        for name, count, wait in zip(names, counts, waits, strict=True)
    ]
    return [*found[1:], found[0]]


def _turns(log: Log) -> Sequence[float]:
    """When each had its place in the line, as a time: of arrival, and for those who were drawn, as if they had come
    evenly, in the order of the draw."""
    return log.turns if log.turns is not None else log.people.came


def excess(admitted: Sequence[int], terms: Terms) -> float:
    """``admitted``: microseconds, in order. Computed in whole units, so that 0 is 0."""
    worst, lowest = -math.inf, math.inf
    for index, at in enumerate(admitted):
        line = index * terms.cost - at * terms.step
        lowest = min(lowest, line)
        worst = max(worst, line - lowest + (1 - terms.burst) * terms.cost)
    return worst / terms.cost if admitted else float(-terms.burst)


def used(log: Log, window: float, start: float = 0.0) -> Use | None:
    """The share of the rate used in ``window`` seconds from ``start`` on in which somebody who looks when told waited all the
    time, and nothing but the rate stood against entering. In the least, one visitor more or less is where the window begins."""
    times = [at / SECOND for at, _ in log.admitted]
    idle = _idle(log)
    limited = [sample.second for sample in log.samples if sample.limited]
    found: list[tuple[int, float]] = []  # how many entered in each such window, and where it begins
    while start + window <= log.end:
        end = start + window
        if bisect_left(limited, start) == bisect_right(limited, end):
            gap = bisect_right(idle, (end, -math.inf)) - 1
            if gap < 0 or idle[gap][1] <= start:
                found.append((bisect_left(times, end) - bisect_left(times, start), start))
        start += STEP
    if not found:
        return None
    tokens = log.sale.terms.per_second * window
    (least, at), total = min(found), sum(count for count, _ in found)
    return Use(min(1.0, round((least + 1) / tokens, 4)), at, min(1.0, round(total / tokens / len(found), 4)))


def _idle(log: Log) -> list[tuple[float, float]]:
    """The times in which nobody waited who looks when told."""
    people = log.people
    steps = [
        step
        for who, came in enumerate(people.came)
        if people.kind[who] not in (GHOST, HIDDEN) and people.fate[who] != FULL and people.waited_until(who) > came
        for step in ((came, 1), (people.waited_until(who), -1))
        if step[0] <= log.end
    ]
    steps.sort()
    standing = accumulate(change for _, change in steps)
    gaps, since = [], 0.0
    for (second, change), count in zip(steps, standing, strict=True):
        if count == 1 and change == 1:
            gaps.append((since, second))
        elif count == 0:
            since = second
    return [*gaps, (since, math.inf)] if not steps or sum(change for _, change in steps) == 0 else gaps


def kendall(order: Sequence[float]) -> float | None:
    """Kendall's tau (a) of a sequence against its sorted self: 1 in order, 0 by chance, -1 reversed. Nearly sorted sequences
    take hardly longer than sorting."""
    count = len(order)
    if count < 2:
        return None
    passed: list[float] = []
    wrong = 0
    for value in order:
        place = bisect_right(passed, value)
        wrong += len(passed) - place
        passed.insert(place, value)
    return round(1 - 4 * wrong / (count * (count - 1)), 6)


def overtaken(entered: Sequence[tuple[float, float]], by: float) -> tuple[int, float]:
    """``entered``: the turn and the time of entering of each, in the order of entering. Pairs in which one whose turn was more
    than ``by`` seconds later entered first, and the longest time by which."""
    passed: list[float] = []
    records: list[tuple[float, float]] = []  # the latest turn so far, and when it entered
    pairs, longest = 0, 0.0
    for turn, at in entered:
        late = len(passed) - bisect_right(passed, turn + by)
        if late:
            pairs += late
            longest = max(longest, at - records[bisect_right(records, (turn + by, math.inf))][1])
        insort(passed, turn)
        if not records or turn > records[-1][0]:
            records.append((turn, at))
    return pairs, longest


def waits_by_arrival(log: Log, bins: int = 60, group: int | None = None) -> list[tuple[float, Spread]]:
    """The waits of those who came in the same part of the time: the middle of each part, and how they spread. ``group``: of
    these alone, as :class:`gate.simulation.people.People` counts groups."""
    people = log.people
    width = log.sale.curve.end / bins
    found: list[list[float]] = [[] for _ in range(bins)]
    for _, who in log.admitted:
        if group is not None and people.group[who] != group:
            continue
        found[min(bins - 1, int(people.came[who] / width))].append(people.entered[who] - people.came[who])
    return [((index + 0.5) * width, Spread.of(waits)) for index, waits in enumerate(found) if waits]


def rate_over_time(log: Log, bins: int = 120) -> list[tuple[float, float]]:
    """Admissions a second."""
    width = max(1.0, log.end / bins)
    counts = [0] * (int(log.end / width) + 1)
    for at, _ in log.admitted:
        counts[min(len(counts) - 1, int(at / SECOND / width))] += 1
    whole = counts[:-1] or counts  # the last part is not over
    return [((index + 0.5) * width, count / width) for index, count in enumerate(whole)]
