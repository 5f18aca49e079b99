"""Forward-auth: what each edge asks, and what it gets."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gate.core.answer import Answer
from gate.core.credentials import Key, KeyRing, Pass, Ticket
from gate.core.decision import Decision
from gate.core.facts import Refusal, read_visit
from gate.core.path import canonical
from gate.core.settings import Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.edges import trust_for
from gate.web.authorize import authorize, denied, dialect_of, request_of
from gate.web.unlisted import MOST, Unlisted

PASS = Pass("checkout", "id", 0.0, 1000.0)
SETTINGS = Settings.model_validate({"rooms": {"checkout": {"match": "/checkout/**", "rate": "1/minute"}}})
LET_IN = Decision(Outcome.FORWARD, Reason.PASS, room="checkout", held=PASS)
ADMITTED = Decision(Outcome.FORWARD, Reason.ADMITTED, room="checkout", granted=PASS)
WAIT = Decision(Outcome.WAIT, Reason.LINE, room="checkout")
COOKIE = (b"set-cookie", b"gate_pass_checkout=new")


class Engine:
    settings = SETTINGS
    snapshot = Snapshot(store_up=True, rooms={"checkout": RoomView("checkout")})

    def __init__(self, decision=LET_IN, status=503, cookies=()):
        self.decision, self.status, self.cookies = decision, status, cookies
        self.considered = []

    async def consider(self, visit):
        self.considered.append(visit)
        return self.decision

    def answer(self, visit, decision):
        return Answer(self.status, ((b"retry-after", b"5"), (b"set-cookie", b"gate_ticket_checkout=t")), b"page")

    def refuse(self, refusal, wants="html", languages=()):
        label = Decision(Outcome.REFUSE, refusal.reason).label.encode()
        return Answer(refusal.status, ((b"gate-decision", label),), refusal.detail.encode())

    def headers_for_origin(self, visit, decision):
        return ((b"gate-room", b"checkout"), (b"gate-visitor", b"id"))

    def headers_for_visitor(self, visit, decision):
        return ((b"gate-decision", decision.label.encode()), *self.cookies, (b"cache-control", b"no-store"))


def asking(dialect="caddy", uri=b"/checkout?x=1", method=b"GET", *, asks=True, **more):
    headers = ((b"x-forwarded-uri", uri), (b"x-forwarded-method", method))
    if dialect == "nginx":
        headers = ((b"x-original-uri", uri), (b"x-original-method", method))
    path, _ = canonical(b"/__gate/authorize")
    query = b"dialect=" + dialect.encode()
    visit = Visit("GET", "http", "shop.example", path, query, headers, ip_address("203.0.113.7"), edge=True, asks=asks)
    return replace(visit, **more)


def envoy(target=b"/checkout?x=1", method="POST"):
    path, query = canonical(b"/__gate/authorize/envoy" + target)
    return replace(asking(), method=method, path=path, query=query, headers=())


@pytest.mark.parametrize("dialect", ["nginx", "caddy", "traefik"])
def test_the_request_that_is_asked_about(dialect):
    asked = request_of(asking(dialect, b"/a%2Fb;c?d=%20", b"POST"))
    assert (asked.method, asked.path.raw, asked.query) == ("POST", b"/a%2Fb;c", b"d=%20")
    assert dialect_of(asking(dialect)) == dialect


def test_envoy_puts_it_behind_a_prefix():
    asked = request_of(envoy())
    assert (asked.method, asked.path.raw, asked.query) == ("POST", b"/checkout", b"x=1")
    assert request_of(envoy(b"")).path.raw == b"/"
    assert dialect_of(envoy()) == "envoy"


@pytest.mark.parametrize("visit", [asking(asks=False), replace(envoy(), asks=False)])
def test_being_trusted_is_no_leave_to_ask(visit):
    with pytest.raises(Refusal) as caught:
        request_of(visit)
    assert (caught.value.status, caught.value.reason) == (403, Reason.ASKER)
    assert "edge.ask" in caught.value.detail


@pytest.mark.parametrize("dialect", ["nginx", "caddy", "traefik"])
async def test_who_may_not_ask_is_told_so_with_a_decision(dialect):
    answer = await authorize(asking(dialect, asks=False), Engine())
    assert answer.status == 403
    assert dict(answer.headers)[b"gate-decision"] == b"refuse; reason=asker"


def test_an_edge_that_asks_and_may_not_is_told_once_a_minute_and_named_for_as_long():
    told = []
    unlisted = Unlisted(told.append)
    refused = sent(b"/__gate/authorize?dialect=nginx", *ORIGINAL, peer="10.0.0.2")
    for now in (0.0, 0.1, 59.0, 61.0):
        unlisted.asked(refused, now)
        assert unlisted.edges(now) == ["10.0.0.2"]
    assert told == ["10.0.0.2", "10.0.0.2"]
    assert unlisted.edges(121.5) == []


def test_what_visitors_ask_names_nobody_and_floods_nothing():
    told = []
    unlisted = Unlisted(told.append)
    unlisted.asked(sent(b"/__gate/authorize?dialect=nginx", peer="10.0.0.2"), 0.0)  # names no request: no edge's question
    assert (told, unlisted.edges(0.0)) == ([], [])
    for last in range(1, 200):
        unlisted.asked(sent(b"/__gate/authorize", *FORWARDED, peer=f"9.9.9.{last}"), 1.0)
        assert unlisted.edges(1.0) == []
    assert told == ["9.9.9.1"]
    for last in range(2, 200):
        unlisted.asked(sent(b"/__gate/authorize", *FORWARDED, peer=f"10.0.0.{last}"), 2.0)
    assert len(told) == MOST
    assert len(unlisted.edges(2.0)) == MOST - 1


RING = KeyRing((Key("k1", bytes(range(32))),))


def sent(target, *fields, peer="10.0.0.1", method="GET"):
    """What the door makes of an edge's question."""
    settings = Settings.model_validate({"edge": {"trust": ["10.0.0.0/8", "cloudflare"], "ask": ["10.0.0.1"]}})
    headers = ((b"host", b"shop.example"), (b"x-forwarded-for", b"198.51.100.7"), *fields)
    return read_visit(
        method, target, headers, peer, False, settings=settings, trust=trust_for(settings.edge), keyring=RING, now=0.0
    )


