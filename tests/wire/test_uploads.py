"""Bodies that come slowly: whatever their number, others get their connection to the origin."""

import asyncio

import pytest

from gate.wire.uploads import HASTE
from tests.wire.rig import answer_ok, eventually, read_body, response

HEAD = "{} /upload HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000000\r\n\r\n"
BEGINNING = b"x" * 100_000  # more than is gathered


def server(gate):
    return gate.door.origin.servers[0]


async def upload(gate, beginning=b"x", method="POST"):
    visitor = await gate.visitor()
    await visitor.send(HEAD.format(method).encode() + beginning)
    return visitor


async def other_visitors_are_served(gate):
    for _ in range(3):
        visitors = [await gate.visitor() for _ in range(4)]
        assert [status for status, _, _ in await asyncio.gather(*(one.get("/a") for one in visitors))] == [200] * 4
    visitor = await gate.visitor()
    await visitor.send(b"POST /form HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\n")
    await eventually(lambda: any(one.job is not None and one.head.start.target == b"/form" for one in gate.door.connections))
    await visitor.send(b"0123456789")
    assert (await visitor.answer())[2] == b"POST /form 10"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_bodies_that_drip_leave_half_of_the_connections_to_others(start, method):
    gate = await start(origin={"connections": 8})
    for _ in range(20):
        await upload(gate, method=method)
    await eventually(lambda: sum(one.job is not None for one in gate.door.connections) == 20, "all heads are read")
    assert server(gate).outstanding == len(server(gate).unfinished) == 4
    await other_visitors_are_served(gate)
    assert gate.engine.shop.overload.current == 0  # nobody waits for the origin
    for visitor in gate.visitors[:20]:
        visitor.reset()
    await eventually(lambda: not server(gate).unfinished and not gate.door.origin.uploads._bytes, "nothing is left behind")


async def test_long_bodies_leave_half_of_the_connections_to_others(start):
    """However much of them there is: those for whom none is left hear so in time."""
    gate = await start(origin={"connections": 8, "timeouts": {"connect": "3s"}})
    answers = {asyncio.create_task((await upload(gate, BEGINNING)).answer()) for _ in range(12)}
    await eventually(lambda: len(server(gate).unfinished) == 4)
    await other_visitors_are_served(gate)
    await eventually(lambda: sum(answer.done() for answer in answers) == 8, "the others are told")
    await other_visitors_are_served(gate)
    for answer in answers:
        if answer.done():
            status, fields, _ = answer.result()
            assert (status, fields["gate-decision"]) == (503, ["shed; reason=overload"])
        answer.cancel()
    assert len(server(gate).unfinished) == 4
    assert gate.door.origin.uploads._bytes == 0


async def test_a_long_body_gets_its_turn_when_another_ends(start):
    gate = await start(origin={"connections": 2, "timeouts": {"connect": "60s"}})
    first = await upload(gate, BEGINNING)
    await eventually(lambda: server(gate).unfinished)
    second = await upload(gate, BEGINNING)
    await eventually(lambda: gate.door.origin.uploads._turns, "the second waits")
    await first.send(b"x" * 900_000)
    assert (await first.answer())[2] == b"POST /upload 1000000"
    await second.send(b"x" * 900_000)
    assert (await second.answer())[2] == b"POST /upload 1000000"
    assert gate.engine.shop.overload.current == 0


async def test_what_comes_while_a_body_is_gathered_crosses_whole(start):
    """In pieces, chunked, and after its 100 (Continue)."""
    bodies = []

    async def script(side):
        while head := await side.head():
            bodies.append(await read_body(side, head))
            await side.send(response())

    gate = await start(script, origin={"connections": 2})
    await upload(gate)
    await eventually(lambda: server(gate).outstanding == 1)
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert await visitor.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    (connection,) = [one for one in gate.door.connections if one.head.start.target == b"/a"]
    for piece in (b"abc", b"d", b"efghij"):
        got = connection._received
        await visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await eventually(lambda got=got: connection._received > got)
    assert len(gate.origin.heads) <= 1  # only the first has a connection
    await visitor.send(b"0\r\n\r\n")
    assert (await visitor.answer())[0] == 200
    assert bodies == [b"abcdefghij"]


async def test_of_what_is_gathered_the_one_that_has_taken_longest_is_given_up(start, monkeypatch):
    monkeypatch.setattr("gate.wire.uploads.GATHERED", 200_000)
    gate = await start(origin={"connections": 2, "timeouts": {"connect": "60s"}})
    first = await upload(gate)
    await eventually(lambda: server(gate).outstanding == 1)
    visitors = []
    for number in range(1, 7):
        visitors.append(await upload(gate, b"x" * 50_000))
        await eventually(lambda number=number: gate.door.origin.uploads._bytes > 50_000 * min(number, 3))
    for visitor in visitors[:3]:
        assert (await visitor.answer())[0] == 408
    assert 150_000 < gate.door.origin.uploads._bytes <= 200_000
    first.reset()
    await visitors[-1].send(b"x" * 950_000)
    assert (await visitors[-1].answer())[2] == b"POST /upload 1000000"


async def test_who_keeps_a_connection_has_to_come_faster_while_another_wants_it(start, monkeypatch):
    monkeypatch.setattr("gate.wire.receiving.BODY_WINDOW", 1.0)
    gate = await start(origin={"connections": 2, "timeouts": {"connect": "60s"}}, visitors={"body_rate": 1000})
    slow = await upload(gate, BEGINNING)
    await eventually(lambda: server(gate).unfinished)
    (connection,) = gate.door.connections

    async def drip():
        while connection.job is not None:
            await slow.send(b"x" * 300)
            await asyncio.sleep(0.1)  # 3000 bytes per second, or fewer on a busy machine

    assert 1000 * HASTE > 3000
    dripping = asyncio.create_task(drip())
    waiting = await upload(gate, BEGINNING)
    await eventually(lambda: gate.door.origin.uploads._turns, "the other waits")
    assert (await slow.answer())[0] == 408
    dripping.cancel()
    monkeypatch.setattr("gate.wire.uploads.HASTE", 0)  # the machine may be as slow as it likes from here on
    await waiting.send(b"x" * 900_000)
    assert (await waiting.answer())[2] == b"POST /upload 1000000"


async def test_how_long_a_body_takes_is_no_load_of_the_origin(start):
    """Else a few slow uploads would look like an origin that answers slowly, and visitors would be turned away for it."""
    may_answer = asyncio.Event()

    async def script(side):
        await read_body(side, await side.head())
        await may_answer.wait()
        await side.send(response())

    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\nab")
    await eventually(lambda: gate.origin.heads, "the head is with the origin")
    assert gate.engine.shop.overload.current == 0
    await visitor.send(b"cd")
    await eventually(lambda: gate.engine.shop.overload.current == 1)
    may_answer.set()
    assert (await visitor.answer())[0] == 200
    assert gate.engine.shop.overload.current == 0
    gate.origin.script = answer_ok
