"""The connections to the origin: how many, to which server, for how long they are waited for, and what becomes of them."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import time
from collections import Counter

from gate.core.settings import Origin as Settings
from gate.core.settle import Trouble
from gate.wire.deadlines import Wheel
from gate.wire.door import Door
from gate.wire.origin import Origins
from tests.processes import free_port
from tests.wire.rig import DEADLINE, eventually, make_engine, own_app, response


@contextlib.contextmanager
def black_hole(address="127.0.0.1", port=0):
    """A port that answers no SYN: its queue of connections is full (Linux drops what does not fit)."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.create_server((address, port), backlog=0))
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


def naming(monkeypatch, *answers):
    """What the resolver says, in order; the last for ever. None: it fails."""
    left = list(answers)

    async def getaddrinfo(host, port, **_):
        addresses = left.pop(0) if len(left) > 1 else left[0]
        if addresses is None:
            raise socket.gaierror("no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def once(side):
    """Answers with where the connection came to, and closes."""
    if await side.head():
        here = side.writer.get_extra_info("sockname")[0].encode()
        await side.send(response(here, "200 OK", b"Connection: close"))


async def held_then_ok(side, release):
    while await side.head():
        await release.wait()
        await side.send(response())


# --------------------------------------------------------------------------- how long


async def test_an_origin_that_does_not_answer_at_all_is_given_up(start):
    with black_hole() as port:
        gate = await start(origin={"servers": [f"http://127.0.0.1:{port}"], "timeouts": {"connect": "300ms"}})
        visitor = await gate.visitor()
        before = time.monotonic()
        status, fields, _ = await visitor.get("/a")
        assert (status, fields["gate-decision"]) == (503, ["fallback; reason=origin-failed"])
        assert time.monotonic() - before < DEADLINE
        assert [result.trouble for result in gate.meter.results] == [Trouble.CONNECT]
        assert gate.door.origin.servers[0].total == 0


async def test_who_leaves_while_a_connection_is_made_frees_the_attempt_at_once(start):
    with black_hole() as port:
        gate = await start(origin={"servers": [f"http://127.0.0.1:{port}"], "timeouts": {"connect": "6s"}})
        visitor = await gate.visitor()
        await visitor.send(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        server = gate.door.origin.servers[0]
        await eventually(lambda: server.total == 1, "a connection is tried")
        visitor.reset()  # not only its half: who is half closed may wait for the answer
        await eventually(lambda: not gate.engine.shop.overload.current, "the attempt is over")
        assert server.total == 1  # whoever comes next may have the connection
        await eventually(lambda: server.total == 0, "it is given up")
        assert gate.meter.results == []


async def test_who_leaves_the_queue_is_never_sent(start):
    release = asyncio.Event()
    gate = await start(lambda side: held_then_ok(side, release), origin={"connections": 1, "timeouts": {"connect": "60s"}})
    first, second, third = [await gate.visitor() for _ in range(3)]
    server = gate.door.origin.servers[0]
    for number, visitor in enumerate((first, second, third)):
        await visitor.send(b"GET /%d HTTP/1.1\r\nHost: shop.test\r\n\r\n" % number)
        await eventually(lambda number=number: server.outstanding == number + 1)
    second.reset()
    await eventually(lambda: gate.engine.shop.overload.current == 2, "the attempt is over")
    release.set()
    assert (await first.answer())[0] == (await third.answer())[0] == 200
    assert [head.split(b" ")[1] for head in gate.origin.heads] == [b"/0", b"/2"]


async def test_the_queue_has_an_end(start, monkeypatch):
    monkeypatch.setattr("gate.wire.origin.QUEUE", 3)
    release = asyncio.Event()
    gate = await start(lambda side: held_then_ok(side, release), origin={"connections": 1, "timeouts": {"connect": "60s"}})
    inside = [await gate.visitor() for _ in range(4)]
    for number, visitor in enumerate(inside):
        await visitor.send(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        await eventually(lambda number=number: gate.door.origin.servers[0].outstanding == number + 1)
    status, fields, _ = await (await gate.visitor()).get("/one-too-many")
    assert (status, fields["gate-decision"]) == (503, ["shed; reason=overload"])
    release.set()
    assert [(await visitor.answer())[0] for visitor in inside] == [200] * 4
    assert len(gate.origin.sides) == 1


async def test_an_unused_connection_is_closed(start, monkeypatch):
    monkeypatch.setattr("gate.wire.origin.IDLE", 0.3)
    gate = await start()
    assert (await (await gate.visitor()).get("/a"))[0] == 200
    await eventually(lambda: gate.door.origin.servers[0].total == 0)
    assert (await (await gate.visitor()).get("/a"))[0] == 200


async def test_what_must_not_be_sent_twice_gets_no_connection_that_may_be_stale(start, monkeypatch):
    monkeypatch.setattr("gate.wire.origin.FRESH", -1.0)
    gate = await start()
    visitor = await gate.visitor()
    for method in ("GET", "GET", "POST", "PUT"):
        assert (await visitor.get("/a", "Content-Length: 0", method=method))[0] == 200
    assert [len(side.requests) for side in gate.origin.sides] == [2, 2] or [
        side.requests[0].split(b" ")[0] for side in gate.origin.sides
    ] == [b"GET", b"POST"]
    assert gate.origin.sides[1].requests[0].startswith(b"POST ")


# --------------------------------------------------------------------------- to whom


def three(loads):
    urls = [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]
    origins = Origins(Settings(servers=urls), Wheel())
    for server, load in zip(origins.servers, loads, strict=True):
        server.total = load
    return origins


def test_of_two_picked_at_random_the_less_busy():
    """Never the busiest, and not always the idlest: workers that see the same would all run to it."""
    origins = three([9, 5, 0])
    chosen = Counter(origins.choose().port for _ in range(600))
    assert chosen[1] == 0
    assert 100 < chosen[2] < 300 < chosen[3]


def test_a_server_that_is_down_or_ejected_is_chosen_only_when_none_is_left():
    origins = three([0, 0, 0])
    origins.mark("http://127.0.0.1:1", False)
    origins.servers[1].ejected_until = 1.0
    assert {origins.choose().port for _ in range(50)} == {3}
    assert origins.choose(avoid=origins.servers[2]).port in (1, 2)
    origins.wheel.now = 1.0
    assert {origins.choose().port for _ in range(50)} == {2, 3}


async def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(start, origin, monkeypatch):
    monkeypatch.setattr("gate.wire.origin.EJECT_FOR", 2.0)
    port = free_port()
    dead = f"http://127.0.0.1:{port}"
    gate = await start(once, origin={"servers": [dead, origin.url]})
    visitor = await gate.visitor()
    server = gate.door.origin.servers[0]
    async with asyncio.timeout(DEADLINE):
        while not server.ejected_until:
            assert (await visitor.get("/a"))[0] == 200  # the other one answers
    assert server.failures == 3
    for _ in range(10):
        assert gate.door.origin.choose() is not server
    async with asyncio.timeout(DEADLINE):
        while gate.door.origin.choose() is not server:
            await asyncio.sleep(0.05)
    async with await asyncio.start_server(origin._serve, "127.0.0.1", port), asyncio.timeout(DEADLINE):
        while server.failures:
            assert (await visitor.get("/a"))[0] == 200


# --------------------------------------------------------------------------- where


async def test_the_name_is_looked_up_again_in_the_background(start, origin, monkeypatch):
    monkeypatch.setattr("gate.wire.origin.RESOLVE_EVERY", 0.3)
    naming(monkeypatch, ["127.0.0.1"], ["127.0.0.1"], None, ["127.0.0.2"])
    gate = await start(once, origin={"servers": [f"http://shop.internal:{origin.port}"]})
    visitor = await gate.visitor()
    assert (await visitor.get("/a"))[2] == b"127.0.0.1"
    seen = {b"127.0.0.1"}
    async with await asyncio.start_server(origin._serve, "127.0.0.2", origin.port), asyncio.timeout(DEADLINE):
        while b"127.0.0.2" not in seen:
            status, _, body = await visitor.get("/a")
            assert status == 200  # when the resolver fails, the last answer holds
            seen.add(body)
            await asyncio.sleep(0.05)


async def test_a_silent_address_does_not_take_the_others_with_it(start, origin, monkeypatch):
    naming(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    with black_hole("127.0.0.2", origin.port):
        servers = [f"http://shop.internal:{origin.port}"]
        gate = await start(once, origin={"servers": servers, "timeouts": {"connect": "3s"}})
        visitor = await gate.visitor()
        for _ in range(3):
            assert (await visitor.get("/a"))[2] == b"127.0.0.1"
        assert gate.door.origin.servers[0]._addresses == ["127.0.0.1", "127.0.0.2"]  # asked last from now on
        await gate.door.origin.servers[0].resolve()
        assert gate.door.origin.servers[0]._addresses == ["127.0.0.1", "127.0.0.2"]


async def test_a_name_without_an_address_is_no_500(start, monkeypatch):
    naming(monkeypatch, None)
    gate = await start(origin={"servers": ["http://shop.internal:80"]})
    status, fields, _ = await (await gate.visitor()).get("/a")
    assert (status, fields["gate-decision"]) == (503, ["fallback; reason=origin-failed"])


# --------------------------------------------------------------------------- over TLS


async def test_the_origin_is_told_which_name_is_meant_and_must_prove_it(tmp_path, origin, monkeypatch):
    """RFC 6066 section 3 (SNI), RFC 9110 section 4.3.4 (the certificate). A stranger's certificate is nobody's."""
    names = []

    def context(name):
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
        words = [*command.split(), "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert]
        subprocess.run(words, check=True, capture_output=True)
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.load_cert_chain(cert, key)
        made.sni_callback = lambda _, name, __: names.append(name)
        return made, cert

    origin.script = once
    ours, cert = context("shop.internal")
    strange, _ = context("other.internal")
    trusting = ssl.create_default_context(cafile=str(cert))
    naming(monkeypatch, ["127.0.0.1"])
    for proof, tls, expected in ((ours, trusting, 200), (strange, trusting, 503), (ours, None, 503), (ours, trusting, 200)):
        shop = await asyncio.start_server(origin._serve, "127.0.0.1", 0, ssl=proof)
        url = f"https://shop.internal:{shop.sockets[0].getsockname()[1]}"
        async with Door(make_engine(origin={"servers": [url]}), own_app, tls=tls) as door:
            server = await asyncio.get_running_loop().create_server(door.protocol, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET /a HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), DEADLINE)).startswith(b"HTTP/1.1 %d " % expected)
            writer.close()
            server.close()
        shop.close()
    assert set(names) == {"shop.internal"}
    assert len(origin.heads) == 2


async def test_a_tls_handshake_that_never_ends_is_given_up(start):
    """And who leaves meanwhile frees the attempt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        gate = await start(origin={"servers": [url], "timeouts": {"connect": "3s"}})
        staying, leaving = await gate.visitor(), await gate.visitor()
        for visitor in (staying, leaving):
            await visitor.send(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        await eventually(lambda: gate.door.origin.servers[0].total == 2, "both connections are made")
        leaving.reset()
        assert (await staying.answer())[0] == 503
        assert [result.trouble for result in gate.meter.results] == [Trouble.CONNECT]
        await eventually(lambda: not gate.door.origin.servers[0].total and not gate.engine.shop.overload.current)
