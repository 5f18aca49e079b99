"""Anything on the wire, from both sides: the same decisions however it is cut, no 500, nothing left behind."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.path import canonical
from gate.core.pattern import Pattern
from tests.wire.rig import Gate, Origin, OriginSide, Visitor, eventually, gate_before, read_body, response

MORE = 10 if os.environ.get("FULL") else 1
GUARD = Pattern.parse("/checkout/**")
SLOWEST = {"head": "2s", "keep_alive": "2s", "stall": "2s"}
LAST = b"GET /last HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Stage:
    """A gate and its origin on a loop of their own, so that hypothesis can come and go."""

    def __init__(self, patience: str) -> None:
        self.patience = patience  # with the origin
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.seen: list[str] = []
        self.answer = b""  # what the origin says to /fuzz

    async def _script(self, side: OriginSide) -> None:
        while head := await side.head():
            body = await read_body(side, head)
            method, target, _ = head.decode("latin-1").split(" ", 2)
            if target == "/fuzz":
                await side.send(self.answer)
                continue
            self.seen.append(f"{method} {target} {len(body)}")
            await side.send(response(target.encode("latin-1")))

    async def _open(self) -> Gate:
        self._stack = contextlib.AsyncExitStack()
        origin = await self._stack.enter_async_context(Origin())
        times = {"timeouts": {"first_byte": self.patience, "idle": self.patience}}
        return await self._stack.enter_async_context(gate_before(origin, self._script, visitors=SLOWEST, origin=times))

    def __enter__(self) -> "Stage":
        self.gate = self.runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self._stack.aclose())
        self.runner.close()

    async def say(self, data: bytes, cuts: list[int]) -> bytes:
        """All that the gate answers to ``data``, cut at ``cuts``."""
        visitor = await self.gate.visitor()
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        with contextlib.suppress(ConnectionError):
            for start, end in itertools.pairwise(edges):
                await visitor.send(data[start:end])
                await asyncio.sleep(0)
        answered = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while piece := await visitor.reader.read(65536):
                    answered += piece
        visitor.close()
        self.gate.visitors.remove(visitor)
        return answered

    async def quiet(self) -> None:
        """Nothing is left behind, and the next visitor is served: the control."""
        gate, server = self.gate, self.gate.door.origin.servers[0]
        await eventually(lambda: not gate.door.connections, "the visitors' connections are closed")
        assert gate.engine.shop.overload.current == 0
        assert server.outstanding == 0
        (control,) = await read_all(await self.say(LAST, []))
        assert control == (200, "forward; reason=unguarded", b"/last")


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    patch = pytest.MonkeyPatch()
    patch.setattr("gate.wire.receiving.BODY_WINDOW", 2.0)
    with Stage(request.param) as made:
        yield made
    patch.undo()


async def read_all(data: bytes) -> list[tuple[int, str, bytes]]:
    """The answers in ``data``, read strictly, without the interim ones: status, decision, body."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    visitor = Visitor(reader, None)
    found = []
    while not reader.at_eof():
        status, fields, body = await visitor.answer()
        if status >= 200:
            found.append((status, fields["gate-decision"][0], body))
    return found


# --------------------------------------------------------------------------- visitors

