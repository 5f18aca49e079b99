"""Reading a request: what is refused, with which status, and which credentials count."""

import pytest

from gate.core.credentials import Key, KeyRing, Pass, Ticket
from gate.core.facts import Refusal, read_visit
from gate.core.settings import Settings
from gate.core.words import Reason
from gate.edges import trust_for

NOW = 1_800_000_000.0
RING = KeyRing((Key("old", bytes(range(32))), Key("new", bytes(range(32, 64)))))
OTHERS = KeyRing((Key("new", bytes(range(64, 96))),))
SETTINGS = Settings.model_validate(
    {
        "hosts": ["shop.example", "shop.example:8443"],
        "edge": {"trust": ["10.0.0.0/8"]},
        "rooms": {"checkout": {"match": "/checkout/**", "rate": "1/minute"}, "drop": {"match": "/drop", "rate": "1/minute"}},
    }
)
TRUST = trust_for(SETTINGS.edge)
HOST = (b"host", b"shop.example")


def read(*headers, method="GET", target=b"/", peer="203.0.113.7", tls=False, settings=SETTINGS, host=HOST):
    fields = ((host,) if host else ()) + headers
    return read_visit(method, target, fields, peer, tls, settings=settings, trust=TRUST, keyring=RING, now=NOW)


def ticket(number=7, room="checkout", ring=RING):
    made = Ticket(room, 1, number, 1000, f"id-{number}")
    return made, ring.sign_ticket(made).encode()


def a_pass(expires=NOW + 60, room="checkout", id_="id-7", ring=RING):
    made = Pass(room, id_, NOW - 60, expires)
    return made, ring.sign_pass(made).encode()


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"method": "CONNECT"}, 405, Reason.METHOD),
        ({"method": "TRACE"}, 405, Reason.METHOD),
        ({"method": "trace"}, 405, Reason.METHOD),
        ({"method": "GE T"}, 400, Reason.MALFORMED),
        ({"method": ""}, 400, Reason.MALFORMED),
        ({"method": "A" * 33}, 400, Reason.MALFORMED),
        ({"host": None}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"a b")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"shop.example, evil.example")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"shop.example@evil.example")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"shop.example/x")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"shop..example")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"shop.example:")}, 400, Reason.MALFORMED),
        ({"host": (b"host", b"evil.example")}, 421, Reason.HOST),
        ({"host": (b"host", b"shop.example.evil.example")}, 421, Reason.HOST),
        ({"target": b"*", "method": "OPTIONS"}, 400, Reason.MALFORMED),
        ({"target": b"/a/../b"}, 400, Reason.MALFORMED),
        ({"target": b"/a#b"}, 400, Reason.MALFORMED),
        ({"target": b"http://evil.example/"}, 400, Reason.MALFORMED),
        ({"target": b"/" + b"a" * SETTINGS.visitors.max_target}, 414, Reason.TOO_LARGE),
    ],
)
def test_refused(change, status, reason):
    with pytest.raises(Refusal) as caught:
        read(**change)
    assert (caught.value.status, caught.value.reason) == (status, reason)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"shop.example")], 400),  # a second one
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"content-length", b"+1")], 400),
        ([(b"content-length", b"1, 1")], 400),
        ([(b"content-length", b"0x1")], 400),
        ([(b"content-length", b"")], 400),
        ([(b"content-length", b"9" * 19)], 400),
        ([(b"content-length", "\u0661".encode())], 400),
        ([(b"transfer-encoding", b"gzip, chunked")], 400),
        ([(b"transfer-encoding", b"xchunked")], 400),
        ([(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], 400),
        ([(b"transfer-encoding", b"identity")], 400),
        ([(b"x_real_ip", b"1.2.3.4")], 400),
        ([(b"x.real.ip", b"1.2.3.4")], 400),
        ([(b"x real", b"1")], 400),
        ([(b"x-a", b"a\x00b")], 400),
        ([(b"x-a", b"a\rb")], 400),
        ([(b"x-a", b"a\nb")], 400),
        ([(b"expect", b"200-ok")], 417),
        ([(b"via", b"1.1 floodgate, 1.1 cdn, 1.1 floodgate"), (b"via", b"1.1 floodgate, 1.1 Floodgate")], 508),
        ([(f"x-{n}".encode(), b"") for n in range(SETTINGS.visitors.max_fields)], 431),
        ([(b"x-a", b"a" * 40_000)], 431),
    ],
)
def test_refused_fields(headers, status):
    with pytest.raises(Refusal) as caught:
        read(*headers, method="POST")
    assert caught.value.status == status


