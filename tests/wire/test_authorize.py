"""Forward-auth: what each edge asks, and what it gets."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gate.core.answer import Answer
from gate.core.credentials import Pass, Ticket
from gate.core.decision import Decision
from gate.core.facts import Refusal
from gate.core.path import canonical
from gate.core.settings import Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.wire.authorize import authorize, denied, dialect_of, request_of

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
        return Answer(refusal.status, (), refusal.detail.encode())

    def headers_for_origin(self, visit, decision):
        return ((b"gate-room", b"checkout"), (b"gate-visitor", b"id"))

    def headers_for_visitor(self, visit, decision):
        return ((b"gate-decision", decision.label.encode()), *self.cookies, (b"cache-control", b"no-store"))


def asking(dialect="caddy", uri=b"/checkout?x=1", method=b"GET", *, edge=True, **more):
    headers = ((b"x-forwarded-uri", uri), (b"x-forwarded-method", method))
    if dialect == "nginx":
        headers = ((b"x-original-uri", uri), (b"x-original-method", method))
    path, _ = canonical(b"/__gate/authorize")
    visit = Visit(
        "GET", "http", "shop.example", path, b"dialect=" + dialect.encode(), headers, ip_address("203.0.113.7"), edge=edge
    )
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


def test_only_an_edge_may_ask():
    with pytest.raises(Refusal) as caught:
        request_of(asking(edge=False))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"x-forwarded-uri", b"/a"), (b"x-forwarded-uri", b"/checkout")),
        ((b"x-forwarded-uri", b"http://shop.example/"),),
        ((b"x-forwarded-uri", b"/a/../checkout"),),
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
    assert fields[b"gate-cookie"] == b"a=b; c=d"
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
