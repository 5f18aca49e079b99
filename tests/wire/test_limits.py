"""What a visitor's connection may cost: sizes and deadlines."""

import asyncio
import gc
import socket
import time

import pytest

from gate.core.settings import Visitors
from gate.wire import protocol
from gate.wire.origin import Server
from gate.wire.request import Common, Head, Start
from gate.wire.upstream import OriginConnection
from tests.wire.rig import DEADLINE, eventually


def test_what_is_waited_for_and_taken_by_default():
    visitors = Visitors()
    assert (visitors.head, visitors.keep_alive, visitors.stall, visitors.body_rate) == (10, 15, 30, 500)
    assert (visitors.max_head, visitors.max_fields, visitors.max_target) == (16 << 10, 100, 8 << 10)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"max_head": "48KiB", "max_fields": 300, "max_target": "32KiB"},
        {"max_head": 2000, "max_fields": 9, "max_target": 99},
    ],
    ids=["by default", "more", "less"],
)
async def test_heads_are_bounded_as_the_config_says(start, config):
    """RFC 6585 section 5 (431), RFC 9110 section 15.5.15 (414): up to the bound, and not a byte more."""
    gate = await start(visitors=config)
    limits = gate.door.limits
    around = {
        414: ["GET /" + "a" * (limits.target - 1 + more) + " HTTP/1.1\r\nHost: shop.test\r\n\r\n" for more in (0, 1)],
        431: ["GET /x HTTP/1.1\r\nHost: shop.test\r\n" + "A: b\r\n" * (limits.fields - 1 + more) + "\r\n" for more in (0, 1)],
    }
    start_line = "GET /x HTTP/1.1\r\nHost: shop.test\r\nA: \r\n\r\n"
    heads = [start_line.replace("A: ", "A: " + "b" * (limits.head - len(start_line) + more)) for more in (0, 1)]
    for status, (most, too_much) in [*around.items(), (431, heads)]:
        for head, expected in ((most, 200), (too_much, status), (most, 200)):
            visitor = await gate.visitor()
            await visitor.send(head.encode())
            assert (await visitor.answer())[0] == expected
    assert len(gate.origin.heads) == 6


async def test_a_flood_of_empty_lines_costs_no_more_than_its_length(start):
    """RFC 9112 section 2.2: some are let pass before a request."""
    gate = await start()
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[0] == 200
    (connection,) = gate.door.connections

    def seconds(lines: int) -> float:
        flood, spent = b"\r\n" * lines, []
        for _ in range(5):
            begin = time.process_time()
            connection.data_received(flood)
            spent.append(time.process_time() - begin)
        return min(spent)

    few = max(seconds(1 << 14), 1e-5)
    assert seconds(1 << 18) / few < 64  # 16 times as many; one by one it would be 256
    assert (await visitor.get("/a"))[0] == 200


async def test_the_head_deadline(start):
    gate = await start(visitors={"head": "1s", "keep_alive": "5s"})
    silent, halting = await gate.visitor(), await gate.visitor()
    await halting.send(b"GET / HTTP/1.1\r\nHost: shop.t")
    status, fields, _ = await halting.answer()
    assert (status, fields["connection"]) == (408, ["close"])
    assert await silent.rest() == b""  # who said nothing is told nothing
    later = await gate.visitor()
    assert (await later.get("/a"))[0] == 200
    await later.send(b"GET / HT")
    assert (await later.answer())[0] == 408
    assert await later.rest() == b""


async def test_idle_connections_are_closed(start):
    gate = await start(visitors={"keep_alive": "300ms"})
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[0] == 200
    assert await visitor.rest() == b""


def held(thing):
    """Bytes of heads that ``thing`` keeps."""
    parts = [part for part in gc.get_referents(thing) if isinstance(part, bytes | list | Start | Common | Head)]
    return sum(len(part) if isinstance(part, bytes) else held(part) for part in parts)


async def test_an_idle_connection_keeps_nothing_of_a_long_head(start):
    """There may be 20,000 of them."""
    gate = await start()
    visitor = await gate.visitor()
    long = [f"A-{number}: {'b' * 1400}" for number in range(10)]
    heads = (["/"], ["/a", *long], ["/a", "Cookie: " + "c=d; " * 2000], ["/a", "X-Forwarded-For: " + "1" * 9000])
    for target, *fields in (*heads, ["/a?" + "b" * 6000], ["/"]):
        assert (await visitor.get(target, *fields))[0] == 200
        (connection,) = gate.door.connections
        assert held(connection) <= 3 * protocol.LONGEST_KEPT
    assert (await visitor.get("/a", *long))[0] == 200


async def test_a_body_that_drips_is_cut_off(start, monkeypatch):
    monkeypatch.setattr("gate.wire.receiving.BODY_WINDOW", 0.3)
    gate = await start(visitors={"body_rate": 1000})
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\nabc")
    assert (await visitor.answer())[0] == 408
    assert gate.engine.shop.overload.current == 0
    assert gate.meter.results == []


