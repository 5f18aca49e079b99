"""Upgrades: the same decision as any request, then bytes both ways until the pass is over."""

import asyncio
import time
from dataclasses import replace

import pytest

from gate.wire.deadlines import Wheel
from gate.wire.frames import close_frame
from gate.wire.tunnel import LOOK
from tests.wire.rig import DEADLINE, MemoryAccess, eventually, response

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"


async def echo(side):
    head = await side.head()
    assert b"\r\nupgrade: websocket\r\n" in head.lower()
    assert b"\r\nconnection: upgrade\r\n" in head.lower()
    await side.send(SWITCH + b"hello")
    while data := await side.reader.read(65536):
        await side.send(data)
    await side.send(b"bye")


async def answer_or_echo(side):
    while head := await side.head():
        if b"upgrade: websocket" in head:
            await side.send(SWITCH + b"hello")
            await side.ended()
            return
        await side.send(response(b"a page"))


async def open_tunnel(gate, *fields):
    visitor = await gate.visitor()
    status, answer, _ = await visitor.get("/checkout/live", *UPGRADE, *fields)
    assert status == 101
    assert answer["upgrade"] == ["websocket"]
    assert answer["sec-websocket-accept"] == ["x"]
    assert await visitor.exactly(5) == b"hello"
    return visitor


async def test_bytes_both_ways_and_half_close(start):
    gate = await start(echo)
    visitor = await open_tunnel(gate, gate.pass_cookie())
    for size in (1, 1000, 300_000):
        sender = asyncio.create_task(visitor.send(b"x" * size))
        assert await visitor.exactly(size) == b"x" * size
        await sender
    visitor.writer.write_eof()
    assert await visitor.rest() == b"bye"
    door = gate.door
    await eventually(lambda: not (door.tunnels or door.origin.servers[0].total or door.connections), "nothing is left of it")
    assert gate.engine.shop.overload.current == 0


async def test_no_pass_no_tunnel(start):
    gate = await start(echo)
    visitor = await gate.visitor()
    assert (await visitor.get("/checkout/live", *UPGRADE))[0] == 503
    assert gate.origin.sides == []


async def test_an_origin_that_does_not_switch(start):
    gate = await start()
    visitor = await gate.visitor()
    status, _, body = await visitor.get("/live", *UPGRADE)
    assert (status, body) == (200, b"GET /live 0")
    assert (await visitor.get("/next"))[0] == 200


def test_the_pass_is_looked_at_often_enough_to_end_a_tunnel_within_a_minute():
    assert LOOK + 2 * Wheel().tick < 60 - 2  # an order to take a pass back is in force within 2 s


@pytest.mark.parametrize("why", ["expired", "revoked"])
async def test_a_tunnel_ends_with_its_pass(start, monkeypatch, why):
    monkeypatch.setattr("gate.wire.tunnel.LOOK", 0.2)
    gate = await start(echo)
    visitor = await open_tunnel(gate, gate.pass_cookie(id="p1"))
    await visitor.send(b"still there")
    assert await visitor.exactly(11) == b"still there"
    if why == "expired":
        now = gate.engine.now
        gate.engine.now = lambda: now() + 601
    else:
        view = replace(gate.engine.snapshot.rooms["checkout"], revoked=frozenset({"p1"}))
        gate.engine.snapshot = replace(gate.engine.snapshot, rooms={"checkout": view})
    assert await visitor.rest() == b""
    await eventually(lambda: not gate.door.tunnels, "nothing is left of it")


async def ask_early(gate):
    """Ask for a tunnel, and get hold of the gate's side of it."""
    visitor = await gate.visitor()
    await visitor.send("\r\n".join(["GET /live HTTP/1.1", "Host: shop.test", *UPGRADE, "", ""]).encode())
    await eventually(lambda: gate.origin.heads, "the shop is asked")
    (connection,) = gate.door.connections
    return visitor, connection


async def test_who_says_goodbye_before_the_101_is_heard(start):
    go_on = asyncio.Event()

    async def script(side):
        await side.head()
        await go_on.wait()
        await side.send(SWITCH)
        assert await side.reader.read() == b"early"
        await side.send(b"bye")

    gate = await start(script)
    visitor, connection = await ask_early(gate)
    await visitor.send(b"early")
    visitor.writer.write_eof()
    await eventually(lambda: connection._half_closed, "the gate has the FIN")
    go_on.set()
    assert (await visitor.answer())[0] == 101
    assert await visitor.rest() == b"bye"
    door = gate.door
    await eventually(lambda: not (door.tunnels or door.origin.servers[0].total or door.connections), "nothing is left of it")


