"""The order of decisions (docs/architecture.md has the same table, and a test holds the two together).

====  ==========================================  =====================
step  question                                    if so
====  ==========================================  =====================
1     is it one of the gate's own endpoints?      own
2     is the fallback ordered on?                 fallback; ordered
3     does a bypass rule name the visitor?        go to 6, past the room
4     has this client used up a limit?            limit
5     may this visitor enter the room?            wait, closed, or go on
6     can the origin take one more?               fallback, shed
7     —                                           forward
====  ==========================================  =====================

Malformed requests never come this far: the wire refuses them while it reads the facts.
:func:`decide` never waits. Where it needs a word from the store it answers with an *ask*; the shell puts the question
and calls again with what it was told.
"""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_network

from gate.core.credentials import Pass, Ticket
from gate.core.decision import Ask, Claim, Decision, Hit, Join, Told
from gate.core.line import AWAY, GROUPED, group_turn
from gate.core.settings import Bypass, Limit, Room, Route, Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.wait import ask_again, outlook_of
from gate.core.words import Outcome, Reason, RoomMode, RouteClass

OWN_PREFIX = "/__gate"
STORE_RETRY = 10.0  # seconds a visitor is asked to wait while the store is away
MISSED_RETRY = 2.0  # the same when it was only this question that got no answer
HOLD_RETRY = 20.0
FULL_RETRY = 60.0
DOWN_RETRY = 10.0  # while the shop itself is down
_NOTHING_TOLD = Told()


def decide(visit: Visit, snapshot: Snapshot, settings: Settings, told: Told = _NOTHING_TOLD) -> Decision | Ask:
    """What happens to this request, or what to ask the store first. Total: it has an answer for every visit."""
    if visit.path.widened == OWN_PREFIX or visit.path.widened.startswith(OWN_PREFIX + "/"):
        return Decision(Outcome.OWN, Reason.ENDPOINT)

    route = route_for(visit, settings)
    if snapshot.fallback_on:
        reason = Reason.ORDERED if snapshot.fallback.value == "on" else Reason.ORIGIN_DOWN
        return Decision(Outcome.FALLBACK, reason, route=None, retry_after=settings.fallback.retry_after)

    room = room_for(visit, settings)
    bypassed = room is not None and any(_bypasses(rule, visit) for rule in room.bypass)

    if not bypassed:
        limited = first_limit(visit, [limit for limit in settings.limits if _matches(limit, visit)], told)
        if limited is not None:
            return replace_route(limited, route)

    if room is None:
        entry: Decision | Ask = Decision(Outcome.FORWARD, Reason.UNGUARDED, route=route)
    elif bypassed:
        entry = Decision(Outcome.FORWARD, Reason.BYPASS, room=room.name, route=route)
    else:
        entry = replace_route(may_enter(visit, snapshot, room, told), route)
    if not isinstance(entry, Decision) or entry.outcome is not Outcome.FORWARD:
        return entry
    return can_take(entry, snapshot, settings)


def may_enter(visit: Visit, snapshot: Snapshot, room: Room, told: Told) -> Decision | Ask:
    """Step 5. A valid pass always enters, except a revoked one; what the room's mode says comes before the line."""
    view = snapshot.rooms.get(room.name) or RoomView(room.name, session=room.session)
    held = visit.passes.get(room.name)
    if held is not None and held.id in view.revoked:
        held = None
    if view.mode is RoomMode.OPEN:
        return Decision(Outcome.FORWARD, Reason.OPEN, room=room.name, held=held)
    if held is not None:
        return _with_pass(held, view, snapshot.taken)

    ticket = visit.tickets.get(room.name)
    if ticket is not None and told.entry is not None and told.entry.status == "spent":
        ticket = None
    decision = _newcomer(visit, room, view, snapshot, ticket, told)
    if room.shadow and (not isinstance(decision, Decision) or decision.outcome is not Outcome.FORWARD):
        if isinstance(decision, Decision):
            return Decision(Outcome.FORWARD, Reason.SHADOW, room=room.name, ticket=decision.ticket)
        return decision
    return decision


