"""What is known before a request comes: the rules its first line matches, and passes that were verified before.

The fast path answers only what cannot be answered otherwise: no limit and no bypass rule looks at the request, the pass is
whole, not revoked and not due for renewal. Everything else takes the slow path, through ``read_visit`` and ``decide``; and
what the fast path answers was decided by ``decide`` too, once per snapshot, with a stand-in for the visitor.
"""

from dataclasses import replace
from typing import Final

from gate.core.address import visitor_address
from gate.core.answer import Fields
from gate.core.cookies import without_our_cookies
from gate.core.credentials import InvalidCredential, Pass
from gate.core.decide import decide, looks_at_visitor, room_for, route_for
from gate.core.decision import Decision
from gate.core.facts import PROBES, PSEUDONYM
from gate.core.identity import without_claims
from gate.core.path import Path
from gate.core.settings import Room, Route
from gate.core.snapshot import Snapshot
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.wire import headers
from gate.wire.contract import Engine
from gate.wire.heads import BODIED, lines, request_framing
from gate.wire.memo import Memo
from gate.wire.parser import Common, Head

PLANS: Final = 4096  # request lines remembered
PASSES: Final = 24_576  # verified passes remembered
HOSTS: Final = 64
FORWARDED: Final = 8192
SIGNED_FOR: Final = 10.0  # seconds a signature for the origin is used again
_FAR: Final = 1e12  # Unix time of a pass that needs no renewal
_STAND_IN: Final = "-"
_QUICK: Final = frozenset({Reason.UNGUARDED, Reason.OPEN, Reason.PASS})
_CACHE: Final = frozenset({b"cache-control", b"cdn-cache-control", b"surrogate-control"})
_CREDENTIALS: Final = (b"gate-pass", b"gate-ticket")


class Way:
    """What is added to an answer on its way to the visitor, as lines. ``caches``: they replace the origin's cache fields.

    ``shared``: the same object comes back with other requests.
    """

    __slots__ = ("added", "caches", "shared")

    def __init__(self, fields: Fields, *, shared: bool = False) -> None:
        self.added = lines(fields)
        self.shared = shared
        self.caches = any(name in _CACHE for name, _ in fields)


class Template:
    """The decision for everybody who comes this way, short of the pass they hold."""

    __slots__ = ("decision", "half", "way")

    def __init__(self, decision: Decision, half: float, way: Way) -> None:
        self.decision, self.half, self.way = decision, half, way


class Plan:
    """One request line. ``template`` is None while the fast path does not know the answer."""

    __slots__ = ("bodied", "method", "needle", "path", "revoked", "room", "route", "snapshot", "start", "template", "verb")

    def __init__(self, visit: Visit, room: Room | None, route: Route | None) -> None:
        self.method = visit.method
        self.verb = visit.method.encode()
        self.bodied = visit.method in BODIED
        self.path = visit.path
        target = visit.path.raw + (b"?" + visit.query if visit.query else b"")
        self.start = b"%b %b HTTP/1.1\r\n" % (visit.method.encode(), target)
        self.room = room
        self.route = route
        self.needle = b"gate_pass_%b=" % room.name.encode() if room is not None else b""
        self.snapshot: Snapshot | None = None
        self.template: Template | None = None
        self.revoked: frozenset[str] = frozenset()


class Known:
    """A verified pass, and what follows from it."""

    __slots__ = ("block", "decision", "held", "signed", "template")

    def __init__(self, held: Pass) -> None:
        self.held = held
        self.template: Template | None = None
        self.decision: Decision | None = None
        self.block = b""  # the Gate-* lines for the origin
        self.signed = 0.0  # when they were signed


