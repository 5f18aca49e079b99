"""The door: what it refuses, answers itself, hands to the gate's own app, and where it forwards to."""

import asyncio

import pytest

from gate.core.decision import Decision
from gate.core.words import Outcome, Reason
from gate.wire.origin import Origin, Unreachable
from tests.wire.stage import Shop, eventually, plain, staged

WAIT = Decision(Outcome.WAIT, Reason.LINE, room="checkout")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /../x HTTP/1.1", 400),
        (b"GET /a\\b HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: shop.example", 400),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"TRACE / HTTP/1.1", 405),
        (b"CONNECT shop.example:443 HTTP/1.1", 405),
        (b"GET / HTTP/1.1\r\nX_Y: 1", 400),
        (b"GET / HTTP/1.1\r\nExpect: magic", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414),
        (b"GET / HTTP/1.1" + b"\r\nX-A: b" * 200, 431),
    ],
    ids=lambda value: value[:30].decode().replace("\r\n", " ") if isinstance(value, bytes) else str(value),
)
async def test_refused_and_the_connection_closed(request_, status):
    async with staged() as stage:
        client = await stage.connect()
        response = await client.ask(request_)
        assert response.status == status
        assert response.values(b"connection") == [b"close"]
        assert await client.ended() == b""
        client.close()
        assert not stage.shop.requests
        assert (await stage.send(b"GET / HTTP/1.1")).status == 200  # the gate still works


async def test_http_1_0_names_its_host_too():
    async with staged() as stage:
        client = await stage.connect()
        client.writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.read()).status == 400
        client.close()


