"""An immutable picture of everything outside the request that a decision looks at; refreshed in the background."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gate.core.draw import drawn_place
from gate.core.line import RoomState
from gate.core.words import RoomMode, Shedding, Switch


@dataclass(frozen=True, slots=True)
class GroupView:
    """``serving`` turns of a priority group have been called; ``share`` of the rate is its own while others wait too."""

    serving: int
    share: float
    last: int = 0  # turns given so far


@dataclass(frozen=True, slots=True)
class RoomView:
    """One room as the store last told it, with the operator's orders on top of the config."""

    name: str
    mode: RoomMode = RoomMode.AUTO
    amount: int = 0  # rate: `amount` new visitors …
    period: float = 60.0  # … per this many seconds
    burst: int = 1
    active: int | None = None
    message: str = ""  # the operator's word to everybody in line
    session: float = 600.0  # seconds a pass lives after its last use
    told: bool = False  # by the store a moment ago: its part that holds this room is there, whatever of others
    epoch: int = 1
    serving: int = 0  # the highest number called so far
    last: int = 0  # the highest number given so far
    waiting: int = 0  # in line and present, for all that is known: not called yet, called and expected, or at the door
    through: int = 0  # so many numbers have entered or are gone; never fewer than before
    base: int = 0  # the last number given before this epoch
    inside: int = 0  # seats taken
    tokens: float = 0.0  # whole and part tokens in the bucket when the picture was taken
    present: float = 1.0  # the share of the numbers not yet called that are expected to come
    admitted_per_second: float = 0.0  # measured over the last minute, while a line stands; 0: unknown
    revoked: frozenset[str] = frozenset()  # pass ids given back before their time
    opens: float = 0.0  # Unix time, seconds; nobody enters before
    closes: float = math.inf  # nor from then on
    draw: bool = False  # those who come before `opens` are drawn then
    drawn: int = 0  # so many were; 0: not yet
    seed: bytes = b""  # of the draw; published once `drawn`
    maximum: int | None = None  # of the line
    left: int | None = None  # so much is left to sell, by the operator's word or the shop's
    groups: Mapping[int, GroupView] = field(default_factory=dict)  # by the tag in their members' tickets

    def told_by(self, state: RoomState, shares: Mapping[int, float]) -> "RoomView":
        """The same room with what the store tells of it. ``shares``: of the rate, by the groups' tags."""
        return replace(
            self,
            epoch=state.epoch,
            serving=state.serving,
            last=state.last,
            waiting=state.waiting,
            through=state.through,
            base=state.base,
            inside=state.inside,
            tokens=state.tokens,
            present=state.present,
            admitted_per_second=state.admitted_per_second,
            revoked=state.revoked,
            drawn=max(0, state.drawn),
            seed=bytes.fromhex(state.seed),
            left=state.left if self.left is None else self.left,
            groups={tag: GroupView(serving, shares.get(tag, 0.0), last) for tag, last, serving in state.groups},
        )

    def turn_of(self, number: int) -> int:
        """The place in the order of the ticket ``number``: itself, unless it was drawn."""
        return drawn_place(self.seed, self.drawn, number) if 0 < number <= self.drawn and self.seed else number

    def has_called(self, turn: int, epoch: int) -> bool:
        """Numbers go on from epoch to epoch. One that was forgotten counts as called: only the store can tell where it is."""
        return epoch <= self.epoch and (turn <= self.serving or self.has_forgotten(turn, epoch))

    def has_forgotten(self, turn: int, epoch: int) -> bool:
        """An earlier epoch gave it out, and the store lost that. The number may have been given again since."""
        return epoch < self.epoch and turn > self.base

    @property
    def per_second(self) -> float:
        return self.amount / self.period


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``taken`` is Unix time in seconds. A snapshot older than the store's deadline says ``store_up = False``."""

    taken: float = 0.0
    store_up: bool = False
    local: bool = False  # the store has been away for long, and this worker lets visitors in by its share
    origin_up: bool = True
    fallback: Switch = Switch.AUTO
    shedding: Shedding = Shedding.AUTO
    overload: int = 0  # 0 none, 1 shed sheddable, 2 shed normal too: what the gate measured
    open_breakers: frozenset[str] = frozenset()  # names of routes whose breaker refuses right now
    rooms: Mapping[str, RoomView] = field(default_factory=dict)

    def knows(self, view: RoomView) -> bool:
        """May somebody enter this room now, by the store's word or by this worker's own share?"""
        return self.store_up or self.local or view.told

    @property
    def shed_level(self) -> int:
        """0, 1 or 2: the operator's order, else the measurement."""
        match self.shedding:
            case Shedding.AUTO:
                return self.overload
            case Shedding.OFF:
                return 0
            case _:
                return int(self.shedding)

    @property
    def fallback_on(self) -> bool:
        return self.fallback is Switch.ON or (self.fallback is Switch.AUTO and not self.origin_up)
