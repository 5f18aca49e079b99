"""An origin that refuses, stalls, lies, dies or talks nonsense: the visitor never sees a complete-looking half answer."""

import asyncio
import contextlib
import time

import pytest

from tests.wire.rig import DEADLINE, Origin, answer_ok, eventually


def ok(body=b"ok", *fields):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)


def saying(*pieces, close=True, times=1):
    """An origin that answers the first ``times`` requests of each connection with these bytes."""

    async def script(side):
        for _ in range(times):
            if not await side.head():
                return
            for piece in pieces:
                await side.send(piece)
                await asyncio.sleep(0.01)
        if not close:
            await side.ended()

    return script


async def is_well(gate):
    """The control: once the origin behaves, so does the gate (a dead gate passes most tests of what must not happen)."""
    gate.origin.script = answer_ok
    visitor = await gate.visitor()
    assert (await visitor.get("/control"))[2] == b"GET /control 0"
    visitor.close()


GARBAGE = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nabc",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
    "other coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "http/2": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "nul in a value": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 70000,
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
    "flood of 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_becomes_the_fallback_page(start, what):
    gate = await start(saying(GARBAGE[what], close=False))
    visitor = await gate.visitor()
    status, fields, _ = await visitor.get("/x")
    while status == 103:
        status, fields, _ = await visitor.answer()
    assert status == 503
    assert fields["gate-decision"] == ["fallback; reason=origin-failed"]
    assert gate.meter.results[-1].trouble == "garbage"
    assert await gate.origin.sides[0].ended()  # never used again
    assert gate.engine.shop.overload.current == 0
    await is_well(gate)


TRUNCATED = {
    "short of its length": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
    "no last chunk": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    "inside a chunk": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\nabc"],
    "chunk longer than said": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"],
    "chunk size of 0x3": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"],
    "chunk ended by a bare line feed": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\nabc\n0\n\n"],
}


@pytest.mark.parametrize("what", TRUNCATED)
async def test_a_truncated_answer_never_looks_complete(start, what):
    gate = await start(saying(*TRUNCATED[what]))
    visitor = await gate.visitor()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await visitor.get("/x")
    assert gate.engine.shop.overload.current == 0
    await is_well(gate)


async def test_a_reset_in_the_middle_of_a_close_delimited_answer_cuts_the_visitor(start):
    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await heard.wait()  # a reset overtakes what is on its way
        side.reset()

    gate = await start(script)
    for version, sign in ((b"1.1", (asyncio.IncompleteReadError, ConnectionError)), (b"1.0", ConnectionResetError)):
        heard = asyncio.Event()
        visitor = await gate.visitor()
        await visitor.send(b"GET /x HTTP/%b\r\nHost: shop.test\r\n\r\n" % version)
        assert (await visitor.until(b"half of it")).startswith(b"HTTP/1.1 200 ")
        heard.set()
        with pytest.raises(sign):  # for 1.0 the only sign of a truncated body
            await (visitor.rest() if version == b"1.0" else visitor.until(b"0\r\n\r\n"))


async def test_a_close_delimited_answer_becomes_chunked(start):
    gate = await start(saying(b"HTTP/1.1 200 OK\r\n\r\nsome", b" more"))
    visitor = await gate.visitor()
    status, fields, body = await visitor.get("/x")
    assert (status, fields["transfer-encoding"], body) == (200, ["chunked"], b"some more")
    assert (await visitor.get("/x"))[2] == b"some more"
    await visitor.send(b"GET /x HTTP/1.0\r\nHost: shop.test\r\n\r\n")
    _, fields, body = await visitor.answer()
    assert "transfer-encoding" not in fields
    assert body == b"some more"
    assert len(gate.origin.sides) == 3