class Plans:
    """The fast path's memory; one per worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keyring = engine.keyring
        self._plans: Memo[bytes, Plan] = Memo(PLANS)
        self._passes: Memo[bytes, Known] = Memo(PASSES)
        self._hosts: Memo[bytes, str] = Memo(HOSTS)
        self._forwarded: Memo[tuple[object, ...], tuple[bytes, bool]] = Memo(FORWARDED)
        self._templates: dict[tuple[object, ...], Template] = {}
        self._followed: dict[str, tuple[int, float]] = {}  # pass id: tunnels it keeps open, latest expiry seen
        self._snapshot: Snapshot | None = None
        self._current: dict[tuple[object, ...], Template | None] = {}  # by room and route, while the snapshot lasts

    # ------------------------------------------------------------------ learning

    def learn(self, head: Head, visit: Visit) -> None:
        """``visit`` was read from ``head``: the same line and the same Host will be read the same way."""
        settings = self._engine.settings
        if visit.path.raw in PROBES:
            return  # a health check may come under any Host: it says nothing of what comes under that Host
        if head.common.host not in self._hosts.young:
            self._hosts.put(head.common.host, visit.host)
        if head.line in self._plans.young or len(head.line) > 1024 or not head.target.startswith(b"/"):
            return
        if looks_at_visitor(visit, settings):
            return
        self._plans.put(head.line, Plan(visit, room_for(visit, settings), route_for(visit, settings)))

    def known(self, line: bytes) -> Plan | None:
        """What is known of a request line."""
        return self._plans.young.get(line) or self._plans.find(line)

    def knows_host(self, head: Head) -> bool:
        """Was a request with this Host accepted before?"""
        return self._hosts.find(head.common.host) is not None

    def _refresh(self, plan: Plan, snapshot: Snapshot) -> None:
        """Ask :func:`decide` what happens to a visitor with a good pass, while ``snapshot`` is in force."""
        if self._snapshot is not snapshot:
            self._snapshot = snapshot
            self._current.clear()
        plan.snapshot = snapshot
        room = plan.room
        rules = (room.name if room is not None else None, id(plan.route))
        if rules not in self._current:
            self._current[rules] = self._template(plan, room, snapshot)
        plan.template = self._current[rules]
        view = snapshot.rooms.get(room.name) if room is not None else None
        plan.revoked = view.revoked if view is not None else frozenset()

    def _template(self, plan: Plan, room: Room | None, snapshot: Snapshot) -> Template | None:
        passes = {} if room is None else {room.name: Pass(room.name, _STAND_IN, 0.0, _FAR)}
        visit = Visit(plan.method, "http", "", plan.path, b"", (), None, passes=passes)
        decision = decide(visit, snapshot, self._engine.settings)
        if not isinstance(decision, Decision) or decision.outcome is not Outcome.FORWARD or decision.reason not in _QUICK:
            return None
        view = snapshot.rooms.get(decision.room or "")
        half = view.session / 2 if view is not None else 0.0
        key = (decision.room, id(decision.route), decision.reason, half)
        template = self._templates.get(key)
        if template is None:
            way = Way(self._engine.headers_for_visitor(visit, decision), shared=True)
            template = self._templates[key] = Template(replace(decision, held=None), half, way)
        return template

    # ------------------------------------------------------------------ the fast path

    def quick(self, head: Head, peer: str | None, tls: bool) -> tuple[Decision, Way, bytes, bytes] | None:
        """Decision, way back, method and head for the origin, when they are known; None: take the slow path."""
        plan = self.known(head.line)
        if plan is None:
            return None
        engine = self._engine
        snapshot = engine.snapshot
        if plan.snapshot is not snapshot:
            self._refresh(plan, snapshot)
        template = plan.template
        cookies = head.cookies
        common = head.common
        if template is None or common.upgrade or common.named or len(cookies) > 1:
            return None
        where = common.where
        if where is None or where[0] != peer or where[1] is not tls:
            made = self._forwarding(common, peer, tls)
            if made is None:
                return None
            where = common.where = (peer, tls, *made)
        cookie = cookies[0] if cookies else b""
        block = b""
        decision = template.decision
        if decision.reason is Reason.UNGUARDED:
            rest = without_our_cookies(cookie) if cookie else b""
        elif decision.reason is Reason.OPEN:
            if b"gate_pass_" in cookie:
                return None
            rest = without_our_cookies(cookie) if cookie else b""
        else:
            at = cookie.find(plan.needle)
            if at < 0 or cookie.find(plan.needle, at + 1) >= 0:
                return None
            end = cookie.find(b";", at)
            token = cookie[at + len(plan.needle) : end if end >= 0 else None]
            known = self._known(token, plan)
            if known is None:
                return None
            before = cookie[:at]
            if before and not before.endswith((b"; ", b"; __Host-")) and before != b"__Host-":
                return None
            if where[3] and not before.endswith(b"__Host-"):
                return None  # by https a bare name is nobody's in particular (:class:`gate.core.facts.Carried`)
            rest = b"" if end < 0 and before in (b"", b"__Host-") else without_our_cookies(cookie)
            held = known.held
            if held.id in plan.revoked or held.expires - snapshot.taken < template.half or held.expires <= engine.now():
                return None
            if known.template is not template or known.decision is None:
                known.template, known.decision = template, replace(decision, held=held)
                known.signed = 0.0
            decision = known.decision
            if snapshot.taken - known.signed >= SIGNED_FOR:
                known.block = lines(engine.headers_for_origin(_NOBODY, decision))
                known.signed = snapshot.taken
            block = known.block
        return (
            decision,
            template.way,
            plan.verb,
            b"%b%b%b%b%b%b\r\n"
            % (
                plan.start,
                where[2],
                common.plain,
                b"cookie: %b\r\n" % rest if rest else b"",
                block,
                request_framing(head.length, plan.method) if head.length or plan.bodied else b"",
            ),
        )

    def _known(self, token: bytes, plan: Plan) -> Known | None:
        engine = self._engine
        if engine.keyring is not self._keyring:
            self._keyring = engine.keyring
            self._passes.clear()
        known = self._passes.young.get(token) or self._passes.find(token)
        room = plan.room
        if room is None:
            return None
        if known is None:
            try:
                held = engine.keyring.read_pass(token.decode("latin-1"), room.name, engine.now())
            except InvalidCredential:
                return None
            known = Known(held)
            self._passes.put(token, known)
            if held.id in self._followed:
                count, expires = self._followed[held.id]
                self._followed[held.id] = count, max(expires, held.expires)
        return known if known.held.room == room.name else None

    def _forwarding(self, head: Common, peer: str | None, tls: bool) -> tuple[bytes, bool] | None:
        """Host, forwarding and other special lines for the origin, as :func:`gate.wire.headers.for_origin` makes them; and
        did the visitor come by https?"""
        key = (head.host, peer, tls, *head.others) if head.others else (head.host, peer, tls)
        found = self._forwarded.young.get(key)
        if found is None:
            found = self._forwarded.find(key) or self._make_forwarding(head, peer, tls)
            if found is not None:
                self._forwarded.put(key, found)
        return found

    def _make_forwarding(self, head: Common, peer: str | None, tls: bool) -> tuple[bytes, bool] | None:
        host = self._hosts.find(head.host)
        if host is None:
            return None
        pairs = (line.partition(b":") for line in head.others)
        fields = tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)
        if any(name in _CREDENTIALS or (name == b"via" and PSEUDONYM in value.lower()) for name, value in fields):
            return None
        whence = visitor_address(peer, fields, self._engine.trust)
        scheme = whence.scheme or ("https" if tls else "http")
        fields = without_claims(fields, whence.teller)
        reduced = Visit(
            "GET", scheme, host, _ROOT, b"", fields, whence.address, edge=whence.teller is not None, hops=whence.hops
        )
        return lines(headers.for_origin(reduced)), scheme == "https"

    # ------------------------------------------------------------------ passes that keep tunnels open

    def follow(self, pass_id: str) -> None:
        """Remember renewals of this pass from now on."""
        count, expires = self._followed.get(pass_id, (0, 0.0))
        self._followed[pass_id] = count + 1, expires

    def unfollow(self, pass_id: str) -> None:
        count, expires = self._followed.get(pass_id, (1, 0.0))
        if count > 1:
            self._followed[pass_id] = count - 1, expires
        else:
            self._followed.pop(pass_id, None)

    def latest(self, pass_id: str) -> float:
        """Unix time until which a followed pass lasts, as far as this worker has seen it renewed; else 0."""
        return self._followed.get(pass_id, (0, 0.0))[1]


_ROOT: Final = Path(b"/", "/")
_NOBODY: Final = Visit("GET", "http", "", _ROOT, b"", (), None)