async def answer_without_end(side):
    await side.head()
    await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    while True:
        await side.send(b"x" * 65536)


async def test_a_visitor_who_takes_nothing_is_cut_off(start):
    gate = await start(answer_without_end, visitors={"stall": "300ms"})
    visitor = await gate.visitor()
    await visitor.send(b"GET /big HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        while gate.door.connections or not gate.origin.sides:
            await asyncio.sleep(0.02)
    assert await gate.origin.sides[0].ended()
    assert gate.engine.shop.overload.current == 0


async def test_an_answer_that_was_held_up_does_not_spoil_the_pace_of_the_body(start):
    """Both flow at once, as with a shop that transcodes: what waits to be written is not what has been read."""
    size, uploaded = 32 << 20, asyncio.Event()

    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (size, b"x" * size))
        await side.exactly(20_000)
        uploaded.set()
        await side.exactly(10)
        await side.send(b"0\r\n\r\n")

    gate = await start(script, visitors={"stall": "60s"})
    visitor = await gate.visitor()
    await visitor.send(b"POST /both HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 20010\r\n\r\n")
    await eventually(lambda: any(connection._paused for connection in gate.door.connections), "nobody takes the answer")
    (connection,) = gate.door.connections
    await visitor.send(b"x" * 20_000)
    answer = asyncio.create_task(visitor.answer())
    await asyncio.wait_for(uploaded.wait(), DEADLINE)
    await eventually(lambda: not connection._paused)
    connection.expired(gate.door.wheel.now)  # ten seconds are over: 2,000 bytes a second have come
    await visitor.send(b"x" * 10)
    status, _, body = await answer
    assert (status, len(body)) == (200, size)


async def test_who_takes_nothing_of_the_answer_is_cut_off_though_the_body_has_just_ended(start):
    gate = await start(answer_without_end, visitors={"stall": "2s"})
    visitor = await gate.visitor()
    await visitor.send(b"POST /both HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\n")
    await eventually(lambda: any(connection._paused for connection in gate.door.connections), "nobody takes the answer")
    await visitor.send(b"hello")
    await eventually(lambda: not gate.door.connections, "it is cut off")
    assert await gate.origin.sides[0].ended()