def test_405_says_what_is_allowed():
    with pytest.raises(Refusal) as caught:
        read(method="TRACE")
    assert caught.value.headers[0][0] == b"allow"


def test_a_refusal_does_not_repeat_the_visitors_bytes():
    with pytest.raises(Refusal) as caught:
        read(target=b"/<script>/../")
    assert "script" not in caught.value.detail


# --------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize(
    ("host", "expected"),
    [(b"SHOP.example", "shop.example"), (b"shop.example:8443", "shop.example:8443"), (b"shop.example.", "shop.example.")],
)
def test_hosts_of_the_shop(host, expected):
    assert read(host=(b"host", host)).host == expected


@pytest.mark.parametrize("host", [b"127.0.0.1:8080", b"gate-7.pods.internal"])
@pytest.mark.parametrize("target", [b"/__gate/live", b"/__gate/ready"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_checks_come_under_any_host(method, target, host):
    assert read(method=method, target=target, host=(b"host", host)).path.raw == target


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", b"/__gate/ready"),
        ("GET", b"/__gate/ready/"),
        ("GET", b"/__gate/readyx"),
        ("GET", b"/__gate/rooms/checkout/status"),
    ],
)
def test_nothing_else_does(method, target):
    with pytest.raises(Refusal) as caught:
        read(method=method, target=target, host=(b"host", b"127.0.0.1"))
    assert caught.value.status == 421


@pytest.mark.parametrize("host", [b"", b"a b", b"x/y"])
def test_a_health_check_needs_a_wellformed_host_too(host):
    with pytest.raises(Refusal) as caught:
        read(target=b"/__gate/live", host=(b"host", host))
    assert caught.value.status == 400


@pytest.mark.parametrize("host", [b"[2001:db8::1]:8080", b"localhost", b"a_b.example", b"127.0.0.1:1"])
def test_without_a_list_every_wellformed_host(host):
    assert read(host=(b"host", host), settings=Settings()).host == host.decode()


def test_absolute_form_with_the_same_authority():
    visit = read(target=b"http://SHOP.example/checkout?x=1")
    assert (visit.path.raw, visit.query) == (b"/checkout", b"x=1")


def test_the_scheme_is_the_edges_word_else_the_sockets():
    assert read().scheme == "http"
    assert read(tls=True).scheme == "https"
    assert read((b"x-forwarded-proto", b"https")).scheme == "http"
    assert read((b"x-forwarded-proto", b"https"), peer="10.0.0.1").scheme == "https"


def test_claims_of_strangers_are_gone_before_anything_decides():
    spoofed = (
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"cf-connecting-ip", b"1.2.3.4"),
        (b"x-real-ip", b"1.2.3.4"),
        (b"x-kept", b"1"),
    )
    assert read(*spoofed).headers == (HOST, (b"x-kept", b"1"))
    assert read(*spoofed, peer="10.0.0.1").headers == (HOST, spoofed[0], spoofed[-1])
    assert not read(*spoofed).edge
    assert read(*spoofed, peer="10.0.0.1").edge


def test_a_request_that_passed_a_gate_or_two_is_no_circle():
    assert read((b"via", b"1.1 floodgate, 1.1 floodgate"))


# --------------------------------------------------------------------------- credentials


def cookie(*pairs):
    return (b"cookie", b"; ".join(name + b"=" + value for name, value in pairs))


def test_ticket_and_pass_in_cookies():
    place, signed = ticket()
    right, granted = a_pass()
    visit = read(cookie((b"a", b"b"), (b"gate_ticket_checkout", signed), (b"gate_pass_checkout", granted)))
    assert dict(visit.tickets) == {"checkout": place}
    assert dict(visit.passes) == {"checkout": right}
    assert visit.passes.get("drop") is None
    assert visit.passes.get("no-such-room") is None


def test_in_several_cookie_fields_and_quoted():
    place, signed = ticket()
    assert read((b"cookie", b"a=b"), (b"cookie", b'gate_ticket_checkout="' + signed + b'"')).tickets["checkout"] == place


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"a.b.c", b"\xff\xfe", b"." * 100, b"A" * 5000, b"eyJhbGciOiJub25lIn0.e30."],
    ids=lambda v: repr(v[:12]),
)
def test_forgeries_are_nothing(value):
    visit = read(cookie((b"gate_ticket_checkout", value), (b"gate_pass_checkout", value)), (b"gate-pass", value))
    assert not visit.tickets
    assert not visit.passes


