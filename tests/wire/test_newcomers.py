"""New visitors who have to wait: answered from what is known, and in nothing else than the long way would."""

import asyncio
import re

import pytest

from gate.core.decision import Entry
from gate.core.orders import Orders, RoomOrders
from gate.core.words import Reason, RoomMode, Switch
from gate.wire.newcomers import Newcomers
from tests.wire.rig import answer_ok, eventually

LINE = "/checkout/pay?step=1&x='b'"


class Counted:
    """How many requests were answered on the short way."""

    def __init__(self, monkeypatch):
        self.short = 0
        serve = Newcomers.serve

        def counting(newcomers, visitor, head, plan):
            took = serve(newcomers, visitor, head, plan)
            self.short += took
            return took

        monkeypatch.setattr(Newcomers, "serve", counting)


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


def told(answer):
    """Without what is each visitor's own: number, ticket, when to ask again."""
    status, fields, body = answer
    fields = fields | {"cache-control": sorted(fields["cache-control"][0].split(", "))}
    fields = {
        name: values for name, values in fields.items() if name not in ("set-cookie", "date", "content-length", "retry-after")
    }
    text = re.sub(r"\d[\d.,]*", "0", body.decode())
    return status, fields, text


@pytest.mark.parametrize("form", ["text/html", "application/json"])
@pytest.mark.parametrize("language", ["en", "de, en;q=0.5", "ar"])
async def test_the_short_way_says_what_the_long_way_says(start, counted, form, language):
    gate = await start(brand={"languages": ["en", "de", "ar"]})
    gate.line.last = 4020  # from here on, every number is spoken of in the same plural form
    visitor = await gate.visitor()
    asked = (f"Accept: {form}", f"Accept-Language: {language}", "User-Agent: x")
    first = await visitor.get(LINE, *asked)
    assert counted.short == 0, "the first of its kind is read with care"
    again = [await visitor.get(LINE, *asked, f"Cookie: theme=dark{n}") for n in range(3)]
    assert counted.short == 3
    assert [told(answer) for answer in again] == [told(first)] * 3
    cookies = [answer[1]["set-cookie"][0] for answer in (first, *again)]
    tickets = [
        gate.engine.keyring.read_ticket(re.fullmatch(r"gate_ticket_checkout=([^;]+); .*", cookie)[1], "checkout")
        for cookie in cookies
    ]
    assert [ticket.number for ticket in tickets] == [4021, 4022, 4023, 4024]
    assert len({ticket.id for ticket in tickets}) == 4
    assert {cookie.partition("; ")[2] for cookie in cookies} == {"Max-Age=86400; Path=/; HttpOnly; SameSite=Lax"}
    assert len(gate.meter.decisions) + sum(tally.count for tally in gate.meter.tallies) == 4
    assert gate.origin.heads == []


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("POST", ["Content-Length: 0"]),
        ("HEAD", []),
        ("GET", ["Cookie: a=b; gate_ticket_checkout=forged"]),
        ("GET", ["Cookie: gate_pass_checkout=forged"]),
        ("GET", ["Gate-Ticket: forged"]),
        ("GET", ["Gate-Pass: forged"]),
        ("GET", ["Via: 1.1 floodgate"]),
        ("GET", ["Connection: upgrade", "Upgrade: websocket"]),
        ("GET", ["Connection: accept"]),
        ("GET", ["Content-Length: 3", "", "abc"]),
    ],
)
async def test_what_must_be_looked_at_goes_the_long_way(start, counted, method, fields):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.get(LINE)
    await visitor.get(LINE)
    assert counted.short == 1
    if method == "HEAD":
        await visitor.send(f"HEAD {LINE} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
        status, *_ = await visitor.answer(head_only=True)
    else:
        status, *_ = await visitor.get(LINE, *fields, method=method)
    assert status == 503
    assert counted.short == 1


@pytest.mark.parametrize(
    "config",
    [
        {"limits": [{"match": "/checkout/**", "rate": "5/minute"}]},
        {
            "rooms": {
                "checkout": {"match": "/checkout/**", "rate": "1/minute", "bypass": [{"header": {"x-monitor": "let-me-in-0"}}]}
            }
        },
        {"rooms": {"checkout": {"match": "/checkout/**", "rate": "1/minute", "shadow": True}}},
    ],
)
async def test_rules_that_look_at_the_visitor_are_never_skipped(start, counted, config):
    gate = await start(**config)
    visitor = await gate.visitor()
    for _ in range(3):
        await visitor.get(LINE)
    assert counted.short == 0


async def test_a_visitor_who_came_by_https_gets_the_secure_cookie(start, counted):
    gate = await start(edge={"trust": ["127.0.0.0/8"]})
    visitor = await gate.visitor()
    names = set()
    for number in range(4):
        for scheme in ("http", "https"):
            _, fields, _ = await visitor.get(LINE, f"X-Forwarded-Proto: {scheme}", f"X-Forwarded-For: 203.0.113.{number}")
            names.add((scheme, fields["set-cookie"][0].partition("=")[0], "; Secure" in fields["set-cookie"][0]))
    assert names == {("http", "gate_ticket_checkout", False), ("https", "__Host-gate_ticket_checkout", True)}
    assert counted.short == 7


async def test_the_edges_word_counts_from_the_edge_only(start, counted):
    gate = await start()
    visitor = await gate.visitor()
    for _ in range(2):
        _, fields, _ = await visitor.get(LINE, "X-Forwarded-Proto: https")
        assert fields["set-cookie"][0].startswith("gate_ticket_checkout=")
    assert counted.short == 1


async def test_orders_are_followed_with_the_next_snapshot(start, counted):
    gate = await start()
    visitor = await gate.visitor()
    decisions = []
    for orders in (
        Orders(),
        Orders(version=1, rooms={"checkout": RoomOrders(mode=RoomMode.HOLD, message="Back at <nine>")}),
        Orders(version=2, rooms={"checkout": RoomOrders(mode=RoomMode.CLOSED)}),
        Orders(version=3, rooms={"checkout": RoomOrders(mode=RoomMode.OPEN)}),
        Orders(version=4, fallback=Switch.ON),
        Orders(version=5),
    ):
        gate.engine.orders = orders
        gate.engine.compose()
        for _ in range(2):
            status, fields, body = await visitor.get(LINE)
        decisions.append((status, fields.get("gate-decision", [""])[0].partition(";")[0], b"Back at &lt;nine&gt;" in body))
    assert decisions == [
        (503, "wait", False),
        (503, "wait", True),
        (503, "closed", False),
        (200, "forward", False),
        (503, "fallback", False),
        (503, "wait", False),
    ]


async def test_a_number_that_is_not_there_at_once_is_waited_for(start, counted):
    gate = await start()
    visitors = [await gate.visitor() for _ in range(5)]
    for visitor in visitors[:2]:
        await visitor.get(LINE)
    gate.line.gate.clear()
    asking = [asyncio.create_task(visitor.get(LINE)) for visitor in visitors]
    gone = await gate.visitor()
    await gone.send(f"GET {LINE} HTTP/1.1\r\nHost: shop.test\r\n\r\n".encode())
    await eventually(lambda: counted.short == 7, "all are on the short way")
    gone.reset()
    gate.line.gate.set()
    answers = await asyncio.gather(*asking)
    assert [status for status, *_ in answers] == [503] * 5
    assert len({fields["set-cookie"][0] for _, fields, _ in answers}) == 5


async def test_whoever_gets_a_pass_at_once_goes_through(start, counted, monkeypatch):
    gate = await start(answer_ok)
    visitor = await gate.visitor()
    await visitor.get(LINE)
    join = gate.line.join

    async def enter(terms, view):
        entry = await join(terms, view)
        return Entry("entered", entry.ticket, expires=gate.engine.now() + 600)

    monkeypatch.setattr(gate.line, "join", enter)
    status, fields, _ = await visitor.get(LINE)
    assert (status, fields["gate-decision"]) == (200, ["forward; room=checkout; reason=admitted"])
    assert fields["set-cookie"][0].startswith("gate_pass_checkout=")
    assert counted.short == 1


async def test_a_line_that_breaks_is_no_500(start, counted, monkeypatch):
    gate = await start()
    await (await gate.visitor()).get(LINE)

    async def broken(terms, view):
        raise RuntimeError("a bug")

    monkeypatch.setattr(gate.line, "join", broken)
    status, _, _ = await (await gate.visitor()).get(LINE)
    assert status == 503
    monkeypatch.undo()
    assert (await (await gate.visitor()).get(LINE))[0] == 503


async def test_the_reason_is_the_stores(start, counted, monkeypatch):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.get(LINE)
    join = gate.line.join
    seen = []
    for reason in (Reason.LINE, Reason.ACTIVE, Reason.STORE):

        async def wait(terms, view, reason=reason):
            return (await join(terms, view))._replace(reason=reason)

        monkeypatch.setattr(gate.line, "join", wait)
        _, fields, _ = await visitor.get(LINE)
        seen.append(fields["gate-decision"][0].rpartition("=")[2])
        monkeypatch.undo()
    assert seen == ["line", "active", "store"]
