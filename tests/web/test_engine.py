"""The engine: what feeds health, breakers and shedding, whose cookies are set, and who may join."""

import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from gate.core.credentials import Pass, Ticket
from gate.core.decision import Decision, Entry, Quota
from gate.core.path import canonical
from gate.core.settle import Result, Trouble
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from tests.web.conftest import ROOM

FORWARD = Decision(Outcome.FORWARD, Reason.UNGUARDED)


def visit(path: bytes, method: str = "GET", address: str = "203.0.113.9", headers=()) -> Visit:
    return Visit(method, "http", "shop.test", canonical(path)[0], b"", headers, ip_address(address))


def start(engine, decision: Decision):
    return engine.lane(decision.route).start(engine.ticks())


def attempt(engine, decision: Decision, *results: Result) -> None:
    for result in results:
        settle(engine, start(engine, decision), decision, result)


def settle(engine, one, decision: Decision, result: Result) -> Decision:
    since = engine.ticks() - result.seconds
    if result.status is not None:
        return one.answered(decision, result.status, since)
    return one.failed(decision, result.trouble, since)


# ----------------------------------------------------------------------- health, load, breakers


def test_our_own_full_pool_is_not_a_sick_shop(gate):
    attempt(gate.engine, FORWARD, *[Result(trouble=Trouble.BUSY)] * 50)
    assert gate.engine.shop.health.up
    assert gate.engine.shop.overload.current == 0


def test_connections_refused_take_the_shop_down_at_once(gate):
    attempt(gate.engine, FORWARD, *[Result(trouble=Trouble.CONNECT)] * 12)
    assert gate.engine.snapshot.fallback_on


async def test_a_hanging_side_service_takes_neither_the_shop_nor_its_pages_away(make_gate):
    place = make_gate(
        routes=[{"match": "/reviews/**", "class": "sheddable", "fallback": {"status": 204}, "breaker": {"failures": 1000}}]
    )
    engine = place.engine
    await engine.refresh()
    hanging = await engine.consider(visit(b"/reviews/7"))
    for _ in range(60):
        attempt(engine, hanging, Result(trouble=Trouble.TIMEOUT, seconds=15.0))
        attempt(engine, FORWARD, Result(status=200, seconds=0.01))
    engine.compose()
    assert engine.shop.health.up
    assert engine.snapshot.overload <= 1
    assert (await engine.consider(visit(b"/product/7"))).outcome is Outcome.FORWARD


def test_answers_that_have_begun_are_no_load(gate):
    for _ in range(1000):
        attempt(gate.engine, FORWARD, Result(status=101))
    gate.engine.compose()
    assert gate.engine.snapshot.overload == 0


async def test_measured_overload_sheds_the_sheddable_first_and_recovers(make_gate):
    place = make_gate(
        shedding={"in_flight": 5, "latency": "1s"},
        routes=[{"match": "/reviews/**", "class": "sheddable", "fallback": {"status": 204}}],
    )
    engine = place.engine
    ticks = [1000.0]
    engine.ticks = lambda: ticks[0]
    waiting = [start(engine, FORWARD) for _ in range(6)]
    engine.compose()
    assert (await engine.consider(visit(b"/reviews/7"))).label == "shed; reason=overload"
    assert (await engine.consider(visit(b"/product/7"))).outcome is Outcome.FORWARD
    waiting += [start(engine, FORWARD) for _ in range(6)]
    engine.compose()
    assert (await engine.consider(visit(b"/product/7"))).label == "shed; reason=overload"
    for one in waiting:
        one.left()
    ticks[0] += 6
    engine.compose()
    assert (await engine.consider(visit(b"/reviews/7"))).outcome is Outcome.FORWARD


async def test_after_an_abandoned_probe_one_goes_through_and_no_more(make_gate):
    place = make_gate(routes=[{"match": "/api", "breaker": {"open": "1s"}, "fallback": {"status": 204}}])
    engine = place.engine
    ticks = [100.0]
    engine.ticks = lambda: ticks[0]
    await engine.refresh()
    attempt(engine, await engine.consider(visit(b"/api")), *[Result(status=500)] * 3)
    assert (await engine.consider(visit(b"/api"))).label == "fallback; reason=breaker"
    ticks[0] += 2
    await engine.refresh()
    start(engine, await engine.consider(visit(b"/api"))).left()
    through = 0
    for _ in range(50):
        decision = await engine.consider(visit(b"/api"))
        if decision.outcome is Outcome.FORWARD:
            start(engine, decision)
            through += 1
    assert through == 1


# ----------------------------------------------------------------------- who joins, whose cookies


async def test_a_preflight_takes_no_token_and_no_place(gate):
    await gate.ask("OPTIONS", "/checkout", cookies=False, origin="https://app.test", access_control_request_method="POST")
    assert "join" not in gate.room.calls


