"""What the config makes of one request: the rules it meets, and what would be decided about it in each situation.

The answers come from :func:`gate.core.decide.decide` itself, asked about a made-up visitor. No running gate is needed; where
one answers, its orders and what it would decide right now are told too.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from gate.core import decide as rules
from gate.core.credentials import Pass, Ticket
from gate.core.decision import Decision, Entry, Hit, Quota, Told
from gate.core.notation import format_rate, parse_duration, parse_rate
from gate.core.orders import RoomOrders
from gate.core.path import MalformedTarget, canonical
from gate.core.settings import Limit, Room, Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.words import Order, Outcome, Reason, RoomMode, Shedding
from gate.status import Status

NOW = 1_000_000.0  # any time will do: everything below is relative to it
OPENS, CLOSES = 0.0, math.inf  # of every room, in a calm hour


@dataclass(frozen=True, slots=True)
class Situation:
    """A decision, and when it is made. ``decision`` is what the Gate-Decision header would say."""

    when: str
    decision: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Rules are named as in the file: ``rooms.checkout``, ``routes[0]``. ``path`` lists every reading that rules see."""

    request: str
    path: tuple[str, ...]
    room: str | None
    route: str | None
    limits: tuple[str, ...]
    decisions: tuple[Situation, ...]
    detail: str = ""
    now: "Now | None" = None

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request,
            "path": list(self.path),
            "room": self.room,
            "route": self.route,
            "limits": list(self.limits),
            "decisions": [{"when": situation.when, "decision": situation.decision} for situation in self.decisions],
            "detail": self.detail,
            "now": None if self.now is None else self.now.to_json(),
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        yield self.request
        if self.path:
            yield f"  matched as  {' or '.join(self.path)}"
            yield f"  room        {self.room or 'none: no pass is needed'}"
            kind = "critical, as a room guards it" if self.room else "normal"
            yield f"  route       {self.route or f'none (class {kind})'}"
            yield f"  limits      {', '.join(self.limits) or 'none'}"
        if self.detail:
            yield f"  {self.detail}"
        yield ""
        told = [*self.decisions, *(self.now.decisions if self.now is not None else ())]
        width = max(len(situation.when) for situation in told)
        for situation in self.decisions:
            yield f"  {situation.when:<{width}}  {situation.decision}"
        if self.now is not None:
            yield ""
            yield f"  The gate as it runs ({'; '.join(self.now.orders)}):"
            for situation in self.now.decisions:
                yield f"  {situation.when:<{width}}  {situation.decision}"


@dataclass(frozen=True, slots=True)
class Now:
    """The gate as it runs: the orders that bear on the request, and what it would decide at this moment."""

    orders: tuple[str, ...]
    decisions: tuple[Situation, ...]

    def to_json(self) -> dict[str, Any]:
        told = [{"when": situation.when, "decision": situation.decision} for situation in self.decisions]
        return {"orders": list(self.orders), "decisions": told}


def explain(
    url: str, method: str, address: str, headers: Sequence[str], settings: Settings, status: Status | None = None
) -> Explanation:
    """``headers`` are ``Name: value``; ``status`` is the running gate's, where there is one.

    Raises :class:`ValueError` for what makes no request at all.
    """
    method = method.upper()
    try:
        visit = _visit(url, method, address, headers)
    except MalformedTarget as error:
        return _unruled(f"{method} {url}", f"refuse; reason={Reason.MALFORMED}", str(error))
    request = f"{method} {visit.scheme}://{visit.host}{visit.path.raw.decode()}"
    if method in ("CONNECT", "TRACE"):
        return _unruled(request, f"refuse; reason={Reason.METHOD}", "not a method for a shop")
    bare = re.sub(r":\d+$", "", visit.host).rstrip(".")
    if settings.hosts and visit.host not in settings.hosts and bare not in settings.hosts:
        return _unruled(request, f"refuse; reason={Reason.HOST}", f"{bare} is not in `hosts`")
    calm = _decision(visit, _calm(settings), settings)
    if calm.outcome is Outcome.OWN:
        return _unruled(request, calm.label, "an endpoint of the gate itself: no rules apply")

    room, route = rules.room_for(visit, settings), rules.route_for(visit, settings)
    return Explanation(
        request,
        visit.path.readings,
        f"rooms.{room.name}: {format_rate(room.rate)}" if room else None,
        f"routes[{settings.routes.index(route)}]: {route.name} (class {_class_of(calm, settings)})" if route else None,
        tuple(f"limits[{index}]: {format_rate(limit.rate)} by {limit.by}" for index, limit in _limits(visit, settings)),
        tuple(_situations(visit, calm, settings)),
        now=None if status is None else _now(visit, status, settings),
    )