async def test_what_was_held_back_before_the_101_is_read_on(start):
    go_on, size = asyncio.Event(), 1 << 20

    async def script(side):
        await side.head()
        await go_on.wait()
        await side.send(SWITCH)
        await side.exactly(size)
        await side.send(b"thanks")

    gate = await start(script)
    visitor, connection = await ask_early(gate)
    sender = asyncio.create_task(visitor.send(b"x" * size))
    await eventually(lambda: connection._stopped, "the gate reads no further")
    go_on.set()
    assert (await visitor.answer())[0] == 101
    assert await visitor.exactly(6) == b"thanks"
    await sender


@pytest.mark.parametrize("way", ["the fast path", "an access log", "a limit"])
@pytest.mark.parametrize("renewed", ["here", "elsewhere"])
async def test_a_tunnel_lasts_as_long_as_its_pass_is_renewed(start, way, renewed):
    """Whichever way the page's requests take, and whether this worker renews the pass or is shown one that was renewed."""
    gate = await start(answer_or_echo, limits=[{"match": "/checkout/**", "rate": "1000/minute"}] if way == "a limit" else [])
    if way == "an access log":
        gate.engine.access = MemoryAccess()
    begin = time.time()

    def pass_time(seconds):
        gate.engine.now = lambda: begin + seconds
        gate.engine.compose()

    cookie = gate.pass_cookie(id="p1", lives=400)  # of a session of 600 s
    await open_tunnel(gate, cookie)
    (tunnel,) = gate.door.tunnels
    page = await gate.visitor()
    if renewed == "here":
        pass_time(150)  # less than half is left
    else:
        cookie = gate.pass_cookie(id="p1", lives=750)
    for _ in range(3):  # from the second on the path may be the fast one
        status, fields, _ = await page.get("/checkout/page", cookie)
        assert (status, "set-cookie" in fields) == (200, renewed == "here")
    pass_time(700)
    assert not tunnel.over()
    pass_time(800)
    assert tunnel.over()


@pytest.mark.parametrize("ended", ["by the shop", "by the visitor"])
@pytest.mark.parametrize("why", ["the worker ends", "the pass is over"])
async def test_a_half_closed_tunnel_ends_as_well(start, monkeypatch, caplog, ended, why):
    """Who still listens is told; behind a FIN nothing can be said (RFC 9293 section 3.6)."""
    monkeypatch.setattr("gate.wire.tunnel.LOOK", 0.2)
    monkeypatch.setattr("gate.wire.tunnel.LAST_WORDS", 0.2)
    told = asyncio.get_running_loop().create_future()

    async def script(side):
        await side.head()
        await side.send(SWITCH)
        if ended == "by the shop":
            side.writer.write_eof()
        told.set_result(await side.reader.read())
        await asyncio.Event().wait()  # and does nothing about it

    gate = await start(script, under_uvicorn=True)
    visitor = await gate.visitor()
    assert (await visitor.get("/checkout/live", *UPGRADE, gate.pass_cookie()))[0] == 101
    if ended == "by the visitor":
        visitor.writer.write_eof()
        assert await asyncio.wait_for(told, DEADLINE) == b""
    else:
        assert await visitor.rest() == b""
    assert gate.door.tunnels
    if why == "the worker ends":
        gate.end()
    else:
        now = gate.engine.now
        gate.engine.now = lambda: now() + 601
    if ended == "by the visitor":
        code = 1012 if why == "the worker ends" else 1008
        assert await visitor.rest() == close_frame(code, masked=False)
    else:
        assert (await asyncio.wait_for(told, DEADLINE))[:2] == b"\x88\x82"
    door = gate.door
    await eventually(lambda: not (door.tunnels or door.origin.servers[0].total), "nothing is left of it")
    await eventually(lambda: not door.connections, "nor of the visitor")
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_origin_vanishing_ends_the_tunnel(start):
    async def script(side):
        await side.head()
        await side.send(SWITCH + b"hello")
        await side.exactly(2)
        side.reset()

    gate = await start(script)
    visitor = await open_tunnel(gate, gate.pass_cookie())
    await visitor.send(b"go")
    assert await visitor.rest() == b""


async def test_the_visitor_vanishing_ends_the_tunnel(start):
    gate = await start(echo)
    visitor = await open_tunnel(gate, gate.pass_cookie())
    visitor.close()
    await eventually(lambda: not gate.door.tunnels and not gate.door.origin.servers[0].total, "nothing is left of it")
