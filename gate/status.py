"""The gate at a glance: what the console, ``gate status`` and ``GET /api/v1/status`` show. Also the API's schema."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gate import attention
from gate.core.notation import format_duration, format_rate, parse_rate
from gate.core.orders import Orders
from gate.core.settings import Room, Settings
from gate.core.snapshot import RoomView
from gate.core.words import Order, Reason, RoomMode, Shedding, Switch
from gate.heartbeat import Beat, Condition, RoomBeat

Setting = Literal["mode", "rate", "burst", "active", "session", "message", "left"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, extra="forbid")


class DrawStatus(Part):
    """The draw of a room with `order: random`. `gate verify-draw` recomputes it."""

    commitment: str | None
    """SHA-256 of the seed, hex; null until a worker has told it."""
    drawn: int | None
    """How many were drawn; null: not yet."""
    seed: str | None
    """Hex; null until the draw."""


class GroupStatus(Part):
    name: str
    share: float
    """The part of the rate that is theirs while others wait too, 0 to 1."""
    waiting: int
    """How many of them wait to be called."""


class RoomStatus(Part):
    name: str
    mode: RoomMode
    rate: str
    """The rate in force, like `120/minute`."""
    per_second: float
    """The same, in visitors per second."""
    burst: int
    active: int | None
    """The cap on visitors inside, or null."""
    message: str
    """What everybody in line reads."""
    session: str
    """How long a pass lives after its last use, like `10m`."""
    order: Order
    opens: float | None
    """Unix seconds; nobody enters before. Null: no such time."""
    closes: float | None
    """Unix seconds; nobody new enters from then on."""
    maximum: int | None
    """The longest line, or null."""
    left: int | None
    """So much is left to sell; null: nobody has said."""
    draw: DrawStatus | None
    """Null for a room without a draw."""
    groups: list[GroupStatus]
    ordered: list[Setting]
    """Which of these an operator has set over the config."""
    shadow: bool
    waiting: int
    inside: int
    serving: int
    last: int
    epoch: int
    tokens: float
    admitted_per_second: float | None
    """Over the last minute, by all gates that share the store; null while it is not known."""

    @property
    def used(self) -> float:
        """Share of the rate that is used, 0 to 1 (a burst can be more; it counts as 1)."""
        return min(1.0, (self.admitted_per_second or 0.0) / self.per_second) if self.per_second else 0.0


class WorkerStatus(Part):
    number: int
    pid: int
    alive: bool
    """Heard from in the last 5 s."""
    age: float
    """Seconds since it was last heard from."""
    uptime: float
    """Seconds."""
    condition: Condition
    since: float
    """When the condition began, Unix seconds."""
    version: int
    """The orders it follows."""
    config: str
    """Digest of the config it follows."""
    key: str
    """Id of the key it signs with."""
    in_flight: int
    connections: int
    store_up: bool
    origin_up: bool


class BreakerStatus(Part):
    route: str
    state: Literal["closed", "half-open", "open"]
    """The worst of any worker. Half open: the next request probes, or one is probing."""
    workers: int
    """How many workers do not hold it closed."""


class StoreStatus(Part):
    up: bool
    age: float | None
    """Seconds since the counters were read; null when never."""


class OriginStatus(Part):
    up: bool
    servers: dict[str, bool]


class FallbackStatus(Part):
    mode: Switch
    on: bool


class SheddingStatus(Part):
    mode: Shedding
    level: int
    """0 none, 1 sheddable routes, 2 normal ones too."""


class Status(Part):
    time: float
    """Unix seconds."""
    gate: str
    """Version of the gate."""
    version: int
    """Version of the orders; grows by one with every change."""
    in_force: bool
    """Every living worker follows this version."""
    stored: bool
    """The orders are in the store; false while it is away."""
    config_refused: bool
    """The config file on disk is not in force: it has mistakes, or the workers did not start with it."""
    store: StoreStatus
    origin: OriginStatus
    fallback: FallbackStatus
    shedding: SheddingStatus
    in_flight: int
    connections: int
    workers: list[WorkerStatus]
    rooms: list[RoomStatus]
    breakers: list[BreakerStatus]
    problems: list[str]
    """What an operator should know now, in sentences."""


def gather(
    settings: Settings,
    orders: Orders,
    beats: list[Beat],
    *,
    now: float,
    gate: str,
    stored: bool,
    refused: bool,
    problems: list[str],
    entering: Mapping[str, float],
) -> Status:
    """One picture of what the workers said. Where they differ: shared counters from whoever read them last, and a thing is
    up when it is for at least one living worker, because one worker's broken path is not an outage.

    ``entering``: visitors a second, by room, where it is known (:func:`admitted`)."""
    living = [beat for beat in beats if beat.fresh(now)]
    informed = _informed(living)
    origin_up = any(beat.origin_up for beat in living)
    level = max((beat.overload for beat in living), default=0)
    if orders.shedding is not Shedding.AUTO:
        level = 0 if orders.shedding is Shedding.OFF else int(orders.shedding)
    servers: dict[str, bool] = {}
    for beat in living:
        for url, up in beat.servers.items():
            servers[url] = servers.get(url, False) or up
    rooms = [
        _room(settings, orders, name, informed.rooms.get(name, RoomBeat()) if informed else RoomBeat(), entering.get(name))
        for name in settings.rooms
    ]
    return Status(
        time=now,
        gate=gate,
        version=orders.version,
        in_force=bool(living) and all(beat.orders >= orders.version for beat in living),
        stored=stored,
        config_refused=refused,
        store=StoreStatus(
            up=any(beat.store_up for beat in living),
            age=None if informed is None else round(max(0.0, now - informed.taken), 1),
        ),
        origin=OriginStatus(up=origin_up, servers=servers),
        fallback=FallbackStatus(
            mode=orders.fallback,
            on=orders.fallback is Switch.ON or (orders.fallback is Switch.AUTO and bool(living) and not origin_up),
        ),
        shedding=SheddingStatus(mode=orders.shedding, level=level),
        in_flight=sum(beat.in_flight for beat in living),
        connections=sum(beat.connections for beat in living),
        workers=[_worker(beat, now) for beat in beats],
        rooms=rooms,
        breakers=[
            _breaker(route.name, [beat.breakers.get(route.name, "closed") for beat in living])
            for route in settings.routes
            if route.breaker is not None
        ],
        problems=[
            *attention.of_gate(orders, beats, living),
            *(sentence for room in rooms for sentence in attention.of_room(room, now)),
            *problems,
        ],
    )


def _informed(living: list[Beat]) -> Beat | None:
    """Whoever has read the store's counters last."""
    return max((beat for beat in living if beat.taken > 0), key=lambda beat: beat.taken, default=None)


