"""The real thing around the door: uvicorn in front, a shop behind that records every byte and can misbehave, a raw client."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn

from gate.core.address import Trust
from gate.core.answer import Answer
from gate.core.credentials import Key, KeyRing
from gate.core.decision import Decision
from gate.core.settings import Settings
from gate.core.settle import Result, settle
from gate.core.snapshot import Snapshot
from gate.core.words import Outcome, Reason
from gate.edges import trust_for
from gate.wire.door import Door

PATIENCE = 10.0  # seconds; nothing here takes one
FORWARD = Decision(Outcome.FORWARD, Reason.UNGUARDED)


async def eventually(condition: Callable[[], Any], what: str = "condition") -> None:
    """Wait until ``condition()`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.005)


# --------------------------------------------------------------------------- engine


@dataclass
class Attempt:
    decision: Decision
    results: list[Result] = field(default_factory=list)
    closed: bool = False

    def settle(self, result: Result) -> Decision:
        assert not self.results, "settled twice"
        assert not self.closed, "settled after it was over"
        self.results.append(result)
        return settle(self.decision, result)

    def close(self) -> None:
        self.closed = True


class Engine:
    """Does what :attr:`decision` says with everything, and remembers what the wire told it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keyring = KeyRing((Key("test", secrets.token_bytes(32)),))
        self.trust: Trust = trust_for(settings.edge)
        self.snapshot = Snapshot(taken=time.time(), store_up=True)
        self.decision: Decision | Callable[[Any], Decision] = FORWARD
        self.visits: list[Any] = []
        self.attempts: list[Attempt] = []
        self.commands: list[bytes] = []
        self.for_origin: tuple[tuple[bytes, bytes], ...] = ((b"gate-room", b"checkout"), (b"gate-visitor", b"v"))
        self.for_visitor: tuple[tuple[bytes, bytes], ...] = ()
        self.lines: list[tuple[Decision, int, int]] = []  # what the access log was told: decision, status, bytes

    def access(self, visit: Any, decision: Decision, status: int, seconds: float, *, sent: int = 0) -> None:
        assert seconds >= 0
        self.lines.append((decision, status, sent))

    def now(self) -> float:
        return time.time()

    async def consider(self, visit: Any) -> Decision:
        self.visits.append(visit)
        decision = self.decision(visit) if callable(self.decision) else self.decision
        if visit.path.widened.startswith("/__gate/"):
            return Decision(Outcome.OWN, Reason.ENDPOINT)
        if decision.route is None:
            route = next(
                (r for r in self.settings.routes for m in r.match if m.matches(visit.method, visit.path.widened)), None
            )
            decision = replace(decision, route=route)
        return decision

    def answer(self, visit: Any, decision: Decision) -> Answer:
        return Answer(503, ((b"gate-decision", decision.label.encode()), (b"content-type", b"text/plain")), b"the gate's page")

    def refuse(self, refusal: Any, wants: str = "html", languages: tuple[str, ...] = ()) -> Answer:
        return Answer(refusal.status, ((b"content-type", b"text/plain"),), f"refused: {refusal.detail}".encode())

    def headers_for_origin(self, visit: Any, decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
        return self.for_origin

    def headers_for_visitor(self, visit: Any, decision: Decision) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"gate-decision", decision.label.encode()), *self.for_visitor)

    def start(self, visit: Any, decision: Decision) -> Attempt:
        self.attempts.append(Attempt(decision))
        return self.attempts[-1]

    def on_command(self, visit: Any, decision: Decision, value: bytes) -> None:
        self.commands.append(value)


# --------------------------------------------------------------------------- origin


@dataclass
class Request:
    """As the shop's socket saw it."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    head: bytes
    connection: int
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


Answering = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def plain(body: bytes = b"hello", status: bytes = b"200 OK", *fields: bytes) -> Answering:
    """Read the whole request, answer with Content-Length, keep the connection."""

    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request.body = await read_body(request, reader)
        lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if request.line.startswith(b"HEAD") else body))
        await writer.drain()

    return answer


def raw(data: bytes, *, close: bool = True) -> Answering:
    """Read the whole request, answer with these bytes."""

    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request.body = await read_body(request, reader)
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return answer


async def read_body(request: Request, reader: asyncio.StreamReader) -> bytes:
    """By the framing that the request declares; EOF inside is an error of the sender."""
    lengths, codings = request.values(b"content-length"), request.values(b"transfer-encoding")
    assert not (lengths and codings), request.head
    assert len(lengths) <= 1
    if lengths:
        return await reader.readexactly(int(lengths[0]))
    if not codings:
        return b""
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        chunk = await reader.readexactly(size + 2)
        if not size:
            return body
        body += chunk[:-2]


class Shop:
    """A raw origin. ``answering`` is called for every request; connections and everything received are kept."""

    def __init__(self) -> None:
        self.answering: Answering = plain()
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self.errors: list[BaseException] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Shop":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                line, *rest = head[:-4].split(b"\r\n")
                pairs = (field.partition(b": ") for field in rest)
                request = Request(line, [(name.lower(), value) for name, _, value in pairs], head, number)
                self.requests.append(request)
                await self.answering(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except AssertionError as error:
            self.errors.append(error)
        finally:
            self.open -= 1
            writer.close()


# --------------------------------------------------------------------------- the stage


@dataclass
class Stage:
    engine: Engine
    shop: Shop
    door: Door
    port: int

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22))

    async def send(self, data: bytes) -> "Response":
        """One request on a fresh connection; a target and headers, or everything."""
        client = await self.connect()
        try:
            return await client.ask(data)
        finally:
            client.close()

    @property
    def attempt(self) -> Attempt:
        return self.engine.attempts[-1]


@dataclass
class Response:
    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> Response:
        if b"\r\n\r\n" not in data:
            data = data.rstrip(b"\r\n") + b"\r\n\r\n"
        if b"host:" not in data.lower():
            line, _, rest = data.partition(b"\r\n")
            data = line + b"\r\nHost: shop.example\r\n" + rest
        self.writer.write(data)
        return await self.read(data.startswith(b"HEAD"))

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        line, *rest = head[:-4].split(b"\r\n")
        return int(line.split()[1]), [(n.lower(), v) for n, _, v in (field.partition(b": ") for field in rest)]

    async def read(self, bodiless: bool = False) -> Response:
        """One response, by its framing. ``complete`` is False when the connection ended inside it."""
        status, fields = await self.head()
        response = Response(status, fields, b"", True)
        if bodiless or status in (204, 304) or status < 200:
            return response
        lengths = response.values(b"content-length")
        try:
            if lengths:
                response.body = await asyncio.wait_for(self.reader.readexactly(int(lengths[0])), PATIENCE)
            elif response.values(b"transfer-encoding"):
                while True:
                    chunk = await self.chunk()
                    if not chunk:
                        break
                    response.body += chunk
            else:
                response.body = await asyncio.wait_for(self.reader.read(), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            response.complete = False
            response.body += getattr(error, "partial", b"")
        return response

    async def chunk(self) -> bytes:
        size = int((await asyncio.wait_for(self.reader.readuntil(b"\r\n"), PATIENCE)).strip(), 16)
        return (await asyncio.wait_for(self.reader.readexactly(size + 2), PATIENCE))[:-2]

    async def ended(self) -> bytes:
        """What is left until the other side closes."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        return b""

    def reset(self) -> None:
        """Go away without a word (RST)."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.close()

    def close(self) -> None:
        self.writer.close()


async def own(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for the web's app: says what it was given."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    text = scope["gate.visit"].method.encode() + b" " + scope["gate.visit"].path.raw + b" " + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@contextlib.asynccontextmanager
async def staged(app: Any = own, more_servers: tuple[str, ...] = (), **config: Any) -> AsyncIterator[Stage]:
    """Shop, engine, door and uvicorn, as a worker runs them."""
    async with Shop() as shop:
        origin = {"servers": [shop.url, *more_servers], "health": None, **config.pop("origin", {})}
        engine = Engine(Settings.model_validate({"origin": origin, **config}))
        async with Door(engine, app) as door:
            server = uvicorn.Server(
                uvicorn.Config(
                    door.app,
                    http=door.protocol,
                    ws="none",
                    lifespan="off",
                    proxy_headers=False,
                    server_header=False,
                    date_header=False,
                    access_log=False,
                    log_config=None,
                    timeout_graceful_shutdown=1,
                )
            )
            sock = socket.create_server(("127.0.0.1", 0))
            task = asyncio.create_task(server.serve(sockets=[sock]))
            await eventually(lambda: server.started, "uvicorn up")
            try:
                yield Stage(engine, shop, door, sock.getsockname()[1])
                await eventually(lambda: all(attempt.closed for attempt in engine.attempts), "every attempt over")
            finally:
                server.should_exit = True
                await task
        assert not shop.errors, shop.errors
        assert all(visited.outstanding == 0 for visited in door.origin.servers)
