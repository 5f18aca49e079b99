"""``python -m tests.bench.inside``: what a forwarded request costs in Python alone, without sockets, kernel or event loop.

CPU time of this process in the calmest of some runs, so it can be compared from one change to the next on a busy machine too.
"""

import asyncio
import sys
import time
from types import FrameType
from typing import Any

from gate.wire.door import Door
from gate.wire.protocol import VisitorConnection
from gate.wire.upstream import OriginConnection
from tests.wire.rig import make_engine, own_app, pass_for

VISITORS, CONNECTIONS, RUNS = 20_000, 64, 12
BATCH = 32  # requests that an event loop would find at once, and then their answers
ANSWER = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024


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
        transport = self.visitors[0].transport
        assert isinstance(transport, Silence)
        return bytes(transport.last)


async def measure(runs: int = RUNS) -> tuple[float, float]:
    """Microseconds of CPU, and calls of Python functions, for one request."""
    engine = make_engine()
    async with Door(engine, own_app) as door:
        inside = Inside(door, [pass_for(engine) for _ in range(VISITORS)])
        inside.run()  # everybody is seen for the first time
        assert b" 200 " in inside.last()[:20]
        assert b"reason=pass" in inside.last()
        times = []
        for _ in range(runs):
            began = time.process_time()
            inside.run()
            times.append(time.process_time() - began)
        return min(times) / VISITORS * 1e6, _calls(inside) / VISITORS


def _calls(inside: Inside) -> int:
    count = 0

    def see(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        inside.run()
    finally:
        sys.setprofile(None)
    return count


if __name__ == "__main__":
    spent, calls = asyncio.run(measure())
    print(f"{spent:.1f} µs and {calls:.0f} calls of Python functions for a forwarded request")