def admitted(room: str, beats: list[Beat], now: float) -> int | None:
    """So many have entered since the line began; None while the store is away. From whoever has seen the most of the newest
    epoch, so that it does not go back with every other beat."""
    told = [beat.rooms[room] for beat in beats if beat.fresh(now) and beat.store_up and room in beat.rooms]
    return max(((each.epoch, each.admitted) for each in told if each.told), default=(0, None))[1]


def view_of(settings: Settings, orders: Orders, name: str, beats: list[Beat], now: float) -> tuple[RoomView, Reason | None]:
    """A room as the workers tell it, under ``orders``, and why nobody is called whatever the room's own settings are."""
    living = [beat for beat in beats if beat.fresh(now)]
    informed = _informed(living)
    told = informed.rooms.get(name, RoomBeat()) if informed else RoomBeat()
    view = orders.room(name).view_of(settings.rooms[name])
    view = replace(
        view,
        epoch=told.epoch,
        serving=told.serving,
        last=told.last,
        waiting=told.waiting,
        through=told.through,
        inside=told.inside,
        tokens=told.tokens,
        present=told.present,
        admitted_per_second=told.admitted_per_second,
        drawn=told.drawn,
        left=told.left if view.left is None else view.left,
    )
    if orders.fallback is Switch.ON:
        return view, Reason.ORDERED
    if not any(beat.store_up for beat in living):
        return view, Reason.STORE
    down = orders.fallback is Switch.AUTO and not any(beat.origin_up for beat in living)
    return view, Reason.ORIGIN_DOWN if down else None


def _breaker(route: str, states: list[str]) -> BreakerStatus:
    worst: Literal["closed", "half-open", "open"] = (
        "open" if "open" in states else "half-open" if "half-open" in states else "closed"
    )
    return BreakerStatus(route=route, state=worst, workers=sum(state != "closed" for state in states))


def _worker(beat: Beat, now: float) -> WorkerStatus:
    return WorkerStatus(
        number=beat.worker,
        pid=beat.pid,
        alive=beat.fresh(now),
        age=round(beat.age(now), 1),
        uptime=round(max(0.0, beat.time - beat.started), 1),
        condition=beat.condition,
        since=beat.since,
        version=beat.orders,
        config=beat.config,
        key=beat.key,
        in_flight=beat.in_flight,
        connections=beat.connections,
        store_up=beat.store_up,
        origin_up=beat.origin_up,
    )


def _room(settings: Settings, orders: Orders, name: str, beat: RoomBeat, entering: float | None) -> RoomStatus:
    room, ordered = settings.rooms[name], orders.room(name)
    amount, period = ordered.amount_and_period(room)
    settings_ordered: tuple[Setting, ...] = ("rate", "burst", "active", "session", "message", "left")
    set_by_order = [setting for setting in settings_ordered if getattr(ordered, setting) is not None]
    if ordered.mode is not RoomMode.AUTO:
        set_by_order.insert(0, "mode")
    return RoomStatus(
        name=name,
        mode=ordered.mode,
        rate=format_rate(room.rate if ordered.rate is None else parse_rate(ordered.rate)),
        per_second=amount / period,
        burst=ordered.burst_of(room),
        active=ordered.active_of(room),
        message=ordered.message_of(room),
        session=format_duration(ordered.session_of(room)),
        order=room.order,
        opens=room.opens,
        closes=room.closes,
        maximum=room.maximum,
        left=beat.left if ordered.left is None else ordered.left,
        draw=_draw(room, beat),
        groups=[
            GroupStatus(name=group, share=room.groups[group].share, waiting=beat.groups.get(group, 0)) for group in room.groups
        ],
        ordered=set_by_order,
        shadow=room.shadow,
        waiting=beat.waiting,
        inside=beat.inside,
        serving=beat.serving,
        last=beat.last,
        epoch=beat.epoch,
        tokens=round(beat.tokens, 3),
        admitted_per_second=None if entering is None else round(entering, 3),
    )


def _draw(room: Room, beat: RoomBeat) -> DrawStatus | None:
    drawn = beat.drawn if beat.drawn > 0 else None  # less: nobody was there to be drawn
    if room.order is not Order.RANDOM and drawn is None:
        return None
    return DrawStatus(commitment=beat.commitment or None, drawn=drawn, seed=beat.seed or None)
