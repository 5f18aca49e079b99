"""A door with a real engine, real sockets on both sides, and an origin that does what its script says."""

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from gate.core.address import Trust
from gate.core.credentials import Key, KeyRing, Pass, Ticket
from gate.core.decision import Decision, Entry
from gate.core.settings import Settings
from gate.core.settle import Result
from gate.core.snapshot import RoomView
from gate.core.visit import Visit
from gate.core.words import Reason
from gate.engine import Engine
from gate.web.metrics import Tally
from gate.web.pages import Pages
from gate.wire.door import Door

DEADLINE = 30.0  # seconds until a test gives up waiting for something


class MemoryLine:
    """A room where everybody waits for want of a token, unless ``admitting``."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.last = 0
        self.released: list[str] = []
        self.stocks: list[int] = []
        self.admitting = False
        self.gate = asyncio.Event()
        self.gate.set()

    def join_at_once(self, terms: Any, view: RoomView) -> None:
        return None

    async def join(self, terms: Any, view: RoomView) -> Entry:
        await self.gate.wait()
        self.last += 1
        ticket = Ticket(self.room, 1, self.last, int(time.time() * 1000), secrets.token_urlsafe(16))
        return self._entry(ticket)

    def _entry(self, ticket: Ticket) -> Entry:
        if self.admitting:
            return Entry("entered", ticket, expires=time.time() + 600)
        return Entry("waiting", ticket, retry_after=2.0, reason=Reason.RATE)

    async def claim(self, ticket: Ticket, terms: Any) -> Entry:
        return self._entry(ticket)

    async def renew(self, pass_id: str, terms: Any) -> float:
        return time.time() + 600

    async def release(self, pass_id: str) -> bool:
        self.released.append(pass_id)
        return True

    def present(self, ticket: Ticket) -> None:
        pass

    def stock(self, left: int) -> None:
        self.stocks.append(left)


class MemoryQuotas:
    async def hit(self, limit: Any, client: str) -> None:
        return None


@dataclass
class MemoryMeter:
    decisions: list[Decision] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def decided(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def tally(self, decision: Decision) -> Tally:
        self.tallies.append(Tally())
        return self.tallies[-1]

    def answered(self, seconds: float) -> None:
        self.results.append(Result(status=200, seconds=seconds))

    def origin(self, result: Result) -> None:
        self.results.append(result)


@dataclass
class MemoryAccess:
    """An access log that wants every request."""

    lines: list[tuple[str, Decision, int, int]] = field(default_factory=list)  # path, decision, status, bytes sent

    def wants(self) -> bool:
        return True

    def __call__(self, visit: Visit, decision: Decision, status: int, seconds: float, *, sent: int = 0) -> None:
        assert seconds >= 0
        self.lines.append((visit.path.raw.decode(), decision, status, sent))


def make_engine(**config: Any) -> Engine:
    settings = Settings.model_validate({"rooms": {"checkout": {"match": "/checkout/**", "rate": "60/minute"}}, **config})
    engine = Engine(
        settings,
        KeyRing((Key("k1", secrets.token_bytes(32)),)),
        Trust.of(settings.edge, {}),
        lines={name: MemoryLine(name) for name in settings.rooms},
        quotas=MemoryQuotas(),
        pages=Pages(settings),
        meter=MemoryMeter(),
    )
    engine._store_up = True
    engine.compose()
    return engine


def pass_for(engine: Engine, room: str = "checkout", *, lives: float = 600.0, id: str | None = None) -> str:
    now = time.time()
    return engine.keyring.sign_pass(Pass(room, id or secrets.token_urlsafe(16), now, now + lives))


CALLS: list[str] = []


async def own_app(scope: Any, receive: Any, send: Any) -> None:
    """Echoes what it was given, as the gate's own endpoints would see it."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    text = f"{scope['method']} {scope['path']} {scope['gate.visit'].host} {len(body)}".encode()
    if scope["path"].startswith("/__gate/rooms/"):
        CALLS.append(scope["path"])
        fields = [(b"cache-control", b"public, max-age=1"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b'{"serving":%d}' % len(CALLS)})
        return
    if scope["path"] == "/__gate/boom":
        raise RuntimeError("boom")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


Script = Callable[["OriginSide"], Awaitable[None]]


class OriginSide:
    """One connection as the scripted origin has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self.requests: list[bytes] = []
        self.journal: list[bytes] = []
        self._ending: asyncio.Future[bool] | None = None

    async def head(self) -> bytes:
        """The next request head; b"" at the end of the connection."""
        try:
            async with asyncio.timeout(DEADLINE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        self.requests.append(head)
        self.journal.append(head)
        return head

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def ended(self) -> bool:
        """Has the gate closed the connection? The script and the test may both ask."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._until_the_end())
        async with asyncio.timeout(DEADLINE):
            return await asyncio.shield(self._ending)

    async def _until_the_end(self) -> bool:
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        return True