async def test_bodiless_answers(start):
    answers = {
        b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
        b"/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        b"/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n",
        b"/chunkedhead": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"/empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    }

    async def script(side):
        while head := await side.head():
            await side.send(answers[head.split(b" ")[1]])

    gate = await start(script)
    visitor = await gate.visitor()
    assert (await visitor.get("/head", method="HEAD"))[1]["content-length"] == ["12345"]
    status, fields, _ = await visitor.get("/204")
    assert status == 204
    assert "content-length" not in fields
    status, fields, _ = await visitor.get("/304")
    assert (status, fields["etag"]) == (304, ["x"])
    assert (await visitor.get("/chunkedhead", method="HEAD"))[0] == 200
    assert (await visitor.get("/empty"))[1]["content-length"] == ["0"]
    assert len(gate.origin.sides) == 1  # every end was clean


async def test_early_hints_go_on_and_100_does_not(start):
    gate = await start(
        saying(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nGate-Command: x\r\n\r\n",
            ok(b"done"),
        )
    )
    visitor = await gate.visitor()
    await visitor.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert await visitor.until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    assert (await visitor.answer())[2] == b"done"


async def test_bytes_behind_an_answer_are_never_the_next_visitors(start):
    gate = await start(saying(ok(b"mine") + ok(b"EVIL"), close=False))
    for _ in range(3):
        visitor = await gate.visitor()
        assert (await visitor.get("/x"))[2] == b"mine"
        assert (await visitor.get("/x"))[2] == b"mine"
    assert len(gate.origin.sides) == 6


async def test_an_unasked_answer_on_an_idle_connection_is_not_used(start):
    async def script(side):
        await side.head()
        await side.send(ok(b"mine"))
        await asyncio.sleep(0.05)
        await side.send(ok(b"EVIL"))
        await side.ended()

    gate = await start(script)
    visitor = await gate.visitor()
    assert (await visitor.get("/x"))[2] == b"mine"
    assert await gate.origin.sides[0].ended()
    assert (await visitor.get("/x"))[2] == b"mine"


async def test_a_stale_connection_is_retried_once_if_idempotent(start):
    async def script(side):
        await side.head()
        await side.send(ok(b"first"))
        await side.head()  # the second request dies with its connection

    gate = await start(script)
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[2] == b"first"
    assert (await visitor.get("/b"))[2] == b"first"  # retried on a fresh connection
    assert [head.split(b" ")[1] for head in gate.origin.heads] == [b"/a", b"/b", b"/b"]
    assert [result.trouble for result in gate.meter.results] == [None, None]
    await visitor.send(b"POST /c HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi")
    status, fields, _ = await visitor.answer()
    assert (status, fields["gate-decision"]) == (503, ["fallback; reason=origin-failed"])
    assert [head.split(b" ")[0] for head in gate.origin.heads].count(b"POST") == 1  # never sent twice


async def test_a_fresh_connection_that_dies_is_not_retried(start):
    async def script(side):
        await side.head()

    gate = await start(script)
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[0] == 503
    assert len(gate.origin.heads) == 1
    assert gate.meter.results[0].trouble == "reset"


async def test_no_origin_at_all(start):
    gate = await start(origin={"servers": ["http://127.0.0.1:1"]})
    visitor = await gate.visitor()
    status, fields, _ = await visitor.get("/a")
    assert (status, fields["gate-decision"]) == (503, ["fallback; reason=origin-failed"])
    assert gate.meter.results[0].trouble == "connect"


async def test_another_server_is_asked_when_one_refuses(start, origin):
    gate = await start(origin={"servers": ["http://127.0.0.1:1", f"http://127.0.0.1:{origin.port}"]})
    visitor = await gate.visitor()
    for number in range(12):
        assert (await visitor.get(f"/{number}"))[0] == 200


async def test_first_byte_and_idle_deadlines(start):
    async def script(side):
        head = await side.head()
        if b"/stall" in head:
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await side.ended()

    gate = await start(script, origin={"timeouts": {"first_byte": "1s", "idle": "1s"}})
    visitor = await gate.visitor()
    before = time.monotonic()
    assert (await visitor.get("/silent"))[0] == 503
    assert gate.meter.results[0].trouble == "timeout"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await visitor.get("/stall")
    assert time.monotonic() - before < DEADLINE


async def test_no_connection_free_is_busy(start):
    async def script(side):
        await side.head()
        await side.ended()

    gate = await start(script, origin={"connections": 1, "timeouts": {"connect": "300ms"}})
    first, second = await gate.visitor(), await gate.visitor()
    await first.send(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await eventually(lambda: gate.origin.heads, "the connection is taken")
    status, fields, _ = await second.get("/b")
    assert (status, fields["gate-decision"]) == (503, ["shed; reason=overload"])
    assert gate.meter.results == []  # our own full pool says nothing about the origin


async def test_waiting_requests_share_the_connections(start):
    async def script(side):
        while await side.head():
            await asyncio.sleep(0.01)
            await side.send(ok())

    gate = await start(script, origin={"connections": 2, "timeouts": {"connect": "30s"}})
    visitors = [await gate.visitor() for _ in range(20)]
    answers = await asyncio.gather(*(visitor.get("/a") for visitor in visitors))
    assert [status for status, _, _ in answers] == [200] * 20
    assert len(gate.origin.sides) == 2


async def test_a_routes_fallback_replaces_a_failure(start):
    gate = await start(
        saying(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", times=9),
        routes=[{"match": "/rates", "fallback": {"json": {"rate": 7}}}],
    )
    visitor = await gate.visitor()
    status, _, body = await visitor.get("/rates")
    assert (status, body) == (200, b'{"rate": 7}')
    assert (await visitor.get("/other"))[2] == b"oops"
    assert len(gate.origin.sides) == 1


@pytest.mark.parametrize(
    ("path", "commands", "stocks"),
    [
        ("/checkout/done", [b"left=40", b"Release , LEFT=39"], [40, 39]),
        ("/checkout/done", [b"left=0"], [0]),
        ("/checkout/done", [b"left=", b"left=-1", b"left=1e3", b"left=99999999999", b"left", b"unknown=3"], []),
        pytest.param("/checkout/done", [b"left=" + b"1" * 5000, b"left=3"], [3], id="too many digits to read"),
        ("/about", [b"left=40"], []),  # of which room?
    ],
    ids=str,
)
async def test_the_shop_says_what_is_left(start, path, commands, stocks):
    gate = await start(saying(ok(b"bye", *(b"Gate-Command: " + command for command in commands)), close=False))
    visitor = await gate.visitor()
    _, fields, _ = await visitor.get(path, gate.pass_cookie(id="p1"))
    assert "gate-command" not in fields
    await gate.engine.drain()
    line = gate.engine._lines["checkout"]
    assert line.stocks == stocks
    assert line.released == (["p1"] if any(b"elease" in command for command in commands) else [])


async def test_commands_reach_the_engine_and_not_the_visitor(start):
    gate = await start(saying(ok(b"bye", b"Gate-Command: release", b"Set-Cookie: gate_pass_checkout=evil"), close=False))
    visitor = await gate.visitor()
    _, fields, _ = await visitor.get("/checkout/done", gate.pass_cookie(id="p1"))
    assert "gate-command" not in fields
    assert "set-cookie" not in fields
    await gate.engine.drain()
    assert gate.engine._lines["checkout"].released == ["p1"]


async def test_the_visitor_leaving_ends_the_work_at_the_origin(start):
    started = asyncio.Event()

    async def script(side):
        await side.head()
        started.set()
        await side.ended()

    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await started.wait()
    visitor.close()
    assert await gate.origin.sides[0].ended()
    async with asyncio.timeout(DEADLINE):
        while gate.engine.shop.overload.current:
            await asyncio.sleep(0.01)
    assert gate.meter.results == []  # counts for nothing


async def test_leaving_in_the_middle_of_the_upload_frees_the_origin(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000\r\n\r\nhalf")
    await eventually(lambda: gate.origin.heads, "the request arrived before its end")
    visitor.close()
    await eventually(lambda: not gate.engine.shop.overload.current, "the attempt is over")
    await eventually(lambda: not gate.door.origin.servers[0].total, "its connection is closed")
    assert gate.meter.results == []


async def test_leaving_in_the_middle_of_the_answer_frees_the_origin(start):
    gate = await start(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", close=False))
    visitor = await gate.visitor()
    await visitor.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await visitor.until(b"hello")
    visitor.reset()
    assert await gate.origin.sides[0].ended()
    await eventually(lambda: not gate.engine.shop.overload.current, "the attempt is over")


async def test_leaving_while_connections_are_made_frees_the_attempt(start):
    gate = await start()
    for _ in range(20):
        visitor = await gate.visitor()
        await visitor.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        visitor.close()
    await eventually(lambda: not gate.door.connections and not gate.engine.shop.overload.current, "every attempt is over")
    server = gate.door.origin.servers[0]
    await eventually(lambda: server.outstanding == 0, "no connection is lost")


async def test_an_upload_that_pauses_is_no_fault_of_the_origin(start):
    """Else a few slow visitors could open a route's breaker."""
    gate = await start(origin={"timeouts": {"idle": "300ms"}})
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 8\r\n\r\nhalf")
    await eventually(lambda: gate.origin.heads, "the request arrived before its end")
    await asyncio.sleep(1.0)
    await visitor.send(b"half")
    assert (await visitor.answer())[2] == b"POST /a 8"
    assert [result.trouble for result in gate.meter.results] == [None]


async def test_an_origin_that_does_not_take_the_upload_is_late(start):
    async def script(side):
        await side.head()
        side.reader._transport.pause_reading()
        await asyncio.Event().wait()

    gate = await start(script, origin={"timeouts": {"idle": "300ms"}}, routes=[{"match": "/**", "body": "1GiB"}])
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 100000000\r\n\r\n")

    async def push():
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await visitor.send(b"x" * 65536)

    pushing = asyncio.create_task(push())
    assert (await visitor.answer())[0] == 503
    assert gate.meter.results[0].trouble == "timeout"
    visitor.close()
    await pushing


async def test_the_less_busy_server_gets_the_request(start, origin):
    release = asyncio.Event()

    async def script(side):
        while await side.head():
            await release.wait()
            await side.send(ok())

    async with Origin() as other:
        other.script = script
        gate = await start(script, origin={"servers": [origin.url, other.url]})
        visitors = [await gate.visitor() for _ in range(10)]
        for visitor in visitors:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        await eventually(lambda: len(origin.heads) + len(other.heads) == 10, "all are at the shop")
        assert len(origin.heads) == len(other.heads) == 5
        release.set()
        for visitor in visitors:
            assert (await visitor.answer())[0] == 200


async def test_servers_that_are_down_are_not_asked(start, origin):
    gate = await start(origin={"servers": ["http://127.0.0.1:1", f"http://127.0.0.1:{origin.port}"]})
    gate.door.origin.mark("http://127.0.0.1:1", False)
    assert {gate.door.origin.choose().port for _ in range(20)} == {origin.port}
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[0] == 200
    gate.door.origin.mark(f"http://127.0.0.1:{origin.port}", False)  # all down: anyone is better than none
    assert gate.door.origin.choose() in gate.door.origin.servers
