"""What is known before a request comes: the rules its first line matches, and passes that were verified before.

The fast path answers only what cannot be answered otherwise: no limit and no bypass rule looks at the request, the pass is
whole, not revoked and not due for renewal. Everything else takes the slow path, through ``read_visit`` and ``decide``; and
what the fast path answers was decided by ``decide`` too, once per snapshot, with a stand-in for the visitor.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gate.core.address import visitor_address
from gate.core.cookies import without_our_cookies
from gate.core.credentials import InvalidCredential, Pass
from gate.core.decide import decide, looks_at_visitor, room_for, route_for
from gate.core.decision import Decision
from gate.core.facts import PROBES, PSEUDONYM
from gate.core.identity import without_claims
from gate.core.path import Path
from gate.core.settings import Room
from gate.core.snapshot import Snapshot
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.wire import headers
from gate.wire.contract import Engine
from gate.wire.heads import lines, request_framing
from gate.wire.memo import Memo
from gate.wire.parser import COOKIES_REMEMBERED, LONGEST_COMMON, Parser
from gate.wire.request import Common, Head
from gate.wire.way import Carried, Known, Plan, Template, Way

if TYPE_CHECKING:
    from gate.wire.protocol import VisitorConnection

PASSES: Final = COOKIES_REMEMBERED  # verified ones remembered
HOSTS: Final = 64
FORWARDED: Final = 8192
SIGNED_FOR: Final = 10.0  # seconds a signature for the origin is used again
_FAR: Final = 1e12  # Unix time of a pass that needs no renewal
_STAND_IN: Final = "-"
_QUICK: Final = frozenset({Reason.UNGUARDED, Reason.OPEN, Reason.PASS})
_CREDENTIALS: Final = (b"gate-pass", b"gate-ticket")


class Plans:
    """The fast path's memory; one per worker."""

    def __init__(self, engine: Engine, parser: Parser) -> None:
        self._engine = engine
        self._parser = parser
        self._keyring = engine.keyring
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
        start = head.start
        if start.plan is None and start.target.startswith(b"/") and not looks_at_visitor(visit, settings):
            start.plan = Plan(visit, start.target, room_for(visit, settings), route_for(visit, settings))

    def knows_host(self, common: Common) -> bool:
        """Was a request with this Host accepted before?"""
        common.accepted = common.accepted or self._hosts.find(common.host) is not None
        return common.accepted

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
        visit = Visit(plan.verb.decode(), "http", "", plan.path, b"", (), None, passes=passes)
        engine = self._engine
        decision = decide(visit, snapshot, engine.settings)
        if not isinstance(decision, Decision) or decision.outcome is not Outcome.FORWARD or decision.reason not in _QUICK:
            return None
        view = snapshot.rooms.get(decision.room or "")
        half = view.session / 2 if view is not None else 0.0
        key = (decision.room, id(decision.route), decision.reason, half)
        template = self._templates.get(key)
        if template is None:
            way = Way(engine, decision, engine.headers_for_visitor(visit, decision), shared=True)
            template = self._templates[key] = Template(replace(decision, held=None), half, way)
        return template

    # ------------------------------------------------------------------ the fast path

    def quick(self, plan: Plan, head: Head, visitor: "VisitorConnection") -> tuple[Decision, Way, bytes] | None:
        """Decision, way and head for the origin, when they are known; None: take the slow path."""
        engine = self._engine
        snapshot = engine.snapshot
        if plan.snapshot is not snapshot:
            self._refresh(plan, snapshot)
        template = plan.template
        common = head.common
        if template is None or (template.guarded and not head.cookie):
            return None
        if visitor.common is not common and not (common.usual and self._place(visitor, common)):
            return None
        decision = template.decision
        if template.guarded:
            carried = head.carried
            if carried is None or carried.room is not plan.room or engine.keyring is not self._keyring:
                carried = self._carried(head, plan)
                if carried is None:
                    return None
            known = carried.known
            if visitor.secure and not carried.host_only:
                return None
            clock = engine.now
            now = clock()
            if now >= known.until or known.template is not template:
                if known.expires <= now or known.expires - snapshot.taken < template.half:
                    return None
                self._sign(known, template, now)
            if plan.revoked and known.id in plan.revoked:
                return None
            decision, cookie, end = known.decision, carried.line, known.end
        elif template.open and b"gate_pass_" in head.cookie:
            return None
        else:
            cookie, end = _cookie_line(head.cookie), b"\r\n"
        if plan.bodied or common.length:
            end = request_framing(common.length, bodied=plan.bodied) + end
        return decision, template.way, b"".join((plan.start, visitor.lines, cookie, end))

    def _sign(self, known: Known, template: Template, now: float) -> None:
        if known.template is not template:
            known.decision = replace(template.decision, held=known.held)
            known.template = template
        known.end = lines(self._engine.headers_for_origin(_NOBODY, known.decision)) + b"\r\n"
        known.until = min(now + SIGNED_FOR, known.expires - template.half)

    def _carried(self, head: Head, plan: Plan) -> Carried | None:
        """The pass in the Cookie line, if there is one and no doubt about it."""
        room, cookie = plan.room, head.cookie.strip(b" \t")
        at = cookie.find(plan.needle)
        if room is None or at < 0 or cookie.find(plan.needle, at + 1) >= 0:
            return None
        end = cookie.find(b";", at)
        before = cookie[:at]
        if before and not before.endswith((b"; ", b"; __Host-")) and before != b"__Host-":
            return None
        known = self._known(cookie[at + len(plan.needle) : end if end >= 0 else None], room)
        if known is None:
            return None
        # by https a bare name is nobody's in particular (:class:`gate.core.facts.Carried`)
        carried = Carried(room, known, _cookie_line(cookie), host_only=before.endswith(b"__Host-"))
        self._parser.remember(head, carried)
        return carried

    def _known(self, token: bytes, room: Room) -> Known | None:
        engine = self._engine
        if engine.keyring is not self._keyring:
            self._keyring = engine.keyring
            self._passes.clear()
            self._parser.forget_cookies()
        known = self._passes.find(token)
        if known is None:
            try:
                held = engine.keyring.read_pass(token.decode("latin-1"), room.name, engine.now())
            except InvalidCredential:
                return None
            known = Known(held)
            self._passes.put(token, known)
            self.seen(held)
        return known if known.room == room.name else None

    def _place(self, visitor: "VisitorConnection", common: Common) -> bool:
        """Where ``visitor`` comes from, and what follows for the origin. It seldom changes on one connection."""
        key = (common.host, visitor.peer, visitor.tls, *common.others)
        found = self._forwarded.find(key)
        if found is None:
            found = self._forwarding(common, visitor.peer, visitor.tls)
            if found is None:
                return False
            if sum(map(len, common.others)) <= LONGEST_COMMON:
                self._forwarded.put(key, found)
        forwarding, visitor.secure = found
        visitor.common, visitor.lines = common, forwarding + common.plain
        return True

    def _forwarding(self, head: Common, peer: str | None, tls: bool) -> tuple[bytes, bool] | None:
        """Host, forwarding and other special lines for the origin, as :func:`gate.wire.headers.for_origin` makes them; and
        did the visitor come by https?"""
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

    def seen(self, held: Pass) -> None:
        """This pass came with a request."""
        if held.id in self._followed:
            count, expires = self._followed[held.id]
            self._followed[held.id] = count, max(expires, held.expires)

    def unfollow(self, pass_id: str) -> None:
        count, expires = self._followed.get(pass_id, (1, 0.0))
        if count > 1:
            self._followed[pass_id] = count - 1, expires
        else:
            self._followed.pop(pass_id, None)

    def latest(self, pass_id: str) -> float:
        """Unix time until which a followed pass lasts, as far as this worker has seen it renewed; else 0."""
        return self._followed.get(pass_id, (0, 0.0))[1]


def _cookie_line(cookie: bytes) -> bytes:
    """The Cookie line for the origin, without what is the gate's."""
    rest = without_our_cookies(cookie.strip(b" \t"))
    return b"cookie: %b\r\n" % rest if rest else b""


_ROOT: Final = Path(b"/", "/")
_NOBODY: Final = Visit("GET", "http", "", _ROOT, b"", (), None)
