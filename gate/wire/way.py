"""What the fast path remembers: of a request line, of what was decided for all who come that way, and of a cookie."""

from typing import Final

from gate.core.answer import Fields
from gate.core.credentials import Pass
from gate.core.decision import Decision
from gate.core.settings import Room, Route
from gate.core.snapshot import Snapshot
from gate.core.visit import Visit
from gate.core.words import Reason
from gate.wire.contract import Engine
from gate.wire.heads import BODIED, lines

_CACHE: Final = frozenset({b"cache-control", b"cdn-cache-control", b"surrogate-control"})


def target_for_origin(visit: Visit, asked: bytes) -> bytes:
    """Path and query of ``visit``, whose request line asked for ``asked``: an empty query is one (RFC 9110 section 7.7)."""
    return b"%b%b%b" % (visit.path.raw, b"?" if b"?" in asked else b"", visit.query)


class Way:
    """To the origin and back, for requests that were decided alike. ``added``: lines for the answer. ``caches``: they replace
    the origin's cache fields. ``lane``: on which it goes. ``first_byte``: seconds that the origin may take to begin. ``tally``:
    where such requests are counted. ``shared``: the same object comes back with other requests.
    """

    __slots__ = ("added", "caches", "first_byte", "lane", "shared", "tally")

    def __init__(self, engine: Engine, decision: Decision, fields: Fields, *, shared: bool = False) -> None:
        route = decision.route
        waits = route.first_byte if route is not None else None
        self.first_byte = engine.settings.origin.timeouts.first_byte if waits is None else waits
        self.lane = engine.lane(route)
        self.tally = engine.meter.tally(decision)
        self.added = lines(fields)
        self.shared = shared
        self.caches = any(name in _CACHE for name, _ in fields)


class Template:
    """The decision for everybody who comes this way, short of the pass they hold.

    ``guarded``: only with a pass that lives for another ``half`` (seconds). ``open``: with or without one.
    """

    __slots__ = ("decision", "guarded", "half", "open", "way")

    def __init__(self, decision: Decision, half: float, way: Way) -> None:
        self.decision, self.half, self.way = decision, half, way
        self.guarded = decision.reason is Reason.PASS
        self.open = decision.reason is Reason.OPEN


class Plan:
    """What is known of a request line. ``template`` is None while the fast path does not know the answer."""

    __slots__ = ("bodied", "needle", "path", "revoked", "room", "route", "snapshot", "start", "template", "verb")

    def __init__(self, visit: Visit, asked: bytes, room: Room | None, route: Route | None) -> None:
        self.verb = visit.method.encode()
        self.bodied = visit.method in BODIED
        self.path = visit.path
        self.start = b"%b %b HTTP/1.1\r\n" % (self.verb, target_for_origin(visit, asked))
        self.room = room
        self.route = route
        self.needle = b"gate_pass_%b=" % room.name.encode() if room is not None else b""
        self.snapshot: Snapshot | None = None
        self.template: Template | None = None
        self.revoked: frozenset[str] = frozenset()


class Known:
    """A verified pass, and what follows from it for those who come as ``template`` says: ``decision``, and ``end``, the last
    lines of the head for the origin, which sign it. All that holds ``until`` then (Unix time, seconds).
    """

    __slots__ = ("decision", "end", "expires", "held", "id", "room", "template", "until")

    decision: Decision
    end: bytes

    def __init__(self, held: Pass) -> None:
        self.held = held
        self.id, self.room, self.expires = held.id, held.room, held.expires
        self.template: Template | None = None
        self.until = 0.0


class Carried:
    """What is in a Cookie line: the pass of one room. ``line``: the Cookie line for the origin, or b"".

    ``host_only``: in a cookie that nobody but this host can have set, the only kind that counts by https.
    """

    __slots__ = ("host_only", "known", "line", "room")

    def __init__(self, room: Room, known: Known, line: bytes, *, host_only: bool) -> None:
        self.room = room
        self.known = known
        self.line = line
        self.host_only = host_only