class Origin:
    """Runs a script per connection, and remembers the connections."""

    def __init__(self) -> None:
        self.sides: list[OriginSide] = []
        self.heads: list[bytes] = []  # of all requests, as they came
        self.script: Script = answer_ok
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        side = OriginSide(reader, writer, len(self.sides))
        self.sides.append(side)
        side.journal = self.heads
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(side)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def __aenter__(self) -> "Origin":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for side in self.sides:
            with contextlib.suppress(AttributeError):  # CPython 3.11: a transport that has ended has no loop to abort on
                side.writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for side in self.sides:
            with contextlib.suppress(ConnectionError):
                await side.writer.wait_closed()
        await asyncio.sleep(0)


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a request head, in order, names in lower case."""
    pairs = (line.partition(b": ") for line in head[:-4].split(b"\r\n")[1:])
    return [(name.lower(), value) for name, _, value in pairs]


def values_of(head: bytes, name: bytes) -> list[bytes]:
    return [value for key, value in fields_of(head) if key == name]


def response(body: bytes = b"ok", status: str = "200 OK", *fields: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in fields)
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status.encode(), len(body), lines, body)


async def read_body(side: OriginSide, head: bytes) -> bytes:
    """The body behind ``head``, read strictly."""
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in lower:
        body = b""
        while True:
            async with asyncio.timeout(DEADLINE):
                size = int((await side.reader.readuntil(b"\r\n"))[:-2], 16)
            body += await side.exactly(size)
            assert await side.exactly(2) == b"\r\n"
            if not size:
                return body
    for line in lower.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await side.exactly(int(line[15:]))
    return b""


async def answer_ok(side: OriginSide) -> None:
    """Answers every request with its method, target and the size of its body."""
    while head := await side.head():
        body = await read_body(side, head)
        method, target, _ = head.split(b" ", 2)
        text = b"%b %b %d" % (method, target, len(body))
        if method == b"HEAD":
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        else:
            await side.send(response(text))


class Visitor:
    """A raw visitor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readuntil(mark)

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Everything until the gate closes the connection. Raises :class:`ConnectionResetError` when it is cut."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, list[str]], bytes]:
        """One response, read strictly."""
        head = await self.until(b"\r\n\r\n")
        start, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, status, _ = start.split(" ", 2)
        assert version == "HTTP/1.1"
        fields: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        assert not ("content-length" in fields and "transfer-encoding" in fields)
        assert len(fields.get("content-length", [])) <= 1
        if head_only or int(status) in (204, 304) or int(status) < 200:
            return int(status), fields, b""
        if fields.get("transfer-encoding") == ["chunked"]:
            body = b""
            while size := int((await self.until(b"\r\n"))[:-2], 16):
                body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n"
            return int(status), fields, body
        if "content-length" in fields:
            return int(status), fields, await self.exactly(int(fields["content-length"][0]))
        return int(status), fields, await self.rest()

    async def get(self, target: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, list[str]], bytes]:
        lines = "".join(f"{line}\r\n" for line in fields)
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n".encode("latin-1"))
        return await self.answer(head_only=method == "HEAD")

    def reset(self) -> None:
        """Go away without a word (RST)."""
        if self.writer.transport.is_closing():
            return
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if not self.writer.transport.is_closing():
            self.writer.transport.abort()


@dataclass
class Gate:
    """A running door."""

    engine: Engine
    door: Door
    origin: Origin
    port: int
    visitors: list[Visitor] = field(default_factory=list)

    @property
    def meter(self) -> MemoryMeter:
        assert isinstance(self.engine.meter, MemoryMeter)
        return self.engine.meter

    async def visitor(self) -> Visitor:
        visitor = Visitor(*await asyncio.open_connection("127.0.0.1", self.port))
        self.visitors.append(visitor)
        return visitor

    def end(self) -> None:
        """What SIGTERM does to a worker (only ``under_uvicorn``)."""
        self.door.end()

    @property
    def line(self) -> MemoryLine:
        line = self.engine._lines["checkout"]
        assert isinstance(line, MemoryLine)
        return line

    def pass_cookie(self, **more: Any) -> str:
        return f"Cookie: gate_pass_checkout={pass_for(self.engine, **more)}"


Start = Callable[..., Awaitable[Gate]]


async def eventually(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what or condition}"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def gate_before(
    origin: Origin, script: Script = answer_ok, /, *, app: Any = own_app, under_uvicorn: bool = False, **config: Any
) -> AsyncIterator[Gate]:
    """A door in front of an origin that follows the script. ``under_uvicorn``: served as a worker does, with its end."""
    origin.script = script
    config["origin"] = {"servers": [origin.url], **config.get("origin", {})}
    engine = make_engine(**config)
    async with contextlib.AsyncExitStack() as stack:
        door = await stack.enter_async_context(Door(engine, app))
        port = await stack.enter_async_context(_uvicorn(door, app) if under_uvicorn else _listener(door))
        gate = Gate(engine, door, origin, port)
        try:
            yield gate
        finally:
            for visitor in gate.visitors:
                visitor.close()
                with contextlib.suppress(ConnectionError):
                    await visitor.writer.wait_closed()
            for connection in list(door.connections):
                connection.transport.abort()
            await eventually(lambda: not door.connections, "every connection is closed")


@contextlib.asynccontextmanager
async def _listener(door: Door) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(door.protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def _uvicorn(door: Door, app: Any) -> AsyncIterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=door.protocol,
            host="127.0.0.1",
            port=0,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=20,
        )
    )
    server.capture_signals = contextlib.nullcontext
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, "uvicorn is up")
    door.end = lambda: setattr(server, "should_exit", True)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            await task
