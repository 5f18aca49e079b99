"""Pages and endpoints with a real engine; only the store is a small room in memory, so that a test can say who is called."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.core.address import Trust
from gate.core.answer import Answer
from gate.core.credentials import Key, KeyRing, Ticket
from gate.core.decision import Decision, Entry
from gate.core.draw import drawn_place
from gate.core.facts import read_visit
from gate.core.invitations import Invitation
from gate.core.kept import keeps_form
from gate.core.line import RoomState, Terms
from gate.core.orders import RoomOrders
from gate.core.settings import Settings
from gate.core.words import Outcome, Reason, RoomMode
from gate.engine import Engine
from gate.store.link import StoreUnavailable
from gate.web.emails import Emails
from gate.web.metrics import Tally
from gate.web.pages import Pages
from gate.web.visitor import response, visitor_app

ROOM = {"match": ["/checkout/**"], "rate": "120/minute", "burst": 1}


class SmallRoom:
    """Fits :class:`gate.store.line.Line`. ``serving`` and ``tokens`` are what the test says."""

    def __init__(self, name: str = "checkout", clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.now = clock
        self.last, self.serving, self.tokens, self.inside = 500, 100, 0, 0
        self.up = True
        self.drawn, self.seed, self.left = 0, "", None
        self.invited: set[str] = set()
        self.seen: dict[str, float] = {}
        self.calls: list[str] = []

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        if not self.up:
            raise StoreUnavailable("the test took it away")

    def join_at_once(self, terms: Terms, view: object = None) -> None:
        return None

    async def join(self, terms: Terms, view: object = None) -> Entry:
        self._asked("join")
        self.last += 1
        ticket = Ticket(self.name, 1, self.last, int(self.now() * 1000), f"{self.last:022d}")
        reason = Reason.LINE if self.now() >= terms.opens else Reason.NOT_OPEN
        return Entry("waiting", ticket, retry_after=2.0, reason=reason)

    def present(self, ticket: Ticket) -> None:
        pass

    async def claim(self, ticket: Ticket, terms: Terms) -> Entry:
        self._asked("claim")
        turn = (
            drawn_place(bytes.fromhex(self.seed), self.drawn, ticket.number) if ticket.number <= self.drawn else ticket.number
        )
        if ticket.id not in self.seen and turn <= self.serving and self.tokens > 0:
            self.tokens -= 1
            self.seen[ticket.id] = self.now() + terms.session
        if ticket.id in self.seen:
            return Entry("entered", ticket, expires=self.seen[ticket.id])
        return Entry("waiting", ticket, retry_after=0.5, reason=Reason.RATE)

    async def invite(self, invitation: Invitation, terms: Terms, ticket: Ticket | None = None) -> Entry | None:
        self._asked("invite")
        if ticket is None or ticket.id not in self.invited:
            if invitation.uses and len(self.invited) >= invitation.uses:
                return None
            ticket = Ticket(self.name, 1, 7 + len(self.invited), int(self.now() * 1000), f"i{len(self.invited):021d}")
            self.invited.add(ticket.id)
        return Entry("waiting", ticket, retry_after=2.0, reason=Reason.LINE)

    async def tick(self, terms: Terms, *offered: object) -> RoomState:
        if not self.up:
            raise StoreUnavailable("the test took it away")
        return RoomState(
            serving=self.serving,
            last=self.last,
            waiting=self.last - self.serving,
            through=self.serving,
            inside=self.inside,
            tokens=self.tokens,
            admitted_per_second=1.8,
            drawn=self.drawn,
            seed=self.seed,
            left=self.left,
        )


class Uncounted:
    """Per-client limits without a store."""

    allowed = True

    async def hit(self, limit: object, client: str) -> Any:
        return None if self.allowed else SimpleNamespace(allowed=False)


class Meter:
    def __init__(self) -> None:
        self.seen: list[Decision] = []

    def decided(self, decision: Decision) -> None:
        self.seen.append(decision)

    def tally(self, decision: Decision) -> Tally:
        return Tally()

    def answered(self, seconds: float) -> None: ...
    def origin(self, result: object) -> None: ...


@dataclass
class Reply:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.lower().encode()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Gate:
    """One worker's engine and endpoints, called without sockets. Keeps cookies like a browser."""

    engine: Engine
    app: Any
    room: SmallRoom
    emails: Emails
    quotas: Uncounted
    jar: dict[str, str] = field(default_factory=dict)

    def order(self, mode: RoomMode, message: str | None = None) -> None:
        self.engine.orders = self.engine.orders.with_room("checkout", RoomOrders(mode=mode, message=message))

    async def ask(self, method: str, target: str, *, body: bytes = b"", cookies: bool = True, **headers: str) -> Reply:
        """``headers``: ``accept_language="de"`` is Accept-Language."""
        await self.engine.refresh()
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "shop.test", **headers}.items()]
        if cookies and self.jar:
            fields.append((b"cookie", "; ".join(f"{name}={value}" for name, value in self.jar.items()).encode()))
        if body:
            fields.append((b"content-length", str(len(body)).encode()))
        raw, _, query = target.encode().partition(b"?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw.decode(),
            "raw_path": raw,
            "query_string": query,
            "headers": fields,
            "client": ("203.0.113.9", 4711),
            "server": ("127.0.0.1", 80),
            "root_path": "",
        }
        sent: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        try:
            await self.serve(scope, receive, send)
        except RuntimeError:  # Starlette raises what broke on, for the log, after it has answered
            if not sent:
                raise
        reply = Reply(sent[0]["status"], list(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))
        if cookies:
            for line in reply.all("set-cookie"):
                name, _, rest = line.partition("=")
                value = rest.partition(";")[0]
                self.jar.pop(name, None) if not value else self.jar.update({name: value})
        return reply

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """What the door does, less the proxying: an admitted visitor gets a page that says so."""
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        visit = read_visit(
            scope["method"], target, tuple(scope["headers"]), scope["client"][0], False,
            settings=self.engine.settings, trust=self.engine.trust, keyring=self.engine.keyring, now=self.engine.now(),
        )  # fmt: skip
        decision = await self.engine.consider(visit)
        if decision.outcome is Outcome.OWN:
            await self.app({**scope, "gate.visit": visit}, receive, send)
            return
        if decision.outcome is Outcome.FORWARD:
            html = b"<!doctype html><html lang=en><title>Shop</title><main><h1>The shop</h1><p>" + scope["method"].encode()
            fields = ((b"content-type", b"text/html"), (b"cache-control", b"no-store"))
            answer = Answer(200, fields, html).plus(*self.engine.headers_for_visitor(visit, decision))
        else:
            length = int(visit.header(b"content-length") or 0)
            kept = (await receive())["body"] if keeps_form(visit, decision, length) else None
            answer = self.engine.answer(visit, decision, kept)
        await response(answer)(scope, receive, send)


def build(directory: Path, *, clock: Callable[[], float] = time.time, **settings: Any) -> Gate:
    given = Settings.model_validate(
        {"rooms": {"checkout": ROOM}, "fallback": {"phone": "+1 555 0100"}, "state": str(directory), **settings}
    )
    room, quotas = SmallRoom(clock=clock), Uncounted()
    engine = Engine(
        given,
        KeyRing((Key("k1", bytes(range(32))),)),
        Trust(),
        lines={"checkout": room},
        quotas=quotas,
        pages=Pages(given, draw=lambda: 0.5),
        meter=Meter(),
        clock=clock,
    )
    emails = Emails(directory / "emails.db")
    return Gate(engine, visitor_app(engine, emails), room, emails, quotas)


@pytest.fixture
def gate(tmp_path):
    made = build(tmp_path)
    yield made
    made.emails.close()


@pytest.fixture
def make_gate(tmp_path):
    made: list[Gate] = []

    def make(**settings: Any) -> Gate:
        made.append(build(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for each in made:
        each.emails.close()