TARGETS = st.sampled_from([b"/", b"/a?b=%2f", b"/checkout", b"/%63heckout", b"//checkout//x", b"/x/../checkout", b"/a b", b"*"])
FIELDS = st.sampled_from(
    [
        b"Host: shop.test\r\n", b"host: evil.test\r\n", b"Content-Length: 3\r\n", b"Content-Length: 3, 3\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"Trailer: A\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"X-Forwarded-For: 6.6.6.6\r\n",
        b"A: b\r\n", b"A_B: c\r\n", b"A: b\r\n c\r\n", b"A: b\n", b"A: \0\r\n", b"Cookie: gate_pass_checkout=forged\r\n",
    ]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;e=f\r\nabc\r\n0\r\nHost: evil\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n\r\n"]
)
METHODS = st.sampled_from([b"GET", b"POST", b"DELETE", b"TRACE", b"PSOT", b"OPTIONS"])
GOOD = st.sampled_from(
    [
        b"GET /good HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        b"GET /checkout HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        b"POST /good HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT /good HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: x\r\n\r\n",
    ]
)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"])
ODD = st.builds(
    lambda method, target, version, fields, body: b"%b %b %b\r\n%b\r\n%b" % (method, target, version, b"".join(fields), body),
    METHODS,
    TARGETS,
    VERSIONS,
    st.lists(FIELDS, max_size=5).map(lambda fields: [b"Host: shop.test\r\n", *fields]),
    BODIES,
)
STREAMS = st.lists(st.one_of(GOOD, ODD, GOOD, st.binary(max_size=30)), min_size=1, max_size=4).map(b"".join)
POSSIBLE = {200, 400, 405, 408, 413, 414, 417, 431, 501, 503, 505}


def decided(answers: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """What is wrong in two ways is refused for the one that is seen first, and that depends on what has come so far."""
    return [(400, "refuse") if decision.startswith("refuse") else (status, decision) for status, decision in answers]


@pytest.mark.parametrize("stage", ["20s"], indirect=True)
@settings(fuzzed, max_examples=100 * MORE)
@given(data=STREAMS, cuts=st.lists(st.integers(1, 600), max_size=12))
def test_however_it_is_cut_it_gets_the_same_answers(stage, data, cuts):
    async def once(cuts):
        stage.seen.clear()
        answers = [(status, decision) for status, decision, _ in await read_all(await stage.say(data + LAST, cuts))]
        return answers, list(stage.seen)

    async def example():
        whole, pieces = await once([]), await once(cuts)
        assert decided(whole[0]) == decided(pieces[0])
        assert whole[1] == pieces[1]
        answers, seen = whole
        for status, decision in answers:
            assert status in POSSIBLE
            assert status != 503 or decision.startswith("wait; room=checkout")
        assert len(seen) == sum(status == 200 for status, _ in answers)
        for request in seen:
            path, _ = canonical(request.split(" ")[1].encode("latin-1"))
            assert not any(GUARD.matches("GET", reading) for reading in path.readings)
        await stage.quiet()

    stage.runner.run(example())


# --------------------------------------------------------------------------- the origin

REPLIES = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 304 No\r\n", b"HTTP/1.1 103 Hints\r\n",
            b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 101 Switch\r\n", b"HTTP/2 200\r\n", b"HTTP/1.1 99 X\r\n",
            b"Content-Length: 3\r\n", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
            b"Gate-Command: release\r\n", b"Set-Cookie: a=b\r\n", b"A: b\r\n c\r\n", b"A_B: c\r\n", b"A: \0\r\n", b"A: b\n",
            b"\r\n", b"\r\n", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"x" * 70_000,
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
        ]
    ),
    max_size=8,
).map(b"".join)  # fmt: skip


@pytest.mark.parametrize("stage", ["1s"], indirect=True)
@settings(fuzzed, max_examples=25 * MORE)
@given(data=st.one_of(REPLIES, REPLIES.map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest), st.binary(max_size=60)))
def test_whatever_the_origin_says_the_next_visitor_gets_their_own(stage, data):
    async def example():
        stage.answer = data
        answered = await stage.say(b"GET /fuzz HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n", [])
        with contextlib.suppress(asyncio.IncompleteReadError):  # cut off: what ended early must not look complete
            found = await read_all(answered)
            assert [status for status, *_ in found] in ([200], [204], [304], [503])
            assert found[0][0] != 503 or found[0][1] == "fallback; reason=origin-failed"
        assert b"gate-command" not in answered.lower()
        for _ in range(2):
            await stage.quiet()

    stage.runner.run(example())
