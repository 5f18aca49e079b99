"""Requests that go through: heads, bodies, keep-alive, pipelining, framing in both directions."""

import asyncio
import ssl
import subprocess

import pytest

from gate.wire.door import Door
from tests.wire.rig import CALLS, Visitor, fields_of, make_engine, own_app, read_body, response, values_of


async def test_a_request_goes_through_and_the_connection_is_kept(start):
    gate = await start()
    visitor = await gate.visitor()
    for number in range(3):
        status, fields, body = await visitor.get(f"/page/{number}?a=%2F")
        assert (status, body) == (200, b"GET /page/%d?a=%%2F 0" % number)
        assert fields["gate-decision"] == ["forward; reason=unguarded"]
        assert fields["via"] == ["1.1 floodgate"]
    assert len(gate.origin.sides) == 1
    visitor.close()


async def test_a_guarded_path_waits_without_a_pass_and_goes_through_with_one(start):
    gate = await start()
    visitor = await gate.visitor()
    status, fields, _ = await visitor.get("/checkout/pay")
    assert status == 503
    assert fields["gate-decision"] == ["wait; room=checkout; reason=rate"]
    assert fields["set-cookie"][0].startswith("gate_ticket_checkout=")
    assert gate.origin.heads == []
    for _ in range(2):
        status, fields, _ = await visitor.get("/checkout/pay", gate.pass_cookie(id="visitor-1") + "; cart=7")
        assert status == 200
        assert fields["gate-decision"] == ["forward; room=checkout; reason=pass"]
        assert fields["cache-control"] == ["private, no-store"]
    for head in gate.origin.heads:
        assert b"\r\ncookie: cart=7\r\n" in head.lower()
        assert b"gate_pass" not in head
        assert b"\r\ngate-visitor: visitor-1\r\n" in head
    visitor.close()


async def test_pipelined_requests_are_answered_in_order(start):
    gate = await start()
    visitor = await gate.visitor()
    targets = [b"/checkout/x" if number % 3 == 0 else b"/p/%d" % number for number in range(30)]
    await visitor.send(b"".join(b"GET %b HTTP/1.1\r\nHost: shop.test\r\n\r\n" % target for target in targets))
    for target in targets:
        status, _, body = await visitor.answer()
        if target.startswith(b"/checkout"):
            assert status == 503
        else:
            assert (status, body) == (200, b"GET %b 0" % target)
    visitor.close()


