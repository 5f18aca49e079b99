"""The page of charts: one file without scripts or anything from elsewhere; each chart is drawn, described, and a table too."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from gate.simulation.log import Log
from gate.simulation.measures import Figures, rate_over_time, waits_by_arrival
from gate.simulation.words import number, rows, span

Points = list[tuple[float, float]]

WIDTH, HEIGHT = 720, 280  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 80, 12, 12, 40  # around the drawing
MOST_POINTS = 240
TABLE_ROWS = 24


@dataclass(frozen=True, slots=True)
class Line:
    """``style``: of the stroke; a second mark beside the colour, for those who do not see the one from the other."""

    label: str
    points: Points
    colour: int = 0
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Curves:
    """What the charts show of one run."""

    label: str
    waiting: Points
    half: Points
    most: Points
    parts: list[tuple[str, Points]]  # half of each group's, and of the others'
    rate: Points
    allowed: float
    inside: Points
    active: int | None
    end: float


def curves_of(label: str, log: Log) -> Curves:
    waits = waits_by_arrival(log)
    return Curves(
        label=label,
        waiting=thinned([(sample.second, float(sample.there)) for sample in log.samples]),
        half=[(second, spread.p50) for second, spread in waits],
        most=[(second, spread.p90) for second, spread in waits],
        parts=_parts(log),
        rate=[(second, count * 60) for second, count in rate_over_time(log)],
        allowed=log.sale.terms.per_second * 60,
        inside=thinned([(sample.second, float(sample.inside)) for sample in log.samples]),
        active=log.sale.terms.active,
        end=log.end,
    )


def _parts(log: Log) -> list[tuple[str, Points]]:
    groups = [*range(1, len(log.sale.invited) + 1), 0] if log.sale.invited else []
    names = ["not invited", *(name for name, _ in log.sale.invited)]
    return [(names[group], [(second, spread.p50) for second, spread in waits_by_arrival(log, 30, group)]) for group in groups]


def page(room: str, found: Sequence[tuple[str, Figures]], curves: Sequence[Curves]) -> str:
    """The whole document."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    end = max(each.end for each in curves)
    allowed = [
        Line(f"{each.label}: allowed", [(0.0, each.allowed), (each.end, each.allowed)], n, "dots")
        for n, each in enumerate(curves)
    ]
    caps = [
        Line(f"{each.label}: at most", [(0.0, float(each.active)), (each.end, float(each.active))], n, "dots")
        for n, each in enumerate(curves)
        if each.active is not None
    ]
    charts = [
        _chart(
            "line",
            "People in line",
            "Time since the first came",
            [Line(c.label, c.waiting, n) for n, c in enumerate(curves)],
            number_of,
            end,
        ),
        _chart(
            "wait",
            "Wait, by time of arrival",
            "Came at",
            [
                line
                for n, c in enumerate(curves)
                for line in (
                    Line(f"{c.label}: half waited less", c.half, n),
                    Line(f"{c.label}: 9 of 10 waited less", c.most, n, "dashes"),
                )
            ],
            span,
        ),
        _chart(
            "rate",
            "Entered a minute",
            "Time since the first came",
            [*[Line(c.label, c.rate, n) for n, c in enumerate(curves)], *allowed],
            number_of,
            end,
        ),
        _chart(
            "inside",
            "Seats taken",
            "Time since the first came",
            [*[Line(c.label, c.inside, n) for n, c in enumerate(curves)], *caps],
            number_of,
            end,
        ),
    ]
    parts = [
        Line(f"{c.label}: half of {name} waited less", points, n, "dashes" if name == "not invited" else "solid")
        for n, (c, name, points) in enumerate((c, name, points) for c in curves for name, points in c.parts)
    ]
    if parts:
        charts.insert(2, _chart("groups", "Wait of the invited and of the others, by time of arrival", "Came at", parts, span))
    return environment.get_template("plot.html").render(
        room=room,
        runs=[label for label, _ in found],
        rows=rows([each for _, each in found]),
        charts=charts,
        width=WIDTH,
        height=HEIGHT,
    )


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """One chart, ready for the template: paths in its own units, and the same as a table."""

    id: str
    title: str
    across: str
    description: str
    paths: list[tuple[str, Line]]
    upwards: list[Tick]
    along: list[Tick]
    table: list[tuple[str, list[str]]]
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def _chart(
    id_: str, title: str, across: str, lines: list[Line], say: Callable[[float], str], end: float | None = None
) -> Drawn:
    last = end or max((point[0] for line in lines for point in line.points), default=1.0) or 1.0
    highest = max((point[1] for line in lines for point in line.points), default=1.0) or 1.0
    step = _time_step(highest / 4) if say is span else _round_step(highest / 4)
    top = math.ceil(highest / step) * step
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    every = _time_step(last / 6)

    def across_at(second: float) -> float:
        return round(LEFT + width * second / last, 1)

    def up_at(value: float) -> float:
        return round(TOP + height * (1 - value / top), 1)

    return Drawn(
        id=id_,
        title=title,
        across=across,
        description=" ".join(_told(line, say) for line in lines if line.style != "dots"),
        paths=[("M" + " ".join(f"{across_at(x)},{up_at(y)}" for x, y in line.points), line) for line in lines if line.points],
        upwards=[Tick(up_at(step * n), say(step * n)) for n in range(round(top / step) + 1)],
        along=[
            Tick(across_at(every * n), span(every * n)) for n in range(int(last / every) + 1) if last - every * n > last / 25
        ],
        table=[(span(second), [_at(line.points, second, say) for line in lines]) for second in _rows_of(last)],
    )


def _told(line: Line, say: Callable[[float], str]) -> str:
    if not line.points:
        return f"{line.label}: nothing."
    at, most = max(line.points, key=lambda point: point[1])
    return f"{line.label}: at most {say(most)}, at {span(at)}."


def _rows_of(last: float) -> list[float]:
    step = _time_step(last / TABLE_ROWS)
    return [step * n for n in range(int(last / step) + 1)]


def _at(points: Points, second: float, say: Callable[[float], str]) -> str:
    """The value at that time, between the two points around it."""
    for (x, y), (later, next_) in pairwise(points):
        if x <= second <= later:
            return say(y + (next_ - y) * (second - x) / (later - x) if later > x else y)
    return ""


def thinned(points: Points) -> Points:
    """No more than :data:`MOST_POINTS` or so: of each stretch the first and the highest."""
    size = max(1, math.ceil(2 * len(points) / MOST_POINTS))
    kept: Points = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        kept += sorted({part[0], max(part, key=lambda point: point[1])})
    return [*kept, points[-1]] if points else []


def number_of(value: float) -> str:
    return number(round(value)) if value >= 10 or value == round(value) else f"{value:.1f}"


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _time_step(least: float) -> float:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    return next((float(step) for step in steps if step >= least), math.ceil(least / 86400) * 86400.0)
