"""What tunnels may cost: how many, how silent, how slow; and that requests have their own connections."""

import asyncio
import socket

import pytest

from gate.core.settings import Origin
from gate.wire.frames import GOING_AWAY, close_frame
from tests.wire.rig import DEADLINE, eventually, response

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FRAME = b"\x82\x02hi"


async def switch(side):
    """Upgrades whoever wants it, and answers everybody else."""
    while head := await side.head():
        if b"upgrade: websocket" in head:
            await side.send(SWITCH)
            await side.ended()
            return
        await side.send(response(b"a page"))


async def status_of_upgrade(gate, visitor=None):
    visitor = visitor or await gate.visitor()
    return (await visitor.get("/live", *UPGRADE))[0]


def test_by_default():
    assert (Origin().tunnels, Origin().timeouts.tunnel) == (5000, 600)


async def test_tunnels_leave_requests_their_connections(start):
    gate = await start(switch, origin={"connections": 2, "tunnels": 5})
    visitors = [await gate.visitor() for _ in range(5)]
    for visitor in visitors:
        assert await status_of_upgrade(gate, visitor) == 101
    server = gate.door.origin.servers[0]
    assert (len(gate.door.tunnels), server.total) == (5, 0)
    reader = await gate.visitor()
    assert (await reader.get("/page"))[2] == b"a page"

    asked = len(gate.origin.heads)
    status, fields, _ = await reader.get("/live", *UPGRADE)
    assert (status, fields["gate-decision"]) == (503, ["shed; reason=overload"])
    assert fields["retry-after"]
    assert len(gate.origin.heads) == asked  # it never saw that one
    assert (await reader.get("/page"))[2] == b"a page"  # and the connection goes on
    assert gate.engine.shop.overload.current == 0

    visitors[0].close()
    await eventually(lambda: len(gate.door.tunnels) == 4)
    assert await status_of_upgrade(gate) == 101
    for visitor in gate.visitors:
        visitor.close()
    await eventually(lambda: not gate.door.tunnels and server.total == 0, "nothing is left of them")


async def test_who_waits_for_a_connection_gets_the_place_of_one_that_switched(start):
    go_on = asyncio.Event()

    async def script(side):
        while head := await side.head():
            if b"upgrade: websocket" not in head:
                await side.send(response(b"a page"))
                continue
            await go_on.wait()
            await side.send(SWITCH)
            await side.ended()

    gate = await start(script, origin={"connections": 1, "timeouts": {"connect": "20s"}})
    tunnel = asyncio.create_task(status_of_upgrade(gate))
    await eventually(lambda: gate.origin.heads, "the shop is asked for a tunnel")
    page = asyncio.create_task((await gate.visitor()).get("/page"))
    server = gate.door.origin.servers[0]
    await eventually(lambda: server.outstanding == 2, "somebody waits")
    go_on.set()
    assert await asyncio.wait_for(tunnel, DEADLINE) == 101
    assert (await page)[2] == b"a page"


async def test_a_tunnel_is_two_connections(start):
    """Else the files for connections to the origin would be taken by tunnels."""
    gate = await start(switch, visitors={"connections": 5})
    assert await status_of_upgrade(gate) == 101
    assert await status_of_upgrade(gate) == 101
    last = await gate.visitor()
    assert (await last.get("/page"))[0] == 200
    assert (await (await gate.visitor()).get("/page"))[0] == 503
    await eventually(lambda: gate.door.taken == 5, "it is gone")
    assert await status_of_upgrade(gate, last) == 503
    assert (await last.get("/page"))[0] == 200


@pytest.mark.parametrize("speaks", ["the visitor", "the shop"])
async def test_a_tunnel_ends_when_nobody_has_said_anything_for_long(start, speaks):
    side_of = asyncio.get_running_loop().create_future()

    async def script(side):
        await side.head()
        await side.send(SWITCH)
        side_of.set_result(side)
        await asyncio.Event().wait()

    gate = await start(script, origin={"timeouts": {"tunnel": "60s"}})
    visitor = await gate.visitor()
    assert await status_of_upgrade(gate, visitor) == 101
    side, door = await side_of, gate.door
    door.wheel.stop()  # from here on time is ours
    now = door.wheel.now

    def let_pass(seconds):
        nonlocal now
        for _ in range(seconds * 4):
            now += 0.25
            door.wheel.turn(now)

    for _ in range(4):  # in all for much longer than a minute
        let_pass(50)
        assert door.tunnels
        if speaks == "the visitor":
            await visitor.send(FRAME)
            assert await side.exactly(4) == FRAME
        else:
            await side.send(FRAME)
            assert await visitor.exactly(4) == FRAME
    let_pass(59)
    assert door.tunnels
    let_pass(17)  # it is looked at every 15 s
    assert not door.tunnels
    assert await visitor.exactly(4) == close_frame(GOING_AWAY, masked=False)
    assert (await asyncio.wait_for(side.reader.read(), DEADLINE))[:2] == b"\x88\x82"


async def test_a_visitor_who_takes_nothing_of_a_tunnel_is_cut_off(start):
    async def script(side):
        await side.head()
        await side.send(SWITCH)
        while True:
            await side.send(b"\x82\x7e\x20\x00" + b"x" * 8192)

    gate = await start(script, visitors={"stall": "300ms"})
    visitor = await gate.visitor()
    assert await status_of_upgrade(gate, visitor) == 101
    await eventually(lambda: not gate.door.tunnels and not gate.door.connections, "it is cut off")
    assert await gate.origin.sides[0].ended()


async def test_a_visitor_who_takes_it_slowly_is_not(start):
    """A pause in reading is over when it goes on; what stalled before says nothing of what comes."""
    size, go_on = 32 << 20, asyncio.Event()

    async def script(side):
        await side.head()
        await side.send(SWITCH + b"x" * size)
        await go_on.wait()
        await side.send(b"more")
        await side.ended()

    gate = await start(script, visitors={"stall": "60s"})
    visitor = await gate.visitor()
    assert await status_of_upgrade(gate, visitor) == 101
    (connection,) = gate.door.connections
    await eventually(lambda: connection._paused, "the visitor takes no more")
    assert len(await visitor.exactly(size)) == size
    await eventually(lambda: not connection._paused)
    gate.door.wheel.turn(gate.door.wheel.now + 61)
    go_on.set()
    assert await visitor.exactly(4) == b"more"


async def test_both_ends_of_a_tunnel_are_asked_whether_they_are_there(start):
    gate = await start(switch)
    assert await status_of_upgrade(gate) == 101
    (connection,) = gate.door.connections
    (tunnel,) = gate.door.tunnels
    for transport in (connection.transport, tunnel._origin.transport):
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