async def test_a_form_of_another_site_costs_nobody_a_token_a_place_or_a_pass(gate):
    reply = await gate.ask("POST", "/checkout", cookies=False, sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert reply["gate-decision"].startswith("wait")
    assert not reply.all("set-cookie")
    assert "join" not in gate.room.calls


async def test_a_shadow_room_numbers_visitors_and_not_requests(make_gate):
    place = make_gate(rooms={"checkout": {"match": ["/checkout/**"], "rate": "120/minute", "shadow": True}})
    before = place.room.last
    for _ in range(10):
        assert "shadow" in (await place.ask("GET", "/checkout"))["gate-decision"]
    assert place.room.last - before == 1


async def test_a_canned_answer_with_a_pass_is_nobody_elses(make_gate):
    canned = {"json": {"rate": 1}, "headers": {"Cache-Control": "public, max-age=60"}}
    place = make_gate(routes=[{"match": "/checkout/rates", "breaker": {}, "fallback": canned}])
    await place.engine.refresh()
    attempt(place.engine, await _held(place), *[Result(status=500)] * 3)

    async def renew(*_: object) -> None:
        return None

    place.room.renew = renew
    held = Pass("checkout", "id1", time.time() - 500, time.time() + 100)  # due for renewal
    reply = await place.ask(
        "GET", "/checkout/rates", cookies=False, cookie="gate_pass_checkout=" + place.engine.keyring.sign_pass(held)
    )
    assert reply["gate-decision"].startswith("fallback")
    assert reply.all("set-cookie")
    assert reply.all("cache-control") == ["private, no-store"]


async def _held(place) -> Decision:
    held = Pass("checkout", "id0", time.time(), time.time() + 600)
    path = canonical(b"/checkout/rates")[0]
    asked = Visit("GET", "http", "shop.test", path, b"", (), ip_address("203.0.113.9"), passes={"checkout": held})
    return await place.engine.consider(asked)


def test_an_admission_whose_request_then_failed_is_counted_once(gate):
    granted = Pass("checkout", "x", 0, time.time() + 600)
    decision = Decision(Outcome.FORWARD, Reason.ADMITTED, room="checkout", granted=granted)
    gate.engine.meter.decided(decision)  # as the door does when it goes out
    gate.engine.answer(
        visit(b"/checkout"), settle(gate.engine, start(gate.engine, decision), decision, Result(trouble=Trouble.RESET))
    )
    counted = [seen for seen in gate.engine.meter.seen if seen.granted and seen.outcome is Outcome.FORWARD]
    assert len(counted) == 1


async def test_a_client_over_its_limit_takes_no_token_through_the_rooms_endpoints(make_gate):
    place = make_gate(limits=[{"match": "/checkout/**", "rate": "1/minute"}])

    async def hit(*_: object) -> Quota:
        return Quota(False, 1, 60, 0, 30.0)

    place.quotas.hit = hit
    assert (await place.ask("GET", "/checkout", cookies=False)).status == 429
    for method, end in (("POST", "pass"), ("GET", "ticket")):
        reply = await place.ask(method, f"/__gate/rooms/checkout/{end}", cookies=False, accept="application/json")
        assert reply.status == 429
    assert "join" not in place.room.calls


async def test_the_mail_form_counts_a_household_once_and_counts_without_the_store(gate):
    seen = []

    async def hit(limit: object, client: str) -> None:
        seen.append(client)

    gate.engine._quotas.hit = hit
    answers = [await gate.engine.hit_form(visit(b"/__gate/notify-me", "POST", f"2001:db8::{turn}")) for turn in range(1, 9)]
    assert len(set(seen)) == 1
    assert answers == [True] * 5 + [False] * 3
    assert await gate.engine.hit_form(visit(b"/__gate/notify-me", "POST", "198.51.100.1"))


async def test_the_ticket_of_one_who_waits_for_days_outlives_its_first_cookie(gate):
    for hours, again in ((1, False), (11, False), (13, True), (47, True)):
        waits = Ticket("checkout", 1, gate.room.last, int((time.time() - hours * 3600) * 1000), "id1")
        cookie = "gate_ticket_checkout=" + gate.engine.keyring.sign_ticket(waits)
        for path in ("/checkout", "/__gate/rooms/checkout/ticket"):
            reply = await gate.ask("GET", path, cookies=False, cookie=cookie)
            assert reply["gate-decision"].startswith("wait")
            assert [field.startswith(cookie + "; Max-Age=86400;") for field in reply.all("set-cookie")] == [True] * again


async def test_a_ticket_for_a_room_that_opens_later_is_kept_until_a_day_after(make_gate):
    for days, least in ((4, 5), (60, 30)):
        opens = datetime.now(UTC) + timedelta(days=days)
        gate = make_gate(rooms={"checkout": {**ROOM, "opens": f"{opens:%Y-%m-%dT%H:%M:%SZ}"}})
        reply = await gate.ask("GET", "/checkout", cookies=False)
        (age,) = (int(part.partition("=")[2]) for part in reply["set-cookie"].split("; ") if part.startswith("Max-Age"))
        assert age == pytest.approx(least * 86400, abs=60)


async def test_an_entered_claim_gives_the_pass_and_takes_the_ticket_away(gate):
    async def join(*_: object) -> Entry:
        return Entry("entered", Ticket("checkout", 1, 501, 0, "new"), expires=time.time() + 600)

    gate.room.join = join
    reply = await gate.ask("POST", "/__gate/rooms/checkout/pass", cookies=False, accept="application/json")
    assert reply.status == 200
    assert any(field.startswith("gate_pass_checkout=") for field in reply.all("set-cookie"))
