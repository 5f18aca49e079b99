"""WebSockets through the door: a real client, a real server, and the gate's own goodbye."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gate.wire.frames import Frames, close_frame
from tests.wire.rig import DEADLINE, answer_ok, eventually, response


@contextlib.asynccontextmanager
async def shop(start, handler, **options):
    """A gate in front of a WebSocket server."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        yield await start(origin={"servers": [f"http://127.0.0.1:{port}"]}, under_uvicorn=True)


def ask(gate, path="/chat", **options):
    return connect(f"ws://127.0.0.1:{gate.port}{path}", proxy=None, **options)


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def test_text_and_bytes_both_ways(start):
    async with shop(start, echo) as gate, ask(gate) as socket:
        for message in ("h\u00e9llo", b"\x00\xff" * 1000, "", b"", "x" * 300_000):
            await socket.send(message)
            assert await socket.recv() == message
    assert [result.trouble for result in gate.meter.results] == [None]


async def test_the_handshake_carries_fields_path_and_protocol(start):
    seen = []

    async def handler(socket):
        seen.append(socket.request)
        await socket.send(socket.subprotocol or "none")

    async with shop(start, handler, subprotocols=["v2"]) as gate:
        headers = {"Cookie": f"a=b; {gate.pass_cookie(id='p1')[8:]}", "X-Forwarded-For": "6.6.6.6"}
        options = {"subprotocols": ["v1", "v2"], "additional_headers": headers}
        async with ask(gate, "/checkout/c%2Fd?x=%20", **options) as socket:
            assert socket.subprotocol == "v2"
            assert await socket.recv() == "v2"
            assert socket.response.headers["gate-decision"] == "forward; room=checkout; reason=pass"
    assert seen[0].path == "/checkout/c%2Fd?x=%20"
    assert seen[0].headers.get_all("cookie") == ["a=b"]
    assert seen[0].headers["x-forwarded-for"] == "127.0.0.1"
    assert seen[0].headers["gate-visitor"] == "p1"
    assert seen[0].headers.get_all("sec-websocket-version") == ["13"]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "bye"), (4321, "own"), (1011, "broken")])
async def test_the_shops_close_reaches_the_visitor(start, code, reason):
    async def handler(socket):
        await socket.close(code, reason)

    async with shop(start, handler) as gate, ask(gate) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)


async def test_the_visitors_close_reaches_the_shop(start):
    closed = asyncio.get_running_loop().create_future()

    async def handler(socket):
        await socket.wait_closed()
        closed.set_result((socket.close_code, socket.close_reason))

    async with shop(start, handler) as gate:
        async with ask(gate) as socket:
            await socket.close(4321, "own")
        assert await asyncio.wait_for(closed, DEADLINE) == (4321, "own")


async def test_a_shop_that_vanishes_is_no_clean_end(start):
    async def handler(socket):
        socket.transport.abort()

    async with shop(start, handler) as gate, ask(gate) as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is None


async def test_the_same_decision_as_for_any_request(start):
    async with shop(start, echo) as gate:
        for path, status in (("/checkout", 503), ("/a/%2e%2e/checkout", 400)):
            with pytest.raises(InvalidStatus) as caught:
                await ask(gate, path)
            assert caught.value.response.status_code == status
            assert caught.value.response.headers["gate-decision"].split(";")[0] == ("wait" if status == 503 else "refuse")
        assert gate.meter.results == []


async def test_what_the_shop_says_instead_of_101(start):
    async def script(side):
        await side.head()
        await side.send(response(b"no", "403 Forbidden", b"X-Why: login"))

    gate = await start(script)
    with pytest.raises(InvalidStatus) as caught:
        await ask(gate)
    assert caught.value.response.status_code == 403
    assert caught.value.response.headers["x-why"] == "login"


async def test_many_at_once_and_none_left_behind(start):
    async with shop(start, echo) as gate:
        sockets = await asyncio.gather(*(ask(gate) for _ in range(20)))
        for number, socket in enumerate(sockets):
            await socket.send(str(number))
        assert [await socket.recv() for socket in sockets] == [str(number) for number in range(20)]
        await asyncio.gather(*(socket.close() for socket in sockets))
        await eventually(lambda: gate.door.origin.servers[0].outstanding == 0 and not gate.door.tunnels, "all tunnels closed")


@pytest.mark.parametrize("why", ["the worker ends", "the pass is over"])
async def test_who_is_sent_away_is_told_why_and_so_is_the_shop(start, monkeypatch, why):
    monkeypatch.setattr("gate.wire.tunnel.LOOK", 0.2)
    monkeypatch.setattr("gate.wire.tunnel.LAST_WORDS", 0.2)
    codes = []

    async def handler(socket):
        await echo(socket)
        codes.append(socket.close_code)

    async with shop(start, handler) as gate:
        cookie = gate.pass_cookie(id="p1")[8:]
        socket = await ask(gate, "/checkout/live", additional_headers={"Cookie": cookie})
        await socket.send("x" * 70_000)
        await socket.recv()
        if why == "the worker ends":
            gate.end()
        else:
            view = replace(gate.engine.snapshot.rooms["checkout"], revoked=frozenset({"p1"}))
            gate.engine.snapshot = replace(gate.engine.snapshot, rooms={"checkout": view})
        with pytest.raises(ConnectionClosed) as caught:
            await asyncio.wait_for(socket.recv(), DEADLINE)
        assert caught.value.rcvd.code == (1012 if why == "the worker ends" else 1008)
        await eventually(lambda: codes == [1001], "the shop was told")


async def test_no_goodbye_inside_a_frame(start, monkeypatch):
    monkeypatch.setattr("gate.wire.tunnel.LAST_WORDS", 0.2)
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

    async def script(side):
        await side.head()
        await side.send(switch + b"\x82\x0ahalf a")
        await side.ended()

    gate = await start(script, under_uvicorn=True)
    visitor = await gate.visitor()
    assert (await visitor.get("/live", "Connection: Upgrade", "Upgrade: websocket"))[0] == 101
    gate.end()
    assert await visitor.rest() == b"\x82\x0ahalf a"


def frame(size, masked, opcode):
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65536
        else b"\x7f" + size.to_bytes(8, "big")
    )
    first = bytes([length[0] | (0x80 if masked else 0)])
    return bytes([0x80 | opcode]) + first + length[1:] + (b"mask" if masked else b"") + b"\x88" * size


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 125, 126, 300, 65536]), st.booleans(), st.sampled_from([0, 1, 2, 9, 10])), max_size=5
    ),
    st.randoms(use_true_random=False),
)
def test_frames_end_where_they_end_however_the_bytes_are_cut(parts, rng):
    whole, ends = b"", {0}
    for part in parts:
        whole += frame(*part)
        ends.add(len(whole))
    frames, at = Frames(), 0
    while at < len(whole):
        step = rng.choice([1, 2, 7, 5000])
        frames.feed(whole[at : at + step])
        at = min(len(whole), at + step)
        assert frames.between == (at in ends)
    frames.feed(close_frame(1000, masked=bool(parts)))
    assert not frames.between  # nothing may follow


async def test_an_upgrade_that_is_not_taken_is_a_plain_request(start):
    gate = await start(answer_ok)
    with pytest.raises(InvalidStatus) as caught:
        await ask(gate)
    assert caught.value.response.status_code == 200
