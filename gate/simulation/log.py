"""What a simulated sale leaves behind, for :mod:`gate.simulation.measures`."""

from collections.abc import MutableSequence
from dataclasses import dataclass, field

from gate.core.words import Reason
from gate.simulation.people import People
from gate.simulation.sale import Sale

WINDOW = 10.0  # seconds over which the use of the rate is measured


@dataclass(slots=True)
class Sample:
    """The room at one second. ``there``: visitors who wait and have not given up; ``waiting``: as the room says."""

    second: float
    there: int
    waiting: int
    inside: int
    limited: bool  # by something else than the rate: the room was full, not open, or the store away


@dataclass
class Log:
    """What happened. ``admitted``: microsecond and visitor."""

    sale: Sale
    people: People
    admitted: list[tuple[int, int]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    most_inside: int = 0
    claims: int = 0
    grown: int = 0  # the most by which a shown place grew
    sold: int = 0
    end: float = 0.0
    over: Reason | None = None  # why nobody entered any more
    turns: MutableSequence[float] | None = None  # seconds: where a draw has put each visitor; None: as they came