FORWARDED = ((b"x-forwarded-method", b"POST"), (b"x-forwarded-uri", b"/checkout"))
ORIGINAL = ((b"x-original-method", b"POST"), (b"x-original-uri", b"/checkout"))


@pytest.mark.parametrize("peer", ["10.0.0.2", "104.16.1.1", "203.0.113.9"])
@pytest.mark.parametrize(
    "target", [b"/__gate/authorize", b"/__gate/authorize?dialect=nginx", b"/__gate/authorize/envoy/checkout"]
)
def test_visitors_behind_a_trusted_edge_may_not_ask(peer, target):
    with pytest.raises(Refusal) as caught:
        request_of(sent(target, *FORWARDED, *ORIGINAL, peer=peer))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("dialect", "own", "other"),
    [
        (b"caddy", FORWARDED, ORIGINAL),
        (b"traefik", FORWARDED, ORIGINAL),
        (b"", FORWARDED, ORIGINAL),
        (b"nginx", ORIGINAL, FORWARDED),
    ],
)
def test_what_a_visitor_adds_in_the_other_family_names_no_request(dialect, own, other):
    """Every edge passes on the headers that it does not set."""
    target = b"/__gate/authorize?dialect=" + dialect
    for index, free in ((0, b"GET"), (1, b"/")):
        name = other[index][0]
        with pytest.raises(Refusal) as caught:
            request_of(sent(target, *own, (name, free)))
        assert caught.value.status == 403
        with pytest.raises(Refusal):
            request_of(sent(target, (name, free), own[1 - index]))  # nor does it fill a gap
        with pytest.raises(Refusal):
            request_of(sent(target, (name, own[index][1]), (name, free), *own))
        asked = request_of(sent(target, *own, (name, own[index][1])))
        assert (asked.method, asked.path.raw) == ("POST", b"/checkout")


def test_for_envoy_the_path_counts_and_nothing_else():
    target = b"/__gate/authorize/envoy/checkout?x=1"
    asked = request_of(sent(target, method="POST"))
    assert (asked.method, asked.path.raw, asked.query) == ("POST", b"/checkout", b"x=1")
    for field in ((b"x-original-uri", b"/"), (b"x-forwarded-uri", b"/"), (b"x-forwarded-method", b"GET")):
        with pytest.raises(Refusal):
            request_of(sent(target, field, method="POST"))


@pytest.mark.parametrize("uri", [b"/__gate/authorize", b"/__GATE/authorize/envoy/checkout", b"/__gate%2Fauthorize"])
def test_the_question_itself_is_not_for_visitors(uri):
    with pytest.raises(Refusal) as caught:
        request_of(asking(uri=uri))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"x-forwarded-uri", b"/a"),),
        ((b"x-forwarded-method", b"GET"),),
        ((b"x-forwarded-uri", b"/a"), (b"x-forwarded-uri", b"/checkout"), (b"x-forwarded-method", b"GET")),
        ((b"x-forwarded-uri", b"http://shop.example/"), (b"x-forwarded-method", b"GET")),
        ((b"x-forwarded-uri", b"/a/../checkout"), (b"x-forwarded-method", b"GET")),
        ((b"x-forwarded-uri", b"/a"), (b"x-forwarded-method", b"GET /")),
    ],
)
def test_questions_that_are_none(headers):
    with pytest.raises(Refusal):
        request_of(asking(headers=headers))


