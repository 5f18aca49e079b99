"""What all visitor connections of one worker share, and what happens to a request once its head is read."""

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from email.utils import formatdate
from types import TracebackType
from typing import Any, Final, Protocol, Self

from gate.core.decide import decide
from gate.core.decision import Ask, Decision, Entry
from gate.core.facts import Refusal, read_visit
from gate.core.kept import keeps_form
from gate.core.settings import Route, Visitors
from gate.core.settle import Result, Trouble, settle
from gate.core.visit import Headers, Visit
from gate.core.words import Outcome, Reason
from gate.wire import headers
from gate.wire.account import Account
from gate.wire.contract import Desk, Engine
from gate.wire.crowd import Crowded, most_connections
from gate.wire.deadlines import Wheel
from gate.wire.exchange import Exchange
from gate.wire.handover import Handover, Shared
from gate.wire.heads import BODIED, RETRY_LATER, lines, request_framing
from gate.wire.keeping import Keeping
from gate.wire.newcomers import Newcomers
from gate.wire.origin import Origins
from gate.wire.parser import Limits, Parser
from gate.wire.plan import Plans
from gate.wire.protocol import VisitorConnection
from gate.wire.request import Head, upgrade_of
from gate.wire.tunnel import Tunnel
from gate.wire.way import Plan, Way, target_for_origin

LAST_CALL: Final = 1.0  # seconds an idle connection may still send a request when the worker ends
DEFAULT_BODY: Final[int] = Route.model_fields["body"].default
log = logging.getLogger("gate.wire")


class App(Protocol):
    """An ASGI 3 application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class ServerState(Protocol):
    """What uvicorn's server keeps of its connections (uvicorn.server.ServerState)."""

    connections: Any
    tasks: Any


class _NoState:
    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()


