"""The fast path answers what the slow path would have answered, for anything hypothesis thinks of."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.address import Trust
from gate.core.credentials import Pass
from gate.core.decide import decide
from gate.core.decision import Decision
from gate.core.facts import Refusal, read_visit
from gate.core.orders import Orders, RoomOrders
from gate.core.settings import Edge
from gate.core.words import Outcome, RoomMode, Shedding, Switch
from gate.wire import headers
from gate.wire.heads import BODIED, lines, request_framing
from gate.wire.parser import LONGEST_COMMON, Limits, Parser
from gate.wire.plan import Plans
from gate.wire.way import Way
from tests.wire.rig import make_engine, pass_for, values_of

CONFIG = {
    "rooms": {
        "checkout": {"match": ["/checkout/**", "POST /cart/add"], "rate": "60/minute"},
        "vip": {"match": "/vip/**", "rate": "60/minute", "bypass": [{"header": {"X-Key": "sesame"}}]},
    },
    "routes": [
        {"match": "/reviews/**", "class": "sheddable", "fallback": {"status": 204}},
        {"match": "/checkout/rates", "breaker": {}},
    ],
    "limits": [{"match": "/search", "rate": "20/minute"}],
}

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
TARGETS = st.sampled_from(
    [
        "/", "/a?b=c", "/checkout", "/checkout/", "/checkout/pay?x=1", "/CHECKOUT/pay", "/checkout;v=1/pay", "/%63heckout/x",
        "//checkout//x", "/checkout%2Fpay", "/cart/add", "/vip/x", "/search", "/reviews/7", "/checkout/rates", "/__gate/live",
        "/__GATE/live", "/__gateway", "http://shop.test/checkout/x",
    ]
)  # fmt: skip
FIELDS = st.lists(
    st.sampled_from(
        [
            "Accept: */*", "accept-language: en", "User-Agent: x", "X-Forwarded-For: 6.6.6.6",
            "x-forwarded-for: 10.0.0.9, 7.7.7.7",
            "X-Forwarded-Proto: https", "Forwarded: for=9.9.9.9", "X-Real-IP: 1.1.1.1", "Via: 1.1 cdn", "Via: 1.1 floodgate",
            "Connection: keep-alive", "Connection: close, X-A\r\nX-A: 1", "Connection: Cookie", "X-A: 1",
            "TE: trailers", "Keep-Alive: 5",
            "X-Original-URL: /admin", "X-HTTP-Method-Override: DELETE", "Proxy-Authorization: x", "Proxy: x",
            "Gate-Visitor: evil",
            "Gate-Signature: evil", "CF-Connecting-IP: 5.5.5.5", "X-Key: sesame", "Authorization: Bearer x",
            "Expect: 100-continue",
            "Content-Type: text/plain", "Cookie: a=b", "Cookie: gate_ticket_checkout=zzz; b=c", "X-Edge-Client: 8.8.8.8",
            "Upgrade: websocket", "Range: bytes=0-1",
        ]
    ),
    max_size=7,
)  # fmt: skip
PASSES = st.sampled_from(
    ["none", "good", "good", "good", "expiring", "expired", "revoked", "forged", "other room", "twice", "two", "host prefix",
     "header",
     "quoted", "inside", "odd spaces"]
)  # fmt: skip


def cookie(make, kind):
    good = make(600)
    table = {
        "none": None,
        "good": f"gate_pass_checkout={good}",
        "expiring": f"gate_pass_checkout={make(200)}",
        "expired": f"gate_pass_checkout={make(-10)}",
        "revoked": f"gate_pass_checkout={make(600, 'gone')}",
        "forged": f"gate_pass_checkout={good[:-4]}AAAA",
        "other room": f"gate_pass_checkout={make(600, 'x', 'vip')}; gate_pass_vip={make(600, 'x', 'vip')}",
        "twice": f"gate_pass_checkout={good}; x=1; gate_pass_checkout={good}",
        "two": f"gate_pass_checkout={good}; gate_pass_checkout={make(600, 'second')}",
        "host prefix": f"x=1; __Host-gate_pass_checkout={good}; y=2",
        "quoted": f'gate_pass_checkout="{good}"',
        "inside": f"evil_gate_pass_checkout={good}; a=1",
        "odd spaces": f"a=1;gate_pass_checkout={good} ;  b=2;",
    }
    if kind == "header":
        return f"Gate-Pass: {good}"
    return f"Cookie: {table[kind]}" if table[kind] else None


ORDERS = st.builds(
    Orders,
    version=st.just(1),
    fallback=st.sampled_from([Switch.AUTO, Switch.AUTO, Switch.ON]),
    shedding=st.sampled_from([Shedding.AUTO, Shedding.AUTO, Shedding.SHEDDABLE, Shedding.NORMAL]),
    rooms=st.fixed_dictionaries({"checkout": st.builds(RoomOrders, mode=st.sampled_from(list(RoomMode)))}),
)


def sorted_lines(block):
    head, *fields = block[:-4].split(b"\r\n")
    pairs = [(line.partition(b":")[0].lower(), line.partition(b":")[2].strip()) for line in fields]
    names = {name for name, _ in pairs}
    return head, {name: [value for key, value in pairs if key == name] for name in names}


HITS: list[str] = []
ENGINE = make_engine(**CONFIG)
NOW = 1_800_000_000.0
ENGINE.now = lambda: NOW
SHARED: dict[object, tuple[Parser, Plans]] = {}  # what one worker has learned from all examples so far, by its config


class Peer:
    """What the fast path looks at of a connection."""

    peer, common, lines, secure = "10.0.0.1", None, b"", False

    def __init__(self, tls):
        self.tls = tls


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    METHODS, TARGETS, FIELDS, PASSES, ORDERS, st.booleans(), st.booleans(), st.sampled_from([None, "X-Edge-Client"]),
    st.sampled_from([0, 1, 2]), st.booleans(),
)  # fmt: skip
def check_one(method, target, fields, pass_kind, orders, tls, trusted, edge_header, body, breaker_open):
    edge = {"trust": ["10.0.0.0/8"] if trusted else [], "header": edge_header}
    engine = ENGINE
    engine.orders = orders
    engine.trust = Trust.of(Edge.model_validate(edge), {})
    engine.compose()
    view = replace(engine.snapshot.rooms["checkout"], revoked=frozenset({"gone"}))
    engine.snapshot = replace(
        engine.snapshot,
        rooms={**engine.snapshot.rooms, "checkout": view},
        open_breakers=frozenset({"/checkout/rates"}) if breaker_open else frozenset(),
    )

    def make(lives, id_="p", room="checkout"):
        return engine.keyring.sign_pass(Pass(room, id_, NOW, NOW + lives))

    carried = cookie(make, pass_kind)
    all_fields = ["Host: Shop.test", *fields, *([carried] if carried else [])]
    if body:
        all_fields.append("Content-Length: 3" if body == 1 else "Transfer-Encoding: chunked")
    block = "".join(f"{line}\r\n" for line in [f"{method} {target} HTTP/1.1", *all_fields, ""]).encode()
    special = frozenset({edge_header.lower().encode()} if edge_header else ())
    parser = Parser(Limits(), special)
    plans = Plans(engine, parser)
    try:
        head = parser.read(block)
        visit = read_visit(
            head.method, head.start.target, head.fields(), "10.0.0.1", tls,
            settings=engine.settings, trust=engine.trust, keyring=engine.keyring, now=NOW,
        )  # fmt: skip
    except Refusal:
        return
    plans.learn(head, visit)
    # the first time it learns, the second time it remembers; and so does one who has seen many others before
    places = [(parser, plans, Peer(tls)), (parser, plans, Peer(tls)), (*_shared(engine, special, trusted), Peer(tls))]
    for parser, plans, peer in places:
        head = parser.recall(block) or parser.read(block)
        plans.learn(head, visit)
        known = plans.quick(head.start.plan, head, peer) if head.start.plan is not None else None
        if known is None:
            return
        decision, way, request = known
        expected = decide(visit, engine.snapshot, engine.settings)
        assert isinstance(expected, Decision)
        assert expected.outcome is Outcome.FORWARD
        assert decision == expected
        slow = Way(engine, expected, engine.headers_for_visitor(visit, expected))
        assert (way.added, way.caches, way.first_byte) == (slow.added, slow.caches, slow.first_byte)
        outgoing = headers.for_origin(visit, engine.headers_for_origin(visit, expected))
        path = visit.path.raw + (b"?" + visit.query if visit.query else b"")
        wanted = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (
            method.encode(), path, lines(outgoing), request_framing(head.length, bodied=method in BODIED),
        )  # fmt: skip
        assert sorted_lines(request) == sorted_lines(wanted)
        HITS.append(pass_kind)


def _shared(engine, special, trusted):
    key = special, trusted
    if key not in SHARED:
        parser = Parser(Limits(), special)
        SHARED[key] = parser, Plans(engine, parser)
    return SHARED[key]


def test_the_fast_path_is_the_slow_path():
    """And it was really taken: the property would hold for a fast path that never answers."""
    HITS.clear()
    SHARED.clear()
    check_one()
    assert len(HITS) > 100
    assert {"none", "good", "host prefix"} <= set(HITS)


async def test_a_health_check_under_any_host_opens_no_way_for_that_host(start):
    gate = await start(hosts=["shop.test"])
    for _ in range(2):  # the first time it learns, the second time it remembers
        for target, host, status in (
            ("/__gate/ready", "10.9.8.7", 200),
            ("/x", "shop.test", 200),
            ("/x", "10.9.8.7", 421),
            ("/__gate/rooms/checkout/status", "10.9.8.7", 421),
        ):
            visitor = await gate.visitor()
            await visitor.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await visitor.answer())[0] == status
            visitor.close()


@pytest.mark.parametrize(("name", "through"), [("gate_pass_checkout", False), ("__Host-gate_pass_checkout", True)])
async def test_by_https_a_pass_without_the_prefix_goes_no_way(start, name, through):
    gate = await start(edge={"trust": ["127.0.0.1"]})
    visitor = await gate.visitor()
    token = pass_for(gate.engine)
    for scheme, expected in (("http", True), ("https", through), ("http", True), ("https", through)):
        status, fields, _ = await visitor.get("/checkout", f"Cookie: {name}={token}", f"X-Forwarded-Proto: {scheme}")
        assert (status == 200) == expected, (scheme, fields["gate-decision"])


async def test_who_claims_a_long_way_is_not_remembered(start):
    """Anybody may send such lines, a new one with every request."""
    gate = await start()
    visitor = await gate.visitor()
    remembered = gate.door.plans._forwarded
    for size, kept in ((2, True), (LONGEST_COMMON, False)):
        for number in range(4):
            before = len(remembered)
            status, _, _ = await visitor.get("/a", f"X-Forwarded-For: {number}{'1' * size}")
            assert (status, values_of(gate.origin.heads[-1], b"x-forwarded-for")) == (200, [b"127.0.0.1"])
        assert (len(remembered) > before) == kept
