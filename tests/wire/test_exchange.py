"""Requests forwarded and answers brought back, over real sockets."""

import asyncio

import pytest

from gate.core.settle import Trouble
from tests.wire.stage import eventually, plain, raw, read_body, staged


async def test_path_and_query_cross_byte_for_byte():
    async with staged() as stage:
        for target in (b"/a%2Fb//c/%64?x=%zz|%&&a[]=1", b"/caf%C3%A9/%e9?q=a+b%20c", b"/;a=b/x;c", b"/a,b:c@d!$'()*~^`{}|\"<>"):
            await stage.send(b"GET " + target + b" HTTP/1.1")
            assert stage.shop.requests[-1].line == b"GET " + target + b" HTTP/1.1"


async def test_nothing_is_added_to_the_request_but_what_says_so():
    async with staged() as stage:
        await stage.send(b"GET / HTTP/1.1\r\nX-One: 1\r\nX-Two: 2\r\nX-One: 3")
        assert stage.shop.requests[0].fields == [
            (b"host", b"shop.example"),
            (b"x-one", b"1"),
            (b"x-two", b"2"),
            (b"x-one", b"3"),
            (b"x-forwarded-for", b"127.0.0.1"),
            (b"x-forwarded-proto", b"http"),
            (b"x-forwarded-host", b"shop.example"),
            (b"forwarded", b"for=127.0.0.1;host=shop.example;proto=http"),
            (b"via", b"1.1 floodgate"),
            (b"gate-room", b"checkout"),
            (b"gate-visitor", b"v"),
        ]


async def test_duplicates_order_and_cookies_of_the_answer_are_kept():
    fields = (b"Set-Cookie: a=1; Path=/", b"X-A: 1", b"Set-Cookie: b=2, c", b"X-A: 2", b"Date: then", b"Server: shop")
    async with staged() as stage:
        stage.shop.answering = plain(b"hi", b"200 OK", *fields)
        response = await stage.send(b"GET / HTTP/1.1")
        assert response.values(b"set-cookie") == [b"a=1; Path=/", b"b=2, c"]
        assert response.values(b"x-a") == [b"1", b"2"]
        assert response.values(b"date") == [b"then"]
        assert response.values(b"server") == [b"shop"]
        assert response.values(b"via") == [b"1.1 floodgate"]
        assert response.values(b"gate-decision") == [b"forward; reason=unguarded"]
        assert response.body == b"hi"