@pytest.mark.parametrize("dialect", ["nginx", "caddy", "traefik", "envoy"])
async def test_yes_is_a_200_with_what_the_origin_gets(dialect):
    visit = replace(envoy() if dialect == "envoy" else asking(dialect), passes={"checkout": PASS})
    visit = replace(visit, headers=(*visit.headers, (b"cookie", b"a=b; gate_pass_checkout=x"), (b"cookie", b"c=d")))
    answer = await authorize(visit, Engine())
    assert answer.status == 200
    fields = dict(answer.headers)
    assert fields[b"gate-room"] == b"checkout"
    assert fields[b"gate-decision"] == b"forward; room=checkout; reason=pass"
    renamed = b"gate-cookie" if dialect in ("nginx", "caddy") else b"cookie"  # the others cannot rename what they copy
    assert fields[renamed] == b"a=b; c=d"
    assert not answer.body


@pytest.mark.parametrize("status", [200, 202, 429, 503])
@pytest.mark.parametrize(
    ("dialect", "expected"),
    [("nginx", {401}), ("caddy", {429, 503}), ("traefik", {429, 503}), ("envoy", {429})],
)
async def test_no_is_a_no_to_this_edge_whatever_the_room_says(dialect, expected, status):
    visit = replace(envoy() if dialect == "envoy" else asking(dialect), passes={"checkout": PASS})
    answer = await authorize(visit, Engine(WAIT, status))
    assert answer.status in expected
    if dialect != "nginx":
        assert answer.body == b"page"
        assert dict(answer.headers)[b"retry-after"] == b"5"


def test_no_to_nginx_is_401_or_403_and_nothing_else():
    for status in range(200, 600):
        assert denied("nginx", Answer(status)).status in (401, 403)
        assert 300 <= denied("envoy", Answer(status)).status < 500
        assert denied("caddy", Answer(status)).status >= 300


async def test_asking_for_nginx_takes_no_place_and_no_token():
    """A newcomer, and the holder of a called ticket: the gate is asked again by the request itself."""
    engine = Engine()
    called = Ticket("checkout", 0, 1, 0, "t")
    for visit in (asking("nginx"), asking("nginx", tickets={"checkout": called})):
        assert (await authorize(visit, engine)).status == 401
    assert not engine.considered
    assert (await authorize(asking("nginx", b"/other"), engine)).status == 200
    assert len(engine.considered) == 1


async def test_caddy_drops_cookies_of_a_yes_so_they_come_with_a_redirect():
    engine = Engine(ADMITTED, cookies=(COOKIE,))
    answer = await authorize(asking("caddy", b"/a%2Fb/checkout?x=%0a"), engine)
    assert answer.status == 307
    assert dict(answer.headers)[b"location"] == b"/a%2Fb/checkout?x=%0a"
    assert COOKIE in answer.headers
    answer = await authorize(asking("caddy", method=b"POST"), engine)
    assert answer.status == 307
    renewed = Engine(LET_IN, cookies=(COOKIE,))
    assert (await authorize(asking("caddy", method=b"POST"), renewed)).status == 200  # not worth sending a body twice


@pytest.mark.parametrize("dialect", ["nginx", "traefik"])
async def test_one_cookie_at_most_comes_with_a_yes(dialect):
    engine = Engine(ADMITTED, cookies=(COOKIE, (b"set-cookie", b"gate_ticket_checkout=; Max-Age=0")))
    answer = await authorize(asking(dialect, passes={"checkout": PASS}), engine)
    assert [field for field in answer.headers if field[0] == b"set-cookie"] == [COOKIE]


async def test_the_gates_own_paths_are_let_through():
    engine = Engine(Decision(Outcome.OWN, Reason.ENDPOINT))
    assert (await authorize(asking("nginx", b"/__gate/rooms/checkout/status"), engine)).status == 200


async def test_a_target_that_cannot_be_read_is_a_no_everywhere():
    for dialect in ("nginx", "caddy", "traefik"):
        assert (await authorize(asking(dialect, b"/a/%2e%2e/checkout"), Engine())).status == 403


async def test_an_edge_forwards_the_spelling_that_was_decided_on_or_none():
    engine = Engine()
    assert (await authorize(asking("nginx", b"//evil.example/checkout"), engine)).status == 401
    answer = await authorize(asking("caddy", b"//evil.example/checkout?x"), engine)
    assert (answer.status, dict(answer.headers)[b"location"]) == (307, b"/evil.example/checkout?x")  # never another host
    assert (await authorize(envoy(b"//evil.example/checkout"), engine)).status == 403
    assert not engine.considered
    assert (await authorize(asking("nginx", b"/products?"), engine)).status == 200
