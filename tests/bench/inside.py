"""``python -m tests.bench.inside``: what a forwarded request and a newcomer's page cost in Python alone.

Without sockets, kernel or event loop: CPU time of this process in the calmest of some runs, so it can be compared from one
change to the next on a busy machine too.
"""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from types import FrameType
from typing import Any

from gate.core.address import Trust
from gate.core.blocks import LARGEST
from gate.core.credentials import Ids, Key, KeyRing
from gate.core.line import RoomState
from gate.core.settings import Settings
from gate.core.standin import Share
from gate.engine import Engine
from gate.store.line import Line
from gate.store.link import Link
from gate.store.local import Policy
from gate.store.memory import Memory
from gate.web.metrics import Meter
from gate.web.pages import Pages
from gate.wire.door import Door
from gate.wire.protocol import VisitorConnection
from gate.wire.upstream import OriginConnection
from tests.bench.cases import LINED
from tests.wire.rig import MemoryQuotas, make_engine, own_app, pass_for

VISITORS, CONNECTIONS, RUNS = 20_000, 64, 12
BATCH = 32  # requests that an event loop would find at once, and then their answers
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 11:33:09 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 1024\r\nConnection: keep-alive\r\n\r\n" + b"x" * 1024
)


class Silence(asyncio.Transport):
    """Takes everything."""

    def write(self, data: Any) -> None:
        self.last = data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


class Inside:
    """A door with ``CONNECTIONS`` visitors' connections, as many to the origin, and a pass for each of ``VISITORS``."""

    def __init__(self, door: Door, passes: list[str]) -> None:
        server = door.origin.servers[0]
        self.idle = server.idle
        self.visitors = [door.protocol() for _ in range(CONNECTIONS)]
        for _ in range(CONNECTIONS):
            connection = OriginConnection(server, door.wheel)
            connection.connection_made(Silence())
            server.total += 1
            server.give_back(connection)
        for visitor in self.visitors:
            assert isinstance(visitor, VisitorConnection)
            visitor.connection_made(Silence())
        head = b"GET /checkout/1k HTTP/1.1\r\nHost: localhost\r\nCookie: gate_pass_checkout=%b\r\n\r\n"
        self.requests = [head % token.encode() for token in passes]

    def run(self) -> None:
        """One request from every visitor."""
        for first in range(0, VISITORS, BATCH):
            asked = self.idle[-BATCH:]
            for number in range(first, first + BATCH):
                self.visitors[number % CONNECTIONS].data_received(self.requests[number])
            for connection in asked:
                connection.data_received(ANSWER)

    def last(self) -> bytes:
        return last_to(self.visitors[0])


class Newcomers:
    """A door at which everybody is new and stands in line. The worker has leased numbers; no store is there to ask."""

    def __init__(self, door: Door, line: Line) -> None:
        self.line = line
        self.visitors = [door.protocol() for _ in range(CONNECTIONS)]
        for visitor in self.visitors:
            assert isinstance(visitor, VisitorConnection)
            visitor.connection_made(Silence())
        self.request = b"GET /checkout/pay HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"

    def run(self) -> None:
        """As many of them as :class:`Inside` has visitors."""
        for first in range(0, VISITORS, BATCH):
            self.line._block.refill(LARGEST + first, 1, LARGEST, self.line._clock())
            for number in range(first, first + BATCH):
                self.visitors[number % CONNECTIONS].data_received(self.request)

    def last(self) -> bytes:
        return last_to(self.visitors[0])


def last_to(visitor: Any) -> bytes:
    """The last answer that ``visitor`` got."""
    assert isinstance(visitor.transport, Silence)
    return bytes(visitor.transport.last)


def line_engine(directory: Path) -> tuple[Engine, Line]:
    """An engine with the line that a worker has, in which people stand."""
    settings = Settings.model_validate({"rooms": LINED})
    still = repeat(time.time()).__next__  # a worker that had to wait for its core would throw the leased numbers away
    line = Line(Link("redis://127.0.0.1:1"), "checkout", new_id=Ids(os.urandom), memory=Memory(), clock=still)
    engine = Engine(
        settings,
        KeyRing((Key("k1", secrets.token_bytes(32)),)),
        Trust.of(settings.edge, {}),
        lines={"checkout": line},
        quotas=MemoryQuotas(),
        pages=Pages(settings),
        meter=Meter(directory / "metrics", settings.rooms),
        without_store=Policy(60.0, Share(0, 1), directory, lambda _room, _local, _told: None),
    )
    line.state = RoomState(epoch=1, serving=10, last=LARGEST, waiting=LARGEST - 10, now=time.time())
    engine._states["checkout"], engine._told["checkout"], engine._store_up = line.state, line.state.now, True
    engine.compose()
    return engine, line


async def measure(runs: int = RUNS) -> tuple[float, float]:
    """Microseconds of CPU, and calls of Python functions, for one request."""
    engine = make_engine()
    with tempfile.TemporaryDirectory() as directory:
        engine.meter = Meter(Path(directory), engine.settings.rooms)  # the rig's keeps what it hears
        async with Door(engine, own_app) as door:
            inside = Inside(door, [pass_for(engine) for _ in range(VISITORS)])
            inside.run()  # everybody is seen for the first time
            assert b" 200 " in inside.last()[:20]
            assert b"reason=pass" in inside.last()
            return _least(inside.run, runs), _calls(inside.run)


async def measure_newcomers(runs: int = RUNS) -> tuple[float, float]:
    """The same of one newcomer."""
    with tempfile.TemporaryDirectory() as directory:
        engine, line = line_engine(Path(directory))
        async with Door(engine, own_app) as door:
            newcomers = Newcomers(door, line)
            newcomers.visitors[0].data_received(newcomers.request)
            await asyncio.sleep(0.1)  # the first of its kind is read with care, in a task
            newcomers.run()
            assert b"gate_ticket_checkout=" in newcomers.last()
            assert b"reason=line" in newcomers.last()
            return _least(newcomers.run, runs), _calls(newcomers.run)


def _least(work: Callable[[], None], runs: int) -> float:
    times = []
    for _ in range(runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) / VISITORS * 1e6


def _calls(work: Callable[[], None]) -> float:
    count = 0

    def see(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count / VISITORS


if __name__ == "__main__":
    for what, measured in (("a forwarded request", measure), ("a newcomer's page", measure_newcomers)):
        spent, calls = asyncio.run(measured())
        print(f"{spent:.1f} µs and {calls:.0f} calls of Python functions for {what}")
