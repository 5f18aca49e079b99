"""One room's line, in values: what it grants, how it stands, what is remembered of it, how fast it moves."""

import math
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from gate.core.bucket import MOST, SECOND, lowest_terms
from gate.core.words import Reason, RoomMode

AWAY = 2**37  # numbers from here on are times, given without the store
AWAY_ORIGIN = 1_767_225_600_000  # 2026-01-01, Unix milliseconds
GROUPED = 2**45  # numbers from here on are turns in a group: 1024 * turn + the group's tag
TICKET_LIFE = 3 * 86400.0  # seconds from when it was given, or from the opening;
TICKET_MOST = 33 * 86400.0  # but no more than these. The marks of used tickets are kept for a day longer
RATE_WINDOW = 60.0  # seconds over which admissions are measured
RATE_LEAST = 5.0  # and the least from which a rate is told


def micros(seconds: float) -> int:
    return round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a room grants, handed over with every call, so that changing it live is free.

    ``amount`` new visitors per ``period`` seconds, ``burst`` at once, ``active`` inside (None: no cap), each for
    ``session`` seconds after the last use. A burst beyond what a double counts exactly (2**53 units) is cut.
    """

    amount: int
    period: int
    burst: int = 1
    active: int | None = None
    session: float = 600.0
    mode: RoomMode = RoomMode.AUTO
    opens: float = 0.0  # Unix time, seconds, by the store's clock; nobody enters before
    closes: float = math.inf  # nor from then on
    draw: bool = False  # those numbered before `opens` are drawn then
    maximum: int | None = None  # of the line
    grace: float = 3600.0  # seconds for which a called visitor keeps its place
    groups: tuple[tuple[str, float], ...] = ()  # name and share of the rate, the first one first
    step: int = field(init=False, repr=False)
    cost: int = field(init=False, repr=False)
    opens_us: int = field(init=False, repr=False)  # microseconds; so are the next three
    closes_us: float = field(init=False, repr=False)
    session_us: int = field(init=False, repr=False)
    grace_us: int = field(init=False, repr=False)
    admits: bool = field(init=False, repr=False)  # is anybody let in by this mode?

    def __post_init__(self) -> None:
        if self.amount < 0 or self.period <= 0 or self.burst < 1 or self.session <= 0:
            raise ValueError(f"not terms to admit anybody by: {self!r}")
        step, cost = lowest_terms(self.amount, self.period)
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "burst", max(1, min(self.burst, MOST // cost)))
        object.__setattr__(self, "opens_us", micros(self.opens))
        object.__setattr__(self, "closes_us", micros(self.closes) if self.closes < math.inf else math.inf)
        object.__setattr__(self, "session_us", micros(self.session))
        object.__setattr__(self, "grace_us", micros(self.grace))
        object.__setattr__(self, "admits", self.mode in (RoomMode.AUTO, RoomMode.OPEN))

    @property
    def per_second(self) -> float:
        return self.step * SECOND / self.cost

    def refusal(self, now: float) -> Reason | None:
        """Why nobody is let in at ``now``, Unix time in microseconds."""
        if not self.admits:
            return Reason.HOLD if self.mode is RoomMode.HOLD else Reason.ROOM_CLOSED
        if now < self.opens_us:
            return Reason.NOT_OPEN
        if now >= self.closes_us:
            return Reason.SALE_OVER
        return None


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room as the store tells it. ``now`` is the store's Unix time in seconds."""

    epoch: int = 1
    serving: int = 0
    last: int = 0
    waiting: int = 0  # in line and present, for all that is known: not called yet, called and expected, or at the door
    through: int = 0  # so many numbers have entered or are gone; never fewer than before
    base: int = 0  # the last number given before this epoch
    inside: int = 0
    tokens: float = 0.0
    admitted_per_second: float = 0.0  # over the last minute, while a line stands; 0: unknown
    revoked: frozenset[str] = frozenset()
    now: float = 0.0
    ready: int = 0  # visitors at the door: called, have knocked, are waiting for a token
    present: float = 1.0  # the share of the numbers not yet called that are expected to come
    admitted: int = 0  # since the line began
    birth: str = ""  # names this incarnation of the store's record
    drawn: int = 0  # so many were drawn; 0: no draw yet; -1: nobody was there to be drawn
    seed: str = ""  # of the draw, hex; secret until then
    left: int | None = None  # so much is left to sell, as the shop said last
    groups: tuple[tuple[int, int, int], ...] = ()  # (tag, turns given, turns called)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The highest a process has seen of a room; restores a store that came back empty. ``epoch`` 0: never seen."""

    epoch: int = 0
    last: int = 0
    serving: int = 0
    inside: int = 0
    birth: str = ""
    least: int = 1  # epochs below this one are over: tickets were given without the store in the one before
    quiet: int = -1  # us since the caller sent its last call that was answered, by its steady clock; -1: there was none
    admitted: int = 0  # who claims leaves no other trace in what a store has lost
    drawn: int = 0
    seed: str = ""
    left: int | None = None
    server: str = ""  # which one is asked, as it says itself (gate/store/server.py); "": unknown


def is_over(joined: float, opens: float, now: float) -> bool:
    """Is a ticket too old to enter with? It waits for the opening of a room, but not for the one of the next sale: as long as
    it counts at all, the store knows whether it was used."""
    return now - joined > TICKET_MOST or now - max(joined, opens) > TICKET_LIFE


def away_number(now: float) -> int:
    """A number for a ticket given without the store at Unix time ``now``: its milliseconds, beyond all leased ones."""
    return AWAY + max(0, int(now * 1000) - AWAY_ORIGIN)


@lru_cache(maxsize=256)
def tag_of(group: str) -> int:
    """Ten bits that stand for a group's name in its members' tickets, whatever else is configured later."""
    return int.from_bytes(sha256(group.encode()).digest()[:2], "big") % 1024


def group_number(tag: int, turn: int) -> int:
    return GROUPED + turn * 1024 + tag


def group_turn(number: int) -> tuple[int, int]:
    """``(tag, turn)`` of a group member's number."""
    turn, tag = divmod(number - GROUPED, 1024)
    return tag, turn


class Throughput:
    """Admissions a second over the last minute."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int]] = deque()

    def measure(self, now: float, admitted: int, *, standing: bool) -> float:
        """While a line stands, so that a quiet hour says nothing about the next rush; 0 while there is nothing to tell."""
        if not standing:
            self._past.clear()
        return self.count(now, admitted) or 0.0

    def count(self, now: float, admitted: int) -> float | None:
        """Whether anybody waits or not. ``admitted``: in total, at ``now`` (seconds). None while there is nothing to tell."""
        past = self._past
        if past and (past[-1][1] > admitted or past[-1][0] > now):
            past.clear()  # another record of the room, or another clock
        past.append((now, admitted))
        while now - past[0][0] > RATE_WINDOW:
            past.popleft()
        seconds = now - past[0][0]
        return (admitted - past[0][1]) / seconds if seconds >= RATE_LEAST else None