class Door:
    """The visitors' side of one worker.

    Usage: ``async with Door(engine, app) as door: uvicorn.Config(app, http=door.protocol, …)``. ``app`` serves ``/__gate/``;
    its scope has the visit as ``gate.visit``. ``tls`` is for origins with https; by default the system's authorities vouch.
    """

    def __init__(self, engine: Engine, app: App, *, tls: ssl.SSLContext | None = None) -> None:
        settings = engine.settings
        self.engine = engine
        self.app = app
        self.visitors: Visitors = settings.visitors
        self.limits = Limits(self.visitors.max_head, self.visitors.max_fields, self.visitors.max_target)
        special = frozenset({settings.edge.header.lower().encode()} if settings.edge.header else ())
        self.parser = Parser(self.limits, special)
        self.plans = Plans(engine, self.parser)
        self.newcomers = Newcomers(self)
        self.shared = Shared(self)
        self.wheel = Wheel()
        self.origin = Origins(settings.origin, self.wheel, tls)
        self.tunnels: set[Tunnel] = set()
        self.shaking: set[asyncio.Protocol] = set()  # those who have not agreed on TLS yet
        self.most_tunnels = settings.origin.tunnels
        self.most_connections = most_connections(settings)
        self.state: ServerState = _NoState()
        self.connections: set[Any] = self.state.connections
        self.draining = False
        self.keep_alive = self.visitors.keep_alive  # seconds that an idle connection stays
        self.last_call = LAST_CALL
        self.body_limit = DEFAULT_BODY
        self.date = b""
        self._second = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.wheel.each_tick(self._tell_time)

    async def __aenter__(self) -> Self:
        self._tell_time(0.0)
        self.wheel.start(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is left; uvicorn has waited for what was in flight."""
        self.draining = True
        self.origin.close()
        self.wheel.stop()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def protocol(
        self,
        config: Any = None,
        server_state: ServerState | None = None,
        app_state: dict[str, Any] | None = None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> VisitorConnection | Crowded:
        """A new connection's protocol: the value of ``uvicorn.Config(http=…)``."""
        if server_state is not None and server_state is not self.state:
            self.state = server_state
            self.connections = server_state.connections
        if self.taken >= self.most_connections:
            return Crowded(self)
        return VisitorConnection(self)

    @property
    def taken(self) -> int:
        """Visitors' connections; a tunnel counts twice, as it keeps a second one open towards the origin."""
        return len(self.connections) + len(self.shaking) + len(self.tunnels)

    def drain(self) -> None:
        """The worker ends: answers say ``Connection: close`` from now on."""
        self.draining = True
        self.keep_alive = self.last_call

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell_time(self, now: float) -> None:
        second = int(self.engine.now())
        if second != self._second:
            self._second = second
            self.date = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()

    # ------------------------------------------------------------------ one request

    def serve(self, visitor: VisitorConnection, head: Head) -> None:
        """Decide, and start what was decided."""
        try:
            access = self.engine.access
            if access is not None and access.wants():
                visitor.account = Account(access)
                self._serve_slowly(visitor, head)
                return
            plan = head.start.plan
            known = self.plans.quick(plan, head, visitor) if plan is not None else None
            if known is not None:
                decision, way, request = known
                if not head.common.length or not self._too_large(visitor, head, decision):
                    way.tally.count += 1
                    Exchange().start(visitor, decision, way, request)
            elif not self._answer_quickly(visitor, head, plan):
                self._serve_slowly(visitor, head)
        except Exception:
            self.broken(visitor, head)

    def _answer_quickly(self, visitor: VisitorConnection, head: Head, plan: Plan | None) -> bool:
        """With what many others got, or get a number to; False: there is no such thing."""
        if plan is not None:
            return self.newcomers.serve(visitor, head, plan)
        shared = self.shared.find(head)
        if shared is None or not self.plans.knows_host(head.common) or not visitor.keeps:
            return False
        visitor.send_whole(shared)
        return True

    def _serve_slowly(self, visitor: VisitorConnection, head: Head) -> None:
        """With all the facts."""
        try:
            visit = self.read(visitor, head)
        except Refusal as refusal:
            visitor.refuse(refusal, head)
            return
        if visitor.account is not None:
            visitor.account.visit = visit
        self.plans.learn(head, visit)
        asked = decide(visit, self.engine.snapshot, self.engine.settings)
        if isinstance(asked, Decision):
            self._act(visitor, head, visit, asked)
        else:
            self.spawn(self._ask(visitor, head, visit, asked))

    def broken(self, visitor: VisitorConnection, head: Head) -> None:
        """A fault of ours is no 500: it says when to come back."""
        log.exception("decision_failed")
        if visitor.serves(head):
            visitor.refuse(Refusal(503, Reason.STORE, "no decision could be made at the moment", RETRY_LATER), head)

    def read(self, visitor: VisitorConnection, head: Head) -> Visit:
        """The facts of a request. Raises :class:`~gate.core.facts.Refusal`."""
        engine = self.engine
        return read_visit(
            head.method,
            head.start.target,
            head.fields(),
            visitor.peer,
            visitor.tls,
            settings=engine.settings,
            trust=engine.trust,
            keyring=engine.keyring,
            now=engine.now(),
        )

    def entered(self, visitor: VisitorConnection, head: Head, desk: Desk, entry: Entry) -> None:
        """A newcomer who does not have to wait."""
        visit = self.read(visitor, head)
        self._act(visitor, head, visit, desk.decide(visit, entry))

    async def _ask(self, visitor: VisitorConnection, head: Head, visit: Visit, asked: Ask) -> None:
        try:
            decision = await self.engine.consider(visit, asked)
            if visitor.serves(head):
                self._act(visitor, head, visit, decision)
        except Exception:
            self.broken(visitor, head)

    def _act(self, visitor: VisitorConnection, head: Head, visit: Visit, decision: Decision) -> None:
        if visitor.account is not None:
            visitor.account.decision = decision
        if decision.held is not None:
            self.plans.seen(decision.held)
        if decision.outcome is Outcome.FORWARD:
            if head.length and self._too_large(visitor, head, decision):
                return
            if head.common.upgrade and self._too_many_tunnels(visitor, head, visit, decision):
                return
            engine = self.engine
            way = Way(engine, decision, engine.headers_for_visitor(visit, decision))
            request = self._request(head, visit, headers.for_origin(visit, engine.headers_for_origin(visit, decision)))
            engine.meter.decided(decision)
            Exchange().start(visitor, decision, way, request, visit)
        elif decision.outcome is Outcome.OWN:
            Handover(self, visitor, visit).start()
        elif keeps_form(visit, decision, head.common.length):
            Keeping(self, visitor, visit, decision).start()
        else:
            visitor.respond(self.engine.answer(visit, decision))

    def _too_many_tunnels(self, visitor: VisitorConnection, head: Head, visit: Visit, decision: Decision) -> bool:
        """One more might last for hours: it is answered as when all connections are taken, and the origin never sees it."""
        room = len(self.tunnels) < self.most_tunnels and self.taken < self.most_connections
        if room or upgrade_of(head) is None:
            return False
        settled = settle(decision, Result(trouble=Trouble.BUSY))
        if visitor.account is not None:
            visitor.account.decision = settled
        visitor.respond(self.engine.answer(visit, settled))
        return True

    def _request(self, head: Head, visit: Visit, fields: Headers) -> bytes:
        """The head for the origin, on the slow path."""
        upgrade = upgrade_of(head)
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
            visit.method.encode(),
            target_for_origin(visit, head.start.target),
            lines(fields),
            request_framing(head.length, bodied=visit.method in BODIED),
            b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade if upgrade else b"",
        )

    def _too_large(self, visitor: VisitorConnection, head: Head, decision: Decision) -> bool:
        limit = decision.route.body if decision.route is not None else self.body_limit
        if head.length <= limit:
            return False
        visitor.refuse(Refusal(413, Reason.TOO_LARGE, f"the body is larger than {limit} bytes"), head)
        return True
