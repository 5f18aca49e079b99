"""Which fields cross, in both directions (tests/corpora/headers)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.cookies import without_our_cookies
from gate.core.credentials import Key, KeyRing
from gate.core.decision import Decision
from gate.core.facts import read_visit
from gate.core.settings import Edge, Settings
from gate.core.words import Outcome, Reason
from gate.edges import trust_for
from gate.wire.headers import for_origin
from gate.wire.reply import read_reply
from gate.wire.way import Way
from tests.wire.rig import make_engine

CORPUS = Path(__file__).parent.parent / "corpora" / "headers"
PEERS = {"stranger": "203.0.113.7", "network": "10.0.0.1", "cloudflare": "104.16.1.1"}
TRUST = trust_for(Edge(trust=["10.0.0.0/8", "cloudflare"], keep=["X-Forwarded-Port", "Remote-User"], ask=["10.0.0.1"]))
ENGINE = make_engine()
RING = KeyRing((Key("test", bytes(range(32))),))
MADE_ANEW = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via")


def blocks(name):
    about, lines = "", []
    for line in [*(CORPUS / f"{name}.txt").read_text().splitlines(), ""]:
        if line.startswith("#"):
            about = line[2:]
        elif line:
            lines.append(line)
        elif lines:
            kinds = {mark: [field(rest) for m, _, rest in (x.partition(" ") for x in lines[1:]) if m == mark] for mark in "+><"}
            yield pytest.param(lines[0], kinds, id=f"{lines[0]} {about}")
            lines = []


def field(text):
    name, _, value = text.partition(":")
    return name.encode(), value[1:].encode()


def visit(*headers, peer="203.0.113.7", method="GET", host=b"shop.example"):
    fields = ((b"host", host), *headers)
    return read_visit(method, b"/", fields, peer, False, settings=Settings(), trust=TRUST, keyring=RING, now=0.0)


@pytest.mark.parametrize(("who", "fields"), list(blocks("request")))
def test_to_the_origin(who, fields):
    given_ = tuple(fields[">"])
    both = {name for name, _ in given_} >= {b"content-length", b"transfer-encoding"}  # refused before; here: stripped anyway
    seen = visit(*(item for item in given_ if not both or item[0] != b"transfer-encoding"), peer=PEERS[who])
    assert [item for item in for_origin(seen) if item[0] not in MADE_ANEW] == fields["<"]


@pytest.mark.parametrize(("status", "fields"), list(blocks("response")))
def test_to_the_visitor(status, fields):
    """Without the framing, which is never copied: what of it is said anew is ``Reply.length``."""
    block = b"".join(b"%b: %b\r\n" % item for item in fields[">"])
    reply = read_reply(b"HTTP/1.1 %b X\r\n%b\r\n" % (status.encode(), block), b"GET")
    way = Way(ENGINE, Decision(Outcome.FORWARD, Reason.OPEN), tuple(fields["+"]))
    lines = (reply.plain + (b"" if way.caches else reply.cached) + way.added).decode("latin-1")
    said = [(b"content-length", b"%d" % reply.length)] if reply.length is not None else []
    crossed = [field(line) for line in lines.split("\r\n") if line] + said
    assert sorted((name, value.strip()) for name, value in crossed) == sorted(fields["<"])


def told(seen):
    return {name: value for name, value in for_origin(seen) if name in MADE_ANEW}


def test_where_a_stranger_came_from():
    assert told(visit((b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-host", b"evil.example"))) == {
        b"host": b"shop.example",
        b"x-forwarded-for": b"203.0.113.7",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"shop.example",
        b"forwarded": b"for=203.0.113.7;host=shop.example;proto=http",
        b"via": b"1.1 floodgate",
    }


def test_through_edges_only_what_they_vouch_for():
    spoofed = (b"x-forwarded-for", b"6.6.6.6, 2001:db8::7, 10.1.1.1")
    seen = visit(spoofed, (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil.example"), peer="10.0.0.1")
    assert told(seen) == {
        b"host": b"shop.example",
        b"x-forwarded-for": b"2001:db8::7, 10.1.1.1, 10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"shop.example",
        b"forwarded": b'for="[2001:db8::7]";host=shop.example;proto=https, for=10.1.1.1, for=10.0.0.1',
        b"via": b"1.1 floodgate",
    }


def test_hosts_with_a_port_are_quoted():
    assert b'host="shop.example:8080"' in told(visit(host=b"shop.example:8080"))[b"forwarded"]


def test_ours_come_last_and_cannot_be_named_away():
    seen = visit((b"connection", b"gate-room, gate-visitor, via, x-forwarded-for"), (b"gate-room", b"forged"))
    fields = for_origin(seen, ((b"gate-room", b"checkout"),))
    assert fields[-1] == (b"gate-room", b"checkout")
    assert [value for name, value in fields if name == b"gate-room"] == [b"checkout"]
    assert dict(fields)[b"via"] == b"1.1 floodgate"
    assert dict(fields)[b"x-forwarded-for"] == b"203.0.113.7"


def test_via_is_appended():
    seen = visit((b"via", b"1.1 cdn"))
    assert [value for name, value in for_origin(seen) if name == b"via"] == [b"1.1 cdn", b"1.1 floodgate"]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "gate_pass_x", "__Host-gate_ticket_y", "gate_x"]), st.text('abc=" ', max_size=5)))
)
def test_our_cookies_go_and_the_others_stay(pairs):
    value = "; ".join(f"{name}={text}" for name, text in pairs).encode()
    rest = without_our_cookies(value)
    assert b"gate_pass_" not in rest
    assert b"gate_ticket_" not in rest
    kept = [f"{name}={text}".strip().encode() for name, text in pairs if name in ("a", "gate_x")]
    assert [part.strip() for part in rest.split(b";") if part.strip()] == kept