def _unruled(request: str, decision: str, detail: str) -> Explanation:
    return Explanation(request, (), None, None, (), (Situation("always", decision),), detail)


def _visit(url: str, method: str, address: str, headers: Sequence[str]) -> Visit:
    if not url.startswith("/"):
        url = url if "://" in url else f"https://{url}"
    odd = ValueError(f"{url!r} is no web address; write https://shop.example/checkout, or only /checkout")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise odd from error
    if parts.scheme not in ("", "http", "https") or not (parts.netloc or url.startswith("/")):
        raise odd
    # cut by hand: urlsplit mends what the gate must see as it is
    target = re.sub(r"^\w+://[^/?#]*", "", url).partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    path, query = canonical(quote(target, safe="".join(map(chr, range(33, 127)))).encode())
    fields = []
    for line in headers:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{line!r} is not a header; write 'Name: value'")
        fields.append((name.strip().lower().encode(), value.strip().encode()))
    try:
        visitor = ip_address(address)
    except ValueError:
        raise ValueError(f"{address!r} is not an address; write 203.0.113.7") from None
    host = "" if url.startswith("/") else parts.netloc.lower()
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    return Visit(method, scheme, host or "shop.example", path, query, tuple(fields), visitor)


def _limits(visit: Visit, settings: Settings) -> Iterator[tuple[int, Limit]]:
    for index, limit in enumerate(settings.limits):
        if any(pattern.matches(visit.method, reading) for pattern in limit.match for reading in visit.path.readings):
            yield index, limit


def _class_of(decision: Decision, settings: Settings) -> str:
    """What the decision makes of the class, by asking which level of shedding it falls to."""
    for level, name in ((Shedding.SHEDDABLE, "sheddable"), (Shedding.NORMAL, "normal")):
        entry = replace(decision, outcome=Outcome.FORWARD)
        if rules.can_take(entry, Snapshot(shedding=level), settings).outcome is Outcome.SHED:
            return name
    return "critical"


def _calm(settings: Settings) -> Snapshot:
    """Store and shop are well, nobody waits, and nothing is ordered."""
    views = {name: replace(RoomOrders().view_of(room), opens=OPENS, closes=CLOSES) for name, room in settings.rooms.items()}
    return Snapshot(taken=NOW, store_up=True, rooms=views)


def _now(visit: Visit, status: Status, settings: Settings) -> Now:
    room = rules.room_for(visit, settings)
    running = next((found for found in status.rooms if room is not None and found.name == room.name), None)
    orders = [f"fallback {status.fallback.mode}", f"shedding {status.shedding.mode}"]
    views = {}
    for found in status.rooms:
        rate = parse_rate(found.rate)
        views[found.name] = RoomView(
            found.name,
            mode=found.mode,
            amount=rate.amount,
            period=rate.get_expiry(),
            burst=found.burst,
            active=found.active,
            session=parse_duration(found.session),
            serving=found.serving,
            last=found.last,
            waiting=found.waiting,
            inside=found.inside,
            tokens=found.tokens,
            opens=found.opens or 0.0,
            closes=math.inf if found.closes is None else found.closes,
            draw=found.order is Order.RANDOM,
            maximum=found.maximum,
            left=found.left,
        )
    snapshot = Snapshot(
        taken=status.time,
        store_up=status.store.up,
        origin_up=status.origin.up,
        fallback=status.fallback.mode,
        shedding=status.shedding.mode,
        overload=status.shedding.level,
        open_breakers=frozenset(breaker.route for breaker in status.breakers if breaker.state == "open"),
        rooms=views,
    )
    if running is None or room is None:
        return Now(tuple(orders), (Situation("any visitor", _decision(visit, snapshot, settings).label),))
    orders = [f"mode {running.mode}", f"rate {running.rate}", *orders]
    by_hand = [name for name in running.ordered if name not in ("mode", "rate")]
    if by_hand:
        orders.insert(2, f"by hand also {', '.join(by_hand)}")
    full = running.active is not None and running.inside >= running.active
    waits = running.waiting > 0 or running.tokens < 1 or full
    carried = replace(visit, passes={room.name: Pass(room.name, "explained", status.time, status.time + room.session)})
    return Now(
        tuple(orders),
        (
            Situation("a newcomer now", _decision(visit, snapshot, settings, waits=waits).label),
            Situation("a visitor with a pass now", _decision(carried, snapshot, settings).label),
        ),
    )