def test_of_another_room_another_ring_or_expired():
    wrong = [ticket(room="drop")[1], ticket(ring=OTHERS)[1]]
    old = [a_pass(expires=NOW - 1)[1], a_pass(room="drop")[1], a_pass(ring=OTHERS)[1], ticket()[1]]
    for value in wrong:
        assert not read(cookie((b"gate_ticket_checkout", value))).tickets
    for value in old:
        assert not read(cookie((b"gate_pass_checkout", value))).passes


def test_of_several_exactly_one_good_one_counts():
    place, signed = ticket()
    visit = read(
        cookie((b"gate_ticket_checkout", b"forged"), (b"gate_ticket_checkout", signed), (b"gate_ticket_checkout", signed))
    )
    assert visit.tickets["checkout"] == place


def test_two_good_tickets_that_differ_count_as_none():
    visit = read(cookie((b"gate_ticket_checkout", ticket(7)[1]), (b"gate_ticket_checkout", ticket(8)[1])))
    assert "checkout" not in visit.tickets


def test_more_copies_than_are_looked_at():
    junk = [(b"gate_ticket_checkout", b"junk%d" % n) for n in range(50)]
    assert not read(cookie(*junk, (b"gate_ticket_checkout", ticket()[1]))).tickets


def test_of_two_copies_of_a_pass_the_renewed_one():
    short, long = a_pass(NOW + 10), a_pass(NOW + 500)
    for one, other in ((short, long), (long, short)):
        visit = read(cookie((b"gate_pass_checkout", one[1]), (b"gate_pass_checkout", other[1])))
        assert visit.passes["checkout"].expires == NOW + 500
    stranger = a_pass(id_="id-9")
    assert not read(cookie((b"gate_pass_checkout", short[1]), (b"gate_pass_checkout", stranger[1]))).passes


def test_by_https_the_host_prefix_comes_first():
    mine, planted = ticket(7), ticket(8)
    pairs = ((b"gate_ticket_checkout", planted[1]), (b"__Host-gate_ticket_checkout", mine[1]))
    assert read(cookie(*pairs), tls=True).tickets["checkout"] == mine[0]
    assert read(cookie(*pairs), tls=False).tickets["checkout"] == planted[0]
    assert read(cookie(pairs[0]), tls=True).tickets["checkout"] == planted[0]  # got before the edge spoke https


def test_by_https_a_pass_counts_only_under_the_name_that_nobody_else_can_set():
    mine, planted = a_pass(id_="id-7"), a_pass(id_="id-8")
    bare, prefixed = (b"gate_pass_checkout", planted[1]), (b"__Host-gate_pass_checkout", mine[1])
    assert not read(cookie(bare), tls=True).passes
    assert not read(cookie(bare), (b"x-forwarded-proto", b"https"), peer="10.0.0.1").passes
    assert read(cookie(bare, prefixed), tls=True).passes["checkout"] == mine[0]
    assert read((b"gate-pass", planted[1]), tls=True).passes["checkout"] == planted[0]  # no cookie: set by the program itself
    assert read(cookie(bare)).passes["checkout"] == planted[0]
    assert read(cookie(prefixed)).passes["checkout"] == mine[0]  # the edge has forgotten X-Forwarded-Proto


def test_in_header_fields_for_apps():
    place, signed = ticket(room="drop")
    right, granted = a_pass(room="drop")
    visit = read((b"gate-ticket", signed), (b"gate-pass", granted), cookie((b"gate_ticket_drop", ticket(9, "drop")[1])))
    assert visit.tickets["drop"] == place
    assert visit.passes["drop"] == right
    assert list(visit.tickets) == ["drop"]


def test_signatures_are_checked_only_when_asked_for():
    class Counting(KeyRing):
        reads = 0

        def read_ticket(self, token, room):
            Counting.reads += 1
            return super().read_ticket(token, room)

    ring = Counting(RING.keys)
    headers = (HOST, cookie((b"gate_ticket_checkout", ticket()[1])))
    visit = read_visit("GET", b"/", headers, "203.0.113.7", False, settings=SETTINGS, trust=TRUST, keyring=ring, now=NOW)
    assert Counting.reads == 0
    assert visit.tickets.get("checkout") is visit.tickets["checkout"]
    assert Counting.reads == 1
