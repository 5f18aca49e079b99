"""WebSockets through the door: a real client, uvicorn, and a real WebSocket shop."""

import asyncio
import contextlib

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gate.core.decision import Decision
from gate.core.settle import Trouble
from gate.core.words import Outcome, Reason
from tests.wire.stage import eventually, plain, raw, staged

WAIT = Decision(Outcome.WAIT, Reason.LINE, room="checkout")


@contextlib.asynccontextmanager
async def shop(handler, **options):
    """A gate in front of a WebSocket server."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        async with staged() as stage:
            stage.door.origin.servers[0].url = f"http://127.0.0.1:{port}"
            yield stage


def ask(stage, path="/chat", **options):
    return connect(f"ws://127.0.0.1:{stage.port}{path}", proxy=None, **options)


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def test_text_and_bytes_both_ways():
    async with shop(echo) as stage, ask(stage) as socket:
        for message in ("h\u00e9llo", b"\x00\xff" * 1000, "", b"", "x" * 300_000):
            await socket.send(message)
            assert await socket.recv() == message
    assert [result.status for result in stage.attempt.results] == [101]


async def test_the_handshake_carries_fields_path_and_protocol():
    seen = []

    async def handler(socket):
        seen.append(socket.request)
        await socket.send(socket.subprotocol or "none")

    headers = {"Cookie": "a=b; gate_pass_checkout=x", "X-Forwarded-For": "6.6.6.6", "Gate-Pass": "y"}
    options = {"subprotocols": ["v1", "v2"], "additional_headers": headers}
    async with shop(handler, subprotocols=["v2"]) as stage, ask(stage, "/c%2Fd?x=%20", **options) as socket:
        assert socket.subprotocol == "v2"
        assert await socket.recv() == "v2"
        assert socket.response.headers["gate-decision"] == "forward; reason=unguarded"
    assert seen[0].path == "/c%2Fd?x=%20"
    assert seen[0].headers.get_all("cookie") == ["a=b"]
    assert seen[0].headers["x-forwarded-for"] == "127.0.0.1"
    assert seen[0].headers["gate-visitor"] == "v"
    assert "gate-pass" not in seen[0].headers
    assert seen[0].headers.get_all("sec-websocket-version") == ["13"]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "bye"), (4321, "own"), (1011, "broken")])
async def test_the_shops_close_reaches_the_visitor(code, reason):
    async def handler(socket):
        await socket.close(code, reason)

    async with shop(handler) as stage, ask(stage) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (4321, "own")])
async def test_the_visitors_close_reaches_the_shop(code, reason):
    closed = asyncio.get_running_loop().create_future()

    async def handler(socket):
        await socket.wait_closed()
        closed.set_result((socket.close_code, socket.close_reason))

    async with shop(handler) as stage:
        async with ask(stage) as socket:
            await socket.close(code, reason)
        assert await asyncio.wait_for(closed, 5) == (code, reason)


async def test_a_shop_that_vanishes_is_no_clean_end():
    async def handler(socket):
        socket.transport.abort()

    async with shop(handler) as stage, ask(stage) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd.code == 1011


async def test_a_visitor_who_vanishes_ends_it_at_the_shop():
    ended = asyncio.Event()

    async def handler(socket):
        await socket.wait_closed()
        ended.set()

    async with shop(handler) as stage:
        socket = await ask(stage)
        socket.transport.abort()
        await asyncio.wait_for(ended.wait(), 5)


async def test_the_same_decision_as_for_any_request():
    async with shop(echo) as stage:
        stage.engine.decision = WAIT
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage, "/checkout")
        response = caught.value.response
        assert (response.status_code, response.body) == (503, b"the gate's page")
        assert response.headers["gate-decision"] == "wait; room=checkout; reason=line"
        assert not stage.engine.attempts


@pytest.mark.parametrize("path", ["/a/%2e%2e/checkout", "/a%5cb", "/%00"])
async def test_refused_like_any_request(path):
    async with shop(echo) as stage:
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage, path)
        assert caught.value.response.status_code == 400


async def test_no_websocket_under_the_gates_own_prefix():
    async with shop(echo) as stage:
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage, "/__gate/authorize")
        assert caught.value.response.status_code == 404


async def test_what_the_shop_says_instead_of_101():
    async with staged() as stage:
        stage.shop.answering = plain(b"no", b"403 Forbidden", b"X-Why: login")
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage)
        assert caught.value.response.status_code == 403
        assert caught.value.response.headers["x-why"] == "login"
        assert stage.attempt.results[0].status == 403


async def test_a_handshake_that_is_wrong():
    async with staged() as stage:
        fields = b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
        stage.shop.answering = raw(b"HTTP/1.1 101 Switching Protocols\r\n" + fields)
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage)
        assert caught.value.response.status_code == 503
        assert stage.attempt.results[0].trouble is Trouble.GARBAGE


async def test_no_shop():
    async with staged() as stage:
        await stage.shop.__aexit__()
        with pytest.raises(InvalidStatus) as caught:
            await ask(stage)
        assert caught.value.response.status_code == 503
        assert stage.attempt.results[0].trouble is Trouble.CONNECT


async def test_many_at_once_and_none_left_behind():
    async with shop(echo) as stage:
        sockets = await asyncio.gather(*(ask(stage) for _ in range(20)))
        for n, socket in enumerate(sockets):
            await socket.send(str(n))
        assert [await socket.recv() for socket in sockets] == [str(n) for n in range(20)]
        await asyncio.gather(*(socket.close() for socket in sockets))
        await eventually(lambda: stage.door.origin.servers[0].outstanding == 0, "all tunnels closed")


async def test_a_denial_is_nothing_to_log(caplog):
    async with shop(echo) as stage:
        stage.engine.decision = WAIT
        with pytest.raises(InvalidStatus):
            await ask(stage, "/checkout")
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