def _newcomer(
    visit: Visit, room: Room, view: RoomView, snapshot: Snapshot, ticket: Ticket | None, told: Told
) -> Decision | Ask:
    over = why_over(view, snapshot.taken)
    if over is not None:
        return Decision(Outcome.CLOSED, over, room=room.name, ticket=ticket)
    if told.entry is not None and told.entry.status != "spent":
        entry = told.entry
        if entry.status == "full":
            return Decision(Outcome.CLOSED, Reason.LINE_FULL, room=room.name, retry_after=entry.retry_after)
        if entry.reason in (Reason.ROOM_CLOSED, Reason.SALE_OVER) and entry.status == "waiting":
            return Decision(Outcome.CLOSED, entry.reason, room=room.name, ticket=ticket)
        if entry.status == "entered":
            granted = Pass(room.name, entry.ticket.id, snapshot.taken, entry.expires)
            reason = entry.reason if entry.reason in (Reason.PASS, Reason.LOCAL) else Reason.ADMITTED
            return Decision(Outcome.FORWARD, reason, room=room.name, ticket=entry.ticket, granted=granted)
        return _wait(room, entry.reason, entry.ticket, entry.retry_after)
    if ticket is None and not may_join(visit):
        return _wait(room, Reason.LINE, None, MISSED_RETRY)
    if ticket is None and view.maximum is not None and view.waiting >= view.maximum:
        return Decision(Outcome.CLOSED, Reason.LINE_FULL, room=room.name, retry_after=FULL_RETRY)
    if ticket is None and not told.entry_failed:
        return Join(room)  # also without the store: then it is a place by time, behind everyone who has a number
    known = snapshot.knows(view)
    if ticket is None or told.entry_failed or not known:
        return _wait(room, Reason.STORE, ticket, MISSED_RETRY if known else STORE_RETRY)
    if snapshot.fallback_on:  # asked through a room endpoint: a token spent now would be a token lost
        return _wait(room, Reason.ORIGIN_DOWN, ticket, DOWN_RETRY)
    if view.mode is RoomMode.HOLD:
        return _wait(room, Reason.HOLD, ticket, HOLD_RETRY)
    if snapshot.taken < view.opens:
        return _wait(room, Reason.NOT_OPEN, ticket, until_opening(view.opens, snapshot.taken))
    if is_called(ticket, view):
        return Claim(room, ticket)
    return _wait(room, Reason.LINE, ticket, until_called(view) if AWAY <= ticket.number < GROUPED else None)


def why_over(view: RoomView, now: float) -> Reason | None:
    """Why nobody new enters any more, if so."""
    if view.mode is RoomMode.CLOSED:
        return Reason.ROOM_CLOSED
    if now >= view.closes:
        return Reason.SALE_OVER  # also when all is sold: nothing that came back could be bought
    return Reason.SOLD_OUT if view.left == 0 else None


def until_opening(opens: float, now: float) -> float:
    """Seconds until a visitor should look again: at the opening, or well before when it is far away."""
    return min(HOLD_RETRY, max(2.0, opens - now))


def until_called(view: RoomView) -> float:
    """Seconds until somebody with a place by time should look again: those with a number of before are called first."""
    outlook = outlook_of(view)
    return ask_again(outlook.wait(max(0, view.base - view.serving + outlook.at_door))[0], 0.0)


def may_join(visit: Visit) -> bool:
    """Some requests come without the cookies of a visitor who has some: a form posted by another site (RFC 6265bis,
    SameSite=Lax) and a CORS preflight. To take a token, or a place that replaces a better one, is not what they mean."""
    preflight = visit.method == "OPTIONS" and visit.header(b"access-control-request-method") is not None
    return not preflight and not is_foreign_form(visit)


def is_foreign_form(visit: Visit) -> bool:
    """Did another site make the browser send this, with a method that is not safe?"""
    return visit.method not in ("GET", "HEAD") and visit.header(b"sec-fetch-site") == b"cross-site"


def is_called(ticket: Ticket, view: RoomView) -> bool:
    """What only the store can tell counts as called, so that it is asked: also a place by time, given while it was away, once
    everybody who had a number before that is called. All such places stand together there, however many they are."""
    if ticket.number >= GROUPED:
        tag, turn = group_turn(ticket.number)
        group = view.groups.get(tag)
        return group is None or turn <= group.serving or turn > group.last  # a new epoch alone calls nobody
    if ticket.number >= AWAY:
        return ticket.epoch != view.epoch - 1 or view.serving >= view.base
    return view.has_called(view.turn_of(ticket.number), ticket.epoch)


def _with_pass(held: Pass, view: RoomView, now: float) -> Decision:
    renew = held.expires - now < view.session / 2
    return Decision(Outcome.FORWARD, Reason.PASS, room=view.name, held=held, renew=renew)


def _wait(room: Room, reason: Reason, ticket: Ticket | None, retry_after: float | None) -> Decision:
    return Decision(Outcome.WAIT, reason, room=room.name, ticket=ticket, retry_after=retry_after)