async def test_bodies_are_framed_anew(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello")
    assert (await visitor.answer())[2] == b"POST /a 5"
    await visitor.send(
        b"POST /b HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;secret=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Trailer: evil\r\n\r\n"
    )
    assert (await visitor.answer())[2] == b"POST /b 7"
    await visitor.send(
        b"GET /c HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhelloGET /d HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    )
    assert (await visitor.answer())[2] == b"GET /c 5"
    assert (await visitor.answer())[2] == b"GET /d 0"
    assert all(b"secret" not in head and b"evil" not in head for head in gate.origin.heads)
    visitor.close()


def answering(answer):
    """An origin that gives this answer to every request."""

    async def script(side):
        while head := await side.head():
            await read_body(side, head)
            await side.send(answer)

    return script


async def test_path_and_query_cross_byte_for_byte(start):
    gate = await start()
    visitor = await gate.visitor()
    odd = ("/a%2Fb//c/%64?x=%zz|%&&a[]=1", "/caf%C3%A9/%e9?q=a+b%20c", "/;a=b/x;c", "/a,b:c@d!$'()*~^`{}|\"<>")
    for target in (*odd, "/a?", "/a??", "/a", "/a?b", "/?"):
        for _ in range(3):  # the first time it learns, later it remembers
            assert (await visitor.get(target))[0] == 200
            assert gate.origin.heads[-1].startswith(f"GET {target} HTTP/1.1\r\n".encode())
    for target, crosses in (("http://shop.test?", "/?"), ("http://shop.test/a?", "/a?"), ("http://shop.test", "/")):
        assert (await visitor.get(target))[0] == 200
        assert gate.origin.heads[-1].startswith(f"GET {crosses} HTTP/1.1\r\n".encode())


async def test_nothing_is_added_to_the_request_but_what_says_so(start):
    gate = await start()
    visitor = await gate.visitor()
    for _ in range(2):  # the second time by heart
        await visitor.get("/", "X-One: 1", "X-Two: 2", "X-One: 3", "Cookie: a=b")
    for head in gate.origin.heads:
        plain = [field for field in fields_of(head) if field[0].startswith(b"x-") and b"forwarded" not in field[0]]
        assert plain == [(b"x-one", b"1"), (b"x-two", b"2"), (b"x-one", b"3")]
        assert sorted(set(fields_of(head)) - set(plain)) == [
            (b"cookie", b"a=b"),
            (b"forwarded", b"for=127.0.0.1;host=shop.test;proto=http"),
            (b"host", b"shop.test"),
            (b"via", b"1.1 floodgate"),
            (b"x-forwarded-for", b"127.0.0.1"),
            (b"x-forwarded-host", b"shop.test"),
            (b"x-forwarded-proto", b"http"),
        ]


async def test_duplicates_and_order_of_the_answer_are_kept(start):
    fields = (b"Set-Cookie: a=1; Path=/", b"X-A: 1", b"Set-Cookie: b=2, c", b"X-A: 2", b"Date: then", b"Server: shop")
    gate = await start(answering(response(b"hi", "302 Found", *fields, b"Location: /elsewhere", b"Content-Encoding: gzip")))
    visitor = await gate.visitor()
    for _ in range(2):
        status, answer, body = await visitor.get("/")
        assert (status, body) == (302, b"hi")
        assert answer["set-cookie"] == ["a=1; Path=/", "b=2, c"]
        assert answer["x-a"] == ["1", "2"]
        assert answer["date"] == ["then"]
        assert answer["server"] == ["shop"]
        assert answer["location"] == ["/elsewhere"]
        assert answer["content-encoding"] == ["gzip"]
    assert all(not values_of(head, b"cookie") for head in gate.origin.heads)  # the gate keeps no cookies


async def test_an_answer_without_a_date_gets_one_and_it_moves(start):
    gate = await start()
    visitor = await gate.visitor()
    _, first, _ = await visitor.get("/")
    assert len(first["date"]) == 1
    assert first["date"][0].endswith(" GMT")
    async with asyncio.timeout(10):
        while (await visitor.get("/"))[1]["date"] == first["date"]:
            await asyncio.sleep(0.1)


async def test_what_is_between_origin_and_gate_stays_there(start):
    fields = (b"Gate-Secret: x", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5")
    fields += (b"Set-Cookie: gate_pass_checkout=forged", b"Set-Cookie: __Host-gate_ticket_checkout=x", b"Set-Cookie: mine=1")
    gate = await start(answering(response(b"hi", "200 OK", *fields)))
    visitor = await gate.visitor()
    _, answer, _ = await visitor.get("/")
    assert not answer.keys() & {"gate-secret", "x-hop", "keep-alive", "connection"}
    assert answer["set-cookie"] == ["mine=1"]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT", "PATCH"])
async def test_a_body_with_a_length_keeps_its_length(start, method):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(f"{method} / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nabcde".encode())
    assert (await visitor.answer())[2] == f"{method} / 5".encode()
    assert values_of(gate.origin.heads[0], b"content-length") == [b"5"]


async def test_a_large_body_crosses_in_both_directions(start):
    sent, answered = bytes(range(256)) * 12_000, bytes(reversed(range(256))) * 12_000

    async def script(side):
        assert await read_body(side, await side.head()) == sent
        await side.send(response(answered))

    gate = await start(script)
    visitor = await gate.visitor()
    await visitor.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
    assert (await visitor.answer())[2] == answered


async def test_every_split_of_the_bytes_gives_the_same(start):
    gate = await start()
    sent = (
        b"POST /b HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        b"GET /checkout/x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
        b"POST /c HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi"
    )
    for cut in range(1, len(sent), 3):
        visitor = await gate.visitor()
        await visitor.send(sent[:cut])
        await asyncio.sleep(0)
        await visitor.send(sent[cut:])
        assert (await visitor.answer())[2] == b"POST /b 7"
        assert (await visitor.answer())[0] == 503
        assert (await visitor.answer())[2] == b"POST /c 2"
        visitor.close()


async def test_http_1_0_closes_unless_asked(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(b"GET /a HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n")
    _, fields, _ = await visitor.answer()
    assert fields["connection"] == ["keep-alive"]
    await visitor.send(b"GET /a HTTP/1.0\r\nHost: shop.test\r\n\r\n")
    _, fields, _ = await visitor.answer()
    assert fields["connection"] == ["close"]
    assert await visitor.rest() == b""


async def test_own_endpoints_are_handed_over(start):
    gate = await start()
    visitor = await gate.visitor()
    assert (await visitor.get("/__gate/x"))[2] == b"GET /__gate/x shop.test 0"
    await visitor.send(b"POST /__gate/y HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc")
    assert (await visitor.answer())[2] == b"POST /__gate/y shop.test 3"
    await visitor.send(b"POST /__gate/y HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    assert (await visitor.answer())[2] == b"POST /__gate/y shop.test 2"
    status, fields, body = await visitor.get("/__gate/x", method="HEAD")
    assert (status, fields["content-length"], body) == (200, ["26"], b"")
    status, _, _ = await visitor.get("/__gate/boom")
    assert status == 503


async def test_a_document_for_everyone_is_made_once_in_a_while(start):
    gate = await start(hosts=["shop.test"])
    visitors = [await gate.visitor() for _ in range(5)]
    CALLS.clear()
    for _ in range(20):
        answers = [await visitor.get("/__gate/rooms/checkout/status") for visitor in visitors]
        assert {status for status, _, _ in answers} == {200}
        assert all(body.startswith(b'{"serving":') for _, _, body in answers)
    assert len(CALLS) < 20
    await visitors[0].send(b"GET /__gate/rooms/checkout/status HTTP/1.1\r\nHost: evil.test\r\n\r\n")
    assert (await visitors[0].answer())[0] == 421
    before = len(CALLS)
    async with asyncio.timeout(10):
        while len(CALLS) == before:
            await visitors[1].get("/__gate/rooms/checkout/status")
    status, _, body = await visitors[1].get("/__gate/rooms/checkout/status", method="HEAD")
    assert (status, body) == (200, b"")


async def test_tls_on_both_sides(tmp_path, origin):
    """Visitors come by https, and the origin's certificate is checked against its name."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost"
    subprocess.run([*command.split(), "-addext", names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    shop = await asyncio.start_server(origin._serve, "127.0.0.1", 0, ssl=server_side)
    port = shop.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    for name, expected in (("localhost", 200), ("127.0.0.1", 503)):
        engine = make_engine(origin={"servers": [f"https://{name}:{port}"]})
        async with Door(engine, own_app, tls=trusting) as door:
            server = await loop.create_server(door.protocol, "127.0.0.1", 0, ssl=server_side)
            visitor = Visitor(
                *await asyncio.open_connection(
                    "127.0.0.1", server.sockets[0].getsockname()[1], ssl=trusting, server_hostname="localhost"
                )
            )
            for _ in range(2):
                status, _, body = await visitor.get("/a")
                assert status == expected
            if expected == 200:
                assert body == b"GET /a 0"
                assert b"\r\nx-forwarded-proto: https\r\n" in origin.heads[0]
            status, fields, _ = await visitor.get("/checkout/a", "Connection: close")
            assert fields["set-cookie"][0].startswith("__Host-gate_ticket_checkout=")
            assert await visitor.rest() == b""
            visitor.writer.close()
            server.close()
    shop.close()
