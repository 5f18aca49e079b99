"""httplint on every kind of answer that the gate makes itself."""

import pytest

httplint = pytest.importorskip("httplint")
from httplint.note import levels  # noqa: E402 - after importorskip

from gate.core.orders import Orders, RoomOrders  # noqa: E402 - after importorskip
from gate.core.words import RoomMode, Shedding, Switch  # noqa: E402 - after importorskip
from gate.web.emails import Emails  # noqa: E402 - after importorskip
from gate.web.visitor import visitor_app  # noqa: E402 - after importorskip
from gate.wire.door import Door  # noqa: E402 - after importorskip

ACCEPTS = ["text/html,*/*;q=0.8", "application/json"]


def lint(status, fields, body, method):
    linter = httplint.HttpResponseLinter(no_content=method == "HEAD")
    linter.process_response_topline(b"HTTP/1.1", str(status).encode(), b"")
    linter.process_headers([(name.encode(), value.encode("latin-1")) for name, values in fields.items() for value in values])
    if method != "HEAD":
        linter.feed_content(body)
    linter.finish_content(True)
    return [note.summary for note in linter.notes if note.level is levels.BAD]


@pytest.fixture
async def asked(start, tmp_path, monkeypatch):
    """``await asked("/path", …)``: status and complaints."""
    gate = await start(
        limits=[{"match": "/limited", "rate": "1/minute"}],
        routes=[{"match": "/side", "class": "sheddable", "fallback": {"json": {"rate": 7.99}}}],
        fallback={"phone": "+1 555 0100"},
        hosts=["shop.test"],
    )
    emails = Emails(tmp_path / "emails.db")
    gate.door.app = visitor_app(gate.engine, emails)

    async def ask(target, *fields, method="GET", orders=None):
        gate.engine.orders = orders or Orders()
        gate.engine.compose()
        visitor = await gate.visitor()
        status, answer, body = await visitor.get(target, *fields, method=method)
        return status, lint(status, answer, body, method)

    ask.gate = gate
    yield ask
    emails.close()


@pytest.mark.parametrize("accept", ACCEPTS, ids=["html", "json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_decisions(asked, accept, method):
    cases = [
        ("/checkout/pay", None, 503),
        ("/checkout/pay", Orders(rooms={"checkout": RoomOrders(mode=RoomMode.CLOSED)}), 503),
        ("/checkout/pay", Orders(rooms={"checkout": RoomOrders(mode=RoomMode.HOLD)}), 503),
        ("/page", Orders(fallback=Switch.ON), 503),
        ("/side", Orders(shedding=Shedding.SHEDDABLE), 200),
        ("/page", Orders(shedding=Shedding.NORMAL), 503),
        ("/a/../../x", None, 400),
        ("/page", None, 200),
    ]
    for target, orders, expected in cases:
        status, notes = await asked(target, f"Accept: {accept}", method=method, orders=orders)
        assert status == expected, target
        assert notes == [], (target, orders)


@pytest.mark.parametrize("accept", ACCEPTS, ids=["html", "json"])
async def test_the_gates_own_endpoints(asked, accept):
    for target in (
        "/__gate/rooms/checkout/status",
        "/__gate/rooms/checkout/ticket",
        "/__gate/rooms/none/status",
        "/__gate/live",
        "/__gate/ready",
        "/__gate/nothing",
    ):
        _, notes = await asked(target, f"Accept: {accept}")
        assert notes == [], target


async def test_a_bad_answer_is_found(asked):
    assert lint(200, {"content-length": ["9"], "cache-control": ["max-age=x"]}, b"short", "GET")
    assert isinstance(asked.gate.door, Door)