def can_take(entry: Decision, snapshot: Snapshot, settings: Settings) -> Decision:
    """Step 6: the route's breaker, then shedding by class. Critical routes are never shed."""
    route = entry.route
    if route is not None and route.name in snapshot.open_breakers:
        return replace(entry, outcome=Outcome.FALLBACK, reason=Reason.BREAKER)
    kind = route.class_ if route is not None else RouteClass.NORMAL
    if entry.room is not None and (route is None or "class_" not in route.model_fields_set):
        kind = RouteClass.CRITICAL  # what a room guards matters, unless its route says otherwise
    level = snapshot.shed_level
    if (level >= 1 and kind is RouteClass.SHEDDABLE) or (level >= 2 and kind is RouteClass.NORMAL):
        reason = Reason.ORDERED if snapshot.shedding.value in ("1", "2") else Reason.OVERLOAD
        return replace(entry, outcome=Outcome.SHED, reason=reason, retry_after=settings.fallback.retry_after)
    return entry


# --------------------------------------------------------------------------- which rules apply


def route_for(visit: Visit, settings: Settings) -> Route | None:
    """The first route that matches, in the order of the file."""
    return next((route for route in settings.routes if _matches(route, visit)), None)


def room_for(visit: Visit, settings: Settings) -> Room | None:
    """The first room that guards this path, in the order of the file."""
    return next((room for room in settings.rooms.values() if _matches(room, visit)), None)


def looks_at_visitor(visit: Visit, settings: Settings) -> bool:
    """Does more than method, path and pass count here: an own endpoint, a per-client limit, a bypass rule?

    Where not, every visitor with a good pass gets the same decision, and the wire may remember it for a snapshot's life.
    """
    if visit.path.widened == OWN_PREFIX or visit.path.widened.startswith(OWN_PREFIX + "/"):
        return True
    room = room_for(visit, settings)
    return (room is not None and bool(room.bypass)) or any(_matches(limit, visit) for limit in settings.limits)


def _matches(rule: Room | Route | Limit, visit: Visit) -> bool:
    return any(pattern.matches(visit.method, reading) for pattern in rule.match for reading in visit.path.readings)


def _bypasses(rule: Bypass, visit: Visit) -> bool:
    if rule.address is not None and (visit.address is None or visit.address not in rule.address):
        return False
    if rule.path is not None and not all(rule.path.matches(visit.method, reading) for reading in visit.path.readings):
        return False  # a spelling that can be read as another path is not let past
    for name, value in (rule.header or {}).items():
        given = visit.header(name.lower().encode())
        if given is None or not hmac.compare_digest(given, value.encode()):
            return False
    return True


def first_limit(visit: Visit, limits: Sequence[Limit], told: Told) -> Decision | Hit | None:
    """The first of these limits that is used up, or that the store has not been asked about. None: go on."""
    for limit in limits:
        if limit.name not in told.quotas:
            client = client_of(limit, visit)
            if client is not None:
                return Hit(limit, client)
            continue
        quota = told.quotas[limit.name]
        if quota is not None and not quota.allowed:
            return Decision(Outcome.LIMIT, Reason.RATE_LIMIT, retry_after=quota.reset, limit=limit, quota=quota)
    return None


def limits_of(room: Room, settings: Settings) -> list[Limit]:
    """The limits on what ``room`` guards, for those who join through the room's own endpoints."""
    samples = [
        (pattern.method or "GET", pattern.path.replace("/**", tail).replace("*", "x") or "/")
        for pattern in room.match
        for tail in ("", "/x")
    ]
    return [
        limit
        for limit in settings.limits
        if any(pattern.matches(method, path) for pattern in limit.match for method, path in samples)
    ]


def client_of(limit: Limit, visit: Visit) -> str | None:
    """Who this visit counts for, or None when it carries no such mark. IPv6 counts by /64: one household, one client."""
    if limit.by == "address":
        if visit.address is None:
            return None
        if isinstance(visit.address, IPv6Address):
            return str(ip_network((visit.address, 64), strict=False))
        return str(visit.address)
    if limit.by == "pass":
        return next((held.id for held in visit.passes.values()), None)
    value = visit.header(limit.by.removeprefix("header:").lower().encode())
    return None if value is None else value.decode("latin-1")


def replace_route(decision: Decision | Ask, route: Route | None) -> Decision | Ask:
    return replace(decision, route=route) if isinstance(decision, Decision) else decision