async def test_nothing_is_smuggled_behind_a_refusal():
    async with staged() as stage:
        client = await stage.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        client.writer.write(b"GET /checkout HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.ended()).count(b"HTTP/1.1 ") == 1
        client.close()
        assert not stage.shop.requests


async def test_an_upgrade_that_is_none_is_a_plain_request():
    async with staged() as stage:
        request = (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
        )
        assert (await stage.send(request)).body == b"hello"
        assert not stage.shop.requests[0].values(b"upgrade")
        assert not stage.shop.requests[0].values(b"http2-settings")


async def test_the_gates_answer_keeps_the_connection():
    async with staged() as stage:
        stage.engine.decision = WAIT
        client = await stage.connect()
        for _ in range(3):
            response = await client.ask(b"GET /checkout HTTP/1.1")
            assert (response.status, response.body) == (503, b"the gate's page")
            assert response.values(b"gate-decision") == [b"wait; room=checkout; reason=line"]
        response = await client.ask(b"HEAD /checkout HTTP/1.1")
        assert response.values(b"content-length") == [b"15"]
        assert (await client.ask(b"GET /checkout HTTP/1.1")).body == b"the gate's page"
        client.close()
        assert not stage.shop.requests


async def test_an_unread_body_is_not_the_next_request():
    async with staged() as stage:
        stage.engine.decision = WAIT
        client = await stage.connect()
        client.writer.write(
            b"POST /checkout HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n      "
        )
        response = await client.read()
        assert response.body == b"the gate's page"
        assert response.values(b"connection") == [b"close"]
        assert await client.ended() == b""
        client.close()
        assert [visit.path.raw for visit in stage.engine.visits] == [b"/checkout"]


async def test_a_large_unwanted_body_does_not_reset_the_answer_away():
    async with staged() as stage:
        stage.engine.decision = WAIT
        client = await stage.connect()
        client.writer.write(b"POST /checkout HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
        assert (await client.read()).body == b"the gate's page"
        client.close()


async def test_who_is_turned_away_is_not_told_to_go_on_sending():
    async with staged() as stage:
        stage.engine.decision = WAIT
        client = await stage.connect()
        client.writer.write(b"POST /checkout HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.head())[0] == 503
        assert b"100 Continue" not in await client.ended()
        client.close()


async def test_pipelined_requests_are_answered_in_order():
    async with staged() as stage:
        client = await stage.connect()
        for n in range(5):
            client.writer.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n)
        for _ in range(5):
            assert (await client.read()).body == b"hello"
        client.close()
        assert [request.line for request in stage.shop.requests] == [b"GET /%d HTTP/1.1" % n for n in range(5)]


async def test_the_gates_own_endpoints_get_visit_and_body():
    async with staged() as stage:
        response = await stage.send(b"POST /__gate/notify-me HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=b")
        assert response.body == b"POST /__gate/notify-me a=b"
        assert not stage.engine.attempts


async def test_a_fault_in_the_gate_is_never_a_500():
    def broken(visit):
        raise RuntimeError("a bug")

    async with staged() as stage:
        stage.engine.decision = broken
        response = await stage.send(b"GET / HTTP/1.1")
        assert response.status == 503
        assert response.values(b"retry-after")


async def test_a_fault_in_the_own_app_is_never_a_500():
    async def broken(scope, receive, send):
        raise RuntimeError("a bug")

    async with staged(broken) as stage:
        assert (await stage.send(b"GET /__gate/x HTTP/1.1")).status == 503


async def test_the_less_busy_server_gets_the_request():
    release = asyncio.Event()

    async def hang(request, reader, writer):
        await release.wait()
        await plain()(request, reader, writer)

    async with Shop() as other, staged(more_servers=(other.url,)) as stage:
        stage.shop.answering = other.answering = hang
        tasks = [asyncio.create_task(stage.send(b"GET / HTTP/1.1")) for _ in range(10)]
        await eventually(lambda: len(stage.shop.requests) + len(other.requests) == 10, "all are at the shop")
        assert len(stage.shop.requests) == len(other.requests) == 5
        release.set()
        await asyncio.gather(*tasks)


async def test_a_server_that_is_down_gets_none_unless_all_are():
    async with Shop() as other, staged(more_servers=(other.url,)) as stage:
        stage.door.origin.mark(stage.shop.url, False)
        for _ in range(6):
            await stage.send(b"GET / HTTP/1.1")
        assert (len(stage.shop.requests), len(other.requests)) == (0, 6)
        stage.door.origin.mark(other.url, False)
        for _ in range(20):
            await stage.send(b"GET / HTTP/1.1")
        assert stage.shop.requests


async def test_no_connection_is_free():
    release = asyncio.Event()

    async def hang(request, reader, writer):
        await release.wait()
        await plain()(request, reader, writer)

    async with staged(origin={"connections": 1}) as stage:
        stage.shop.answering = hang
        first = asyncio.create_task(stage.send(b"GET / HTTP/1.1"))
        await eventually(lambda: stage.shop.requests, "the first is at the shop")
        assert (await stage.send(b"GET / HTTP/1.1")).status == 503
        assert stage.attempt.results[0].trouble == "busy"
        release.set()
        assert (await first).status == 200


def test_pick_refuses_when_all_is_taken():
    from gate.core.settings import Settings

    origin = Origin(Settings.model_validate({"origin": {"connections": 1}}))
    with origin.pick(), pytest.raises(Unreachable):
        origin.pick()
    assert origin.pick().outstanding == 0


async def test_connections_to_the_origin_are_kept():
    async with staged() as stage:
        for _ in range(5):
            await stage.send(b"GET / HTTP/1.1")
        assert stage.shop.connections == 1


async def test_the_access_log_hears_what_was_decided_in_the_end():
    async with staged() as stage:
        forwarded = await stage.send(b"GET / HTTP/1.1")
        stage.engine.decision = WAIT
        await stage.send(b"GET /checkout HTTP/1.1")
        (first, status, sent), (second, waited, _) = stage.engine.lines
        assert (first.outcome, status, sent) == (Outcome.FORWARD, 200, len(forwarded.body))
        assert (second, waited) == (WAIT, 503)