async def test_what_is_between_origin_and_gate_stays_there():
    fields = (b"Gate-Command: release", b"Gate-Secret: x", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5")
    fields += (b"Set-Cookie: gate_pass_checkout=forged", b"Set-Cookie: __Host-gate_ticket_checkout=x", b"Set-Cookie: mine=1")
    async with staged() as stage:
        stage.shop.answering = plain(b"hi", b"200 OK", *fields)
        response = await stage.send(b"GET / HTTP/1.1")
        names = [name for name, _ in response.fields]
        assert stage.engine.commands == [b"release"]
        assert b"gate-secret" not in names
        assert b"gate-command" not in names
        assert b"x-hop" not in names
        assert b"keep-alive" not in names
        assert response.values(b"set-cookie") == [b"mine=1"]


async def test_one_visitors_cookies_are_not_sent_for_another():
    async with staged() as stage:
        stage.shop.answering = plain(b"hi", b"200 OK", b"Set-Cookie: session=alice; Path=/")
        await stage.send(b"GET / HTTP/1.1")
        await stage.send(b"GET / HTTP/1.1")
        assert [request.values(b"cookie") for request in stage.shop.requests] == [[], []]


async def test_redirects_and_compressed_bodies_pass_untouched():
    body = bytes(range(256))
    async with staged() as stage:
        stage.shop.answering = plain(body, b"302 Found", b"Location: /elsewhere", b"Content-Encoding: gzip")
        response = await stage.send(b"GET / HTTP/1.1")
        assert (response.status, response.body) == (302, body)
        assert response.values(b"content-encoding") == [b"gzip"]
        assert len(stage.shop.requests) == 1


# --------------------------------------------------------------------------- framing


@pytest.mark.parametrize("method", [b"POST", b"GET", b"DELETE", b"PUT"])
async def test_a_body_with_a_length_keeps_its_length(method):
    async with staged() as stage:
        await stage.send(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde")
        request = stage.shop.requests[0]
        assert request.body == b"abcde"
        assert request.values(b"content-length") == [b"5"]


async def test_a_chunked_body_is_framed_anew_without_extensions_and_trailers():
    body = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Real-IP: 6.6.6.6\r\n\r\n"
    async with staged() as stage:
        await stage.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        request = stage.shop.requests[0]
        assert request.body == b"abcde"
        assert request.values(b"transfer-encoding") == [b"chunked"]
        assert b"6.6.6.6" not in request.head


async def test_a_large_body_crosses_in_both_directions():
    sent, answered = bytes(range(256)) * 12_000, bytes(reversed(range(256))) * 12_000
    async with staged() as stage:
        stage.shop.answering = plain(answered)
        response = await stage.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
        assert response.body == answered
        assert stage.shop.requests[0].body == sent


async def test_a_slow_reader_slows_the_origin_down():
    """The gate holds a bounded part of the answer: the origin blocks long before it has sent everything."""
    total = 64 << 20
    sent = 0

    async def answer(request, reader, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        block = bytes(65536)
        while sent < total:
            writer.write(block)
            sent += len(block)
            await writer.drain()

    async with staged() as stage:
        stage.shop.answering = answer
        client = await stage.connect()
        client.reader._limit = 65536
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        client.writer.transport.pause_reading()
        seen = -1
        while seen != sent:
            seen = sent
            await asyncio.sleep(0.1)
        assert sent < total / 2
        client.reset()
        await eventually(lambda: stage.shop.open == 0, "the origin's connection closed")


async def test_an_origin_that_does_not_read_slows_the_visitor_down():
    total = 64 << 20
    sent = 0
    go_on = asyncio.Event()

    async def wait_and_count(request, reader, writer):
        await go_on.wait()
        left = total
        while left:
            left -= len(await reader.read(min(left, 1 << 20)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async def push(writer):
        nonlocal sent
        block = bytes(65536)
        while sent < total:
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async with staged(routes=[{"match": "/up", "body": "64MiB"}]) as stage:
        stage.shop.answering = wait_and_count
        client = await stage.connect()
        client.writer.write(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
        pushing = asyncio.create_task(push(client.writer))
        await eventually(lambda: stage.shop.requests, "the request arrived")
        seen = -1
        while seen != sent:
            seen = sent
            await asyncio.sleep(0.1)
        assert sent < total / 2
        go_on.set()
        await pushing
        assert (await client.read()).status == 200
        client.close()


async def test_head_and_bodiless_answers():
    async with staged() as stage:
        response = await stage.send(b"HEAD / HTTP/1.1")
        assert response.values(b"content-length") == [b"5"]
        for status in (b"204 No Content", b"304 Not Modified"):
            stage.shop.answering = raw(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n", close=False)
            client = await stage.connect()
            response = await client.ask(b"GET / HTTP/1.1")
            assert response.status == int(status[:3])
            assert not response.values(b"transfer-encoding")
            assert (await client.ask(b"GET / HTTP/1.1")).status == response.status  # the connection is in step
            client.close()
        stage.shop.answering = raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", close=False)
        assert not (await stage.send(b"GET / HTTP/1.1")).values(b"content-length")


async def test_answers_of_unknown_length_are_chunked_or_end_with_the_connection():
    async with staged() as stage:
        stage.shop.answering = raw(b"HTTP/1.0 200 OK\r\n\r\nhello")
        response = await stage.send(b"GET / HTTP/1.1")
        assert (response.body, response.complete) == (b"hello", True)
        assert response.values(b"transfer-encoding") == [b"chunked"]
        response = await stage.send(b"GET / HTTP/1.0")
        assert response.body == b"hello"
        assert not response.values(b"transfer-encoding")


async def test_events_are_not_held_back():
    more = asyncio.Event()

    async def answer(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await writer.drain()
        await more.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        await writer.drain()

    async with staged() as stage:
        stage.shop.answering = answer
        client = await stage.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        more.set()
        assert await client.chunk() == b"data: 2\n\n"
        assert await client.chunk() == b""
        client.close()


async def test_interim_answers_are_not_the_answer():
    async with staged() as stage:
        stage.shop.answering = raw(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
        assert (await stage.send(b"GET / HTTP/1.1")).body == b"ok"


async def test_100_continue_only_once_the_request_is_let_through():
    async with staged() as stage:
        client = await stage.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.head())[0] == 100
        client.writer.write(b"abc")
        assert (await client.read()).body == b"hello"
        assert stage.shop.requests[0].body == b"abc"
        assert not stage.shop.requests[0].values(b"expect")
        client.close()


# --------------------------------------------------------------------------- an origin that misbehaves


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
    ],
    ids=["length", "last chunk missing", "bad chunk", "in a chunk"],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_truncated_answer_never_looks_complete(answer, version):
    async with staged() as stage:
        stage.shop.answering = raw(answer)
        response = await stage.send(b"GET / HTTP/" + version + b"\r\nHost: a")
        if response.status == 503:  # it broke before anything was passed on
            assert response.body == b"the gate's page"
        elif version == b"1.1" or response.values(b"content-length"):
            assert not response.complete
        # In HTTP/1.0 an answer without a length ends with the connection; ASGI offers no reset to tell the two ends apart.


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"", Trouble.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Trouble.RESET),
        (b"garbage\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nhello", Trouble.GARBAGE),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 200 OK\r\nX-Large: " + b"a" * 100_000 + b"\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 500 + b"\r\n", Trouble.GARBAGE),
    ],
    ids=["nothing", "half a head", "garbage", "both framings", "two lengths", "unasked 101", "status 999", "huge", "many"],
)
async def test_no_answer_becomes_the_gates(answer, trouble):
    async with staged() as stage:
        stage.shop.answering = raw(answer)
        response = await stage.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        assert response.status == 503
        assert response.values(b"gate-decision") == [b"fallback; reason=origin-failed"]
        assert [result.trouble for result in stage.attempt.results] == [trouble]
        assert len(stage.shop.requests) == 1  # a POST is never repeated


async def test_nobody_listens():
    async with staged() as stage:
        await stage.shop.__aexit__()
        response = await stage.send(b"GET / HTTP/1.1")
        assert response.status == 503
        assert stage.attempt.results[0].trouble is Trouble.CONNECT


async def test_no_first_byte_in_time():
    async def silence(request, reader, writer):
        await reader.read()

    routes = [{"match": "/slow", "first_byte": "200ms"}]
    async with staged(routes=routes, origin={"timeouts": {"connect": "100ms"}}) as stage:
        stage.shop.answering = silence
        response = await stage.send(b"GET /slow HTTP/1.1")
        assert response.status == 503
        assert stage.attempt.results[0].trouble is Trouble.TIMEOUT
        await eventually(lambda: stage.shop.open == 0, "the connection was not kept")


async def test_silence_in_the_middle_cuts_the_answer_off():
    async def half(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    async with staged(origin={"timeouts": {"idle": "200ms"}}) as stage:
        stage.shop.answering = half
        response = await stage.send(b"GET / HTTP/1.1")
        assert (response.body, response.complete) == (b"hello", False)


async def test_bytes_beyond_the_answer_poison_nobody():
    async with staged() as stage:
        stage.shop.answering = raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", close=False
        )
        client = await stage.connect()
        assert (await client.ask(b"GET / HTTP/1.1")).body == b"ok"
        stage.shop.answering = plain(b"good")
        for _ in range(3):
            assert (await client.ask(b"GET / HTTP/1.1")).body == b"good"
        client.close()


async def test_an_early_answer_is_passed_on_and_its_connection_not_used_again():
    async def early(request, reader, writer):
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read()

    async with staged() as stage:
        stage.shop.answering = early
        client = await stage.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        response = await client.read()
        assert (response.status, response.body) == (401, b"no")
        assert response.values(b"connection") == [b"close"]
        client.close()
        stage.shop.answering = plain()
        assert (await stage.send(b"GET / HTTP/1.1")).body == b"hello"
        assert stage.shop.requests[-1].connection != stage.shop.requests[0].connection


async def test_an_idempotent_request_survives_a_connection_that_died_in_the_pool():
    async with staged() as stage:
        await stage.send(b"GET / HTTP/1.1")

        async def die_once(request, reader, writer):
            stage.shop.answering = plain(b"again")
            writer.close()

        stage.shop.answering = die_once
        response = await stage.send(b"GET / HTTP/1.1")
        assert response.body == b"again"


async def test_a_route_with_its_own_answer_gives_it_for_any_failure():
    routes = [{"match": "/api/**", "fallback": {"json": {"rate": 7.99}}}]
    async with staged(routes=routes) as stage:
        stage.shop.answering = plain(b"oops", b"500 Internal Server Error")
        assert (await stage.send(b"GET /api/x HTTP/1.1")).body == b"the gate's page"
        assert (await stage.send(b"GET /other HTTP/1.1")).body == b"oops"


# --------------------------------------------------------------------------- limits


async def test_a_body_beyond_the_limit_by_its_length():
    async with staged(routes=[{"match": "/up", "body": 10}]) as stage:
        response = await stage.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)
        assert response.status == 413
        assert not stage.shop.requests
        assert not stage.attempt.results  # says nothing about the origin
        assert (await stage.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n" + b"x" * 10)).status == 200


async def test_a_body_beyond_the_limit_as_it_comes():
    async with staged(routes=[{"match": "/up", "body": 10}]) as stage:
        head = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = await stage.send(head + b"6\r\nabcdef\r\n" * 3 + b"0\r\n\r\n")
        assert response.status == 413
        await eventually(lambda: stage.shop.open == 0, "the origin did not take a part for the whole")
        assert not any(request.body for request in stage.shop.requests)


async def test_a_body_that_stops_arriving():
    async with staged(origin={"timeouts": {"idle": "200ms"}}) as stage:
        response = await stage.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert response.status == 408
        assert not stage.attempt.results


# --------------------------------------------------------------------------- a visitor who leaves


async def test_leaving_before_the_first_byte_frees_the_origin():
    async def silence(request, reader, writer):
        await reader.read()

    async with staged() as stage:
        stage.shop.answering = silence
        client = await stage.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: stage.shop.requests, "the request arrived")
        client.reset()
        await eventually(lambda: stage.shop.open == 0, "the request was cancelled")
        await eventually(lambda: stage.attempt.closed, "the attempt is over")
        assert not stage.attempt.results  # counts for nothing


async def test_leaving_in_the_middle_of_the_upload_frees_the_origin():
    parts = []

    async def take(request, reader, writer):
        parts.append(await reader.readexactly(4))
        request.body = await read_body(request, reader)

    async with staged() as stage:
        stage.shop.answering = take
        client = await stage.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        await eventually(lambda: parts == [b"half"], "the first part arrived while the rest was missing")
        client.reset()
        await eventually(lambda: stage.shop.open == 0, "the request was cancelled")
        assert not stage.shop.requests[0].body


async def test_leaving_in_the_middle_of_the_answer_frees_the_origin():
    async def half(request, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    async with staged() as stage:
        stage.shop.answering = half
        client = await stage.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        client.reset()
        await eventually(lambda: stage.shop.open == 0, "the request was cancelled")


async def test_leaving_while_connections_are_made_frees_the_attempt():
    async with staged(origin={"timeouts": {"connect": "30s"}}) as stage:
        client = await stage.connect()
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reset()
        await eventually(lambda: not stage.engine.attempts or stage.attempt.closed, "the attempt is over")