async def test_body_limits_per_route(start):
    gate = await start(routes=[{"match": "/small", "body": 10}])
    visitor = await gate.visitor()
    await visitor.send(b"POST /small HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 11\r\n\r\n")
    status, fields, _ = await visitor.answer()
    assert (status, fields["connection"]) == (413, ["close"])
    assert gate.origin.heads == []
    visitor = await gate.visitor()
    await visitor.send(
        b"POST /small HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n"
    )
    assert (await visitor.answer())[0] == 413
    visitor = await gate.visitor()
    await visitor.send(b"POST /small HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\n0123456789")
    assert (await visitor.answer())[2] == b"POST /small 10"
    await visitor.send(b"POST /__gate/x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000)
    assert (await visitor.answer())[0] == 413


async def test_100_continue_comes_after_the_decision(start):
    gate = await start()
    visitor = await gate.visitor()
    expecting = "POST {} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n{}\r\n"
    await visitor.send(expecting.format("/a", "").encode())
    assert await visitor.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await visitor.send(b"hello")
    assert (await visitor.answer())[2] == b"POST /a 5"
    await visitor.send(expecting.format("/checkout/pay", "").encode())
    status, fields, _ = await visitor.answer()  # no 100 before
    assert (status, fields["connection"]) == (503, ["close"])


async def test_a_body_nobody_wants_is_read_and_the_connection_kept(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(b"POST /checkout/x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 50000\r\n\r\n")
    assert (await visitor.answer())[0] == 503
    await visitor.send(b"x" * 50000)
    assert (await visitor.get("/a"))[0] == 200


async def test_an_early_answer_ends_the_upload(start):
    async def script(side):
        await side.head()
        await side.exactly(10)
        await side.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await side.ended()

    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
    assert (await visitor.answer())[0] == 403
    assert await gate.origin.sides[0].ended()  # the request was not sent whole
    await visitor.send(b"x" * 990)
    await visitor.send(b"GET /checkout/b HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert (await visitor.answer())[0] == 503


PIECE = 1 << 16
PIECES = 1000  # 64 MiB: more than all socket buffers on the way


@pytest.mark.parametrize("chunked", [False, True])
async def test_back_pressure_up(start, chunked):
    """A slow origin stops a fast visitor: little is held in between."""
    go_on = asyncio.Event()

    async def script(side):
        await side.head()
        await go_on.wait()
        got = 0
        if chunked:
            while size := int((await side.reader.readuntil(b"\r\n"))[:-2], 16):
                await side.exactly(size + 2)
                got += size
            await side.exactly(2)
        else:
            while got < PIECE * PIECES:
                got += len(await side.reader.read(1 << 20))
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%d" % got)

    gate = await start(script, routes=[{"match": "/**", "body": "1GiB"}])
    visitor = await gate.visitor()
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (PIECE * PIECES)
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\n" + framing + b"\r\n\r\n")
    sent = 0

    async def send_all():
        nonlocal sent
        piece = b"x" * PIECE
        for _ in range(PIECES):
            await visitor.send(b"%x\r\n%b\r\n" % (PIECE, piece) if chunked else piece)
            sent += 1
        if chunked:
            await visitor.send(b"0\r\n\r\n")

    sender = asyncio.create_task(send_all())
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)
    assert sent < PIECES * 0.7
    go_on.set()
    status, _, body = await visitor.answer()
    assert (status, int(body)) == (200, PIECE * PIECES)
    await sender


async def test_back_pressure_up_from_the_first_byte(start, origin, monkeypatch):
    """What has come while a connection is made may be more than the origin takes at once."""
    size = 20_000_000
    may_connect, may_end = asyncio.Event(), asyncio.Event()
    reach, made = Server._reach, OriginConnection.connection_made

    async def reach_late(server):
        await may_connect.wait()
        return await reach(server)

    def narrow(connection, transport):  # as the way to a machine far away begins
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        made(connection, transport)

    async def stalls(side):
        await side.head()
        await may_end.wait()

    monkeypatch.setattr(Server, "_reach", reach_late)
    monkeypatch.setattr(OriginConnection, "connection_made", narrow)
    origin._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    gate = await start(stalls, routes=[{"match": "/**", "body": "1GiB"}])
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n" % size)
    sending = asyncio.create_task(visitor.send(b"x" * size))
    (connection,) = gate.door.connections
    await eventually(lambda: connection._upload_held, "enough has come for the beginning")
    may_connect.set()
    await eventually(lambda: connection.job._connection is not None)
    await eventually(lambda: connection._stopped or connection._received == size)
    assert connection._received < 1 << 20
    sending.cancel()
    may_end.set()


async def test_back_pressure_down(start):
    """A slow visitor stops a fast origin."""
    sent = 0

    async def script(side):
        nonlocal sent
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        while sent < 30_000_000:
            await side.send(b"x" * 100_000)
            sent += 100_000

    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"GET /big HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)
    assert sent < 29_000_000
    status, _, body = await visitor.answer()
    assert (status, len(body)) == (200, 30_000_000)


async def test_server_sent_events_are_not_held_back(start):
    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            await side.send(b"data: %d\n\n" % number)
            await seen.wait()
            seen.clear()

    seen = asyncio.Event()
    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    for number in range(3):
        await visitor.until(b"data: %d\n\n" % number)
        seen.set()
    assert (await visitor.until(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")


async def ask_and_close_half(gate):
    visitor = await gate.visitor()
    visitor.writer.write(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    visitor.writer.write_eof()
    return visitor


async def test_a_half_closed_visitor_still_gets_the_answer(start):
    gate = await start()
    assert (await (await ask_and_close_half(gate)).rest()).endswith(b"GET /a 0")


async def test_a_half_closed_visitor_gets_a_long_answer_as_long_as_it_flows(start, monkeypatch):
    monkeypatch.setattr(protocol, "HALF_CLOSED", 2.0)
    pieces = 4

    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % pieces)
        for _ in range(pieces):
            await asyncio.sleep(0.7)  # 2.8 s in all
            await side.send(b"x")
        await side.ended()

    gate = await start(script)
    assert (await (await ask_and_close_half(gate)).rest()).endswith(b"\r\n\r\n" + b"x" * pieces)


async def test_a_half_closed_visitor_may_take_a_long_answer_slowly(start):
    size = 32 << 20

    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))
        await side.ended()

    gate = await start(script, visitors={"stall": "60s"})
    visitor = await gate.visitor()
    visitor.writer.write(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await eventually(lambda: any(connection._paused for connection in gate.door.connections), "more than the visitor takes")
    (connection,) = gate.door.connections
    visitor.writer.write_eof()
    await eventually(lambda: connection._half_closed, "the gate has the FIN")
    gate.door.wheel.turn(gate.door.wheel.now + 10)
    assert len((await visitor.answer())[2]) == size


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"])
async def test_a_silent_answer_is_given_up_soon_after_the_visitor_closed(start, monkeypatch, begun):
    """It need not be half: who has closed the browser has sent the same."""
    monkeypatch.setattr(protocol, "HALF_CLOSED", 0.25)

    async def script(side):
        await side.head()
        await side.send(begun)
        assert await side.ended()
        over.set()

    over = asyncio.Event()
    gate = await start(script)
    visitor = await ask_and_close_half(gate)
    await asyncio.wait_for(over.wait(), DEADLINE)  # well before the origin's own deadlines, which are 15 and 30 s
    visitor.close()
    await eventually(lambda: not gate.door.connections and not gate.engine.shop.overload.current, "all is over")
    assert gate.meter.results == [] if not begun else len(gate.meter.results) == 1