def _situations(visit: Visit, plain: Decision, settings: Settings) -> Iterator[Situation]:
    """What would be decided, from the everyday to the exceptional; only what can make a difference to this request."""
    calm = _calm(settings)
    room, route = rules.room_for(visit, settings), rules.route_for(visit, settings)

    def asked(when: str, snapshot: Snapshot, who: Visit = visit, *, waits: bool = False, allowed: bool = True) -> Situation:
        return Situation(when, _decision(who, snapshot, settings, waits=waits, allowed=allowed).label)

    inside, prefix = visit, ""
    if room is None or plain.reason is Reason.BYPASS:
        yield Situation("any visitor" if room is None else "this visitor, by a bypass rule", plain.label)
    else:
        inside, prefix = (
            replace(visit, passes={room.name: Pass(room.name, "explained", NOW, NOW + room.session)}),
            "let in, but ",
        )
        yield Situation("a newcomer, and a token is free", plain.label)
        yield asked("a newcomer, and others wait", calm, waits=True)
        yield asked("a visitor with a pass", calm, inside)
        for mode in (RoomMode.HOLD, RoomMode.CLOSED):
            ordered = replace(calm, rooms={**calm.rooms, room.name: replace(calm.rooms[room.name], mode=mode)})
            yield asked(f"a newcomer, and the room's mode is {mode}", ordered, waits=True)
        for when, change in _sale(room):
            ordered = replace(calm, rooms={**calm.rooms, room.name: replace(calm.rooms[room.name], **change)})
            yield asked(f"a newcomer, {when}", ordered, waits=True)
        yield asked("a newcomer, and the store is away", replace(calm, store_up=False), waits=True)
    if plain.reason is not Reason.BYPASS and any(rules.client_of(limit, inside) for _, limit in _limits(visit, settings)):
        yield asked("a client that has used up a limit", calm, inside, allowed=False)
    if route is not None and route.breaker is not None:
        yield asked(f"{prefix}the route's breaker is open", replace(calm, open_breakers=frozenset({route.name})), inside)
    for level in (1, 2):
        yield asked(f"{prefix}overload is at level {level}", replace(calm, overload=level), inside)
    yield asked("the shop is down", replace(calm, origin_up=False), inside)


def _sale(room: Room) -> Iterator[tuple[str, dict[str, Any]]]:
    """What only rooms of a sale know: when, and how the picture of the room is another one then."""
    if room.opens is not None:
        yield "before the room opens", {"opens": NOW + 60}
    if room.closes is not None:
        yield "after the room closes", {"closes": NOW - 60}
    if room.maximum is not None:
        yield "and the line is full", {"waiting": room.maximum}
    if room.opens is not None or room.closes is not None:
        yield "and nothing is left", {"left": 0}


def _decision(visit: Visit, snapshot: Snapshot, settings: Settings, *, waits: bool = False, allowed: bool = True) -> Decision:
    """Ask, and answer for the store until there is a decision."""
    told = Told()
    while not isinstance(found := rules.decide(visit, snapshot, settings, told), Decision):
        if isinstance(found, Hit):
            rate = found.limit.rate
            quota = Quota(allowed, rate.amount, rate.get_expiry(), rate.amount if allowed else 0, float(rate.get_expiry()))
            told = replace(told, quotas={**told.quotas, found.limit.name: quota})
            continue
        ticket = Ticket(found.room.name, 1, 1, int(NOW * 1000), "explained")
        reason = _reason(snapshot, snapshot.rooms[found.room.name])
        entry = Entry("waiting", ticket, retry_after=5.0, reason=reason)
        if not waits and reason is Reason.LINE:
            entry = Entry("entered", ticket, NOW + 600)
        told = replace(told, entry=entry)
    return found


def _reason(snapshot: Snapshot, view: RoomView) -> Reason:
    """What the store would say to one who has to wait."""
    if not snapshot.store_up:
        return Reason.STORE
    if view.mode is RoomMode.HOLD:
        return Reason.HOLD
    return Reason.NOT_OPEN if snapshot.taken < view.opens else Reason.LINE
