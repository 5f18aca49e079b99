"""The endpoints under /__gate/: what programs and forms get, and what caches may keep."""

import json
import time

import pytest

from gate.core.draw import commitment, drawn_place
from gate.core.words import RoomMode, Switch
from tests.web.conftest import ROOM

JSON = {"accept": "application/json"}
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec_fetch_mode": "navigate", "sec_fetch_site": "same-origin"}
FORM = {**BROWSER, "content_type": "application/x-www-form-urlencoded", "origin": "http://shop.test"}
STATUS, TICKET, PASS = (f"/__gate/rooms/checkout/{part}" for part in ("status", "ticket", "pass"))


# --------------------------------------------------------------------------- status


async def test_the_status_document_is_the_same_for_everybody_and_cacheable(gate):
    gate.order(RoomMode.AUTO, "Two per person.")
    await gate.ask("GET", "/checkout", **BROWSER)
    with_cookie = await gate.ask("GET", STATUS, **JSON)
    without = await gate.ask("GET", STATUS, cookies=False, accept_language="ar")
    assert with_cookie.body == without.body
    assert with_cookie["cache-control"] == "public, max-age=1, stale-while-revalidate=5"
    assert not with_cookie.all("set-cookie")
    assert not with_cookie.all("vary")
    found = json.loads(with_cookie.body)
    assert found["state"] == "line"
    assert (found["serving"], found["at_door"], found["message"]) == (100, 0, "Two per person.")
    assert found["rate"] == {"amount": 120, "period": 60}
    assert found["pace"][0] < found["pace"][1]
    assert set(found["poll"]) == {"near", "far", "share", "jitter", "hidden"}


async def test_polling_asks_the_store_nothing(gate):
    for _ in range(50):
        await gate.ask("GET", STATUS, **JSON)
    assert gate.room.calls == []


async def test_a_poller_who_has_the_document_is_told_so(gate):
    tag = (await gate.ask("GET", STATUS))["etag"]
    again = await gate.ask("GET", STATUS, if_none_match=tag)
    assert (again.status, again.body, again["etag"]) == (304, b"", tag)
    gate.room.serving += 1
    assert (await gate.ask("GET", STATUS, if_none_match=tag)).status == 200


@pytest.mark.parametrize(
    ("mode", "state"),
    [(RoomMode.AUTO, "line"), (RoomMode.OPEN, "open"), (RoomMode.HOLD, "hold"), (RoomMode.CLOSED, "closed")],
)
async def test_the_state_follows_the_operator(gate, mode, state):
    gate.order(mode)
    found = json.loads((await gate.ask("GET", STATUS)).body)
    assert found["state"] == state
    assert (found["pace"] is not None) == (state == "line")


async def test_the_state_tells_when_the_store_or_the_shop_is_away(gate):
    gate.room.up = False
    assert json.loads((await gate.ask("GET", STATUS)).body)["state"] == "store"
    gate.engine.orders = type(gate.engine.orders)(1, fallback=Switch.ON)
    assert json.loads((await gate.ask("GET", STATUS)).body)["state"] == "fallback"


@pytest.mark.parametrize(
    ("room", "left", "state"),
    [
        ({"opens": time.time() + 3600}, None, "early"),
        ({"opens": time.time() - 3600}, None, "line"),
        ({}, 0, "sold-out"),
        ({"closes": time.time() - 1}, 0, "over"),
        ({"closes": time.time() + 3600}, 3, "line"),
    ],
)
async def test_the_state_follows_the_sale_in_every_answer(make_gate, room, left, state):
    gate = make_gate(rooms={"checkout": {**ROOM, **room}})
    await gate.ask("GET", "/checkout", **BROWSER)
    gate.room.left = left
    shared = json.loads((await gate.ask("GET", STATUS)).body)
    mine = json.loads((await gate.ask("GET", TICKET, **JSON)).body)
    page = (await gate.ask("GET", "/checkout", **BROWSER)).text
    assert (shared["state"], mine["state"]) == (state, state)
    assert f'data-state="{state}"' in page
    assert (shared["left"], mine["left"]) == (left, left)
    assert shared["opens"] == room.get("opens")
    assert shared["closes"] == room.get("closes")
    if state == "line":
        assert shared["said"] is None
    else:
        assert shared["said"]["en"] == [mine["heading"], mine["detail"]]
        assert set(shared["said"]) == {"en", "de", "ar"}
    assert (shared["now"] is not None) == (state == "early")


async def test_the_seed_of_a_draw_is_secret_until_it_is_held(make_gate):
    gate = make_gate(rooms={"checkout": {**ROOM, "order": "random", "opens": time.time() + 3600}})
    seed = bytes(range(32))
    gate.room.seed, gate.room.serving = seed.hex(), 0
    for target, how in ((STATUS, JSON), (TICKET, JSON), ("/checkout", BROWSER)):
        assert seed.hex() not in (await gate.ask("GET", target, **how)).text
    draw = json.loads((await gate.ask("GET", STATUS)).body)["draw"]
    assert draw == {"commitment": commitment(seed), "drawn": None, "seed": None}
    gate.room.drawn = gate.room.last
    assert json.loads((await gate.ask("GET", STATUS)).body)["draw"] == {**draw, "drawn": gate.room.last, "seed": seed.hex()}
    assert json.loads((await gate.ask("GET", TICKET, **JSON)).body)["turn"] == drawn_place(seed, gate.room.last, 501)


async def test_who_waits_for_another_opening_of_a_drawn_room_is_promised_no_draw(make_gate):
    """A room is drawn once: it is first come, first served now, and neither page nor document says anything else."""
    gate = make_gate(rooms={"checkout": {**ROOM, "order": "random", "opens": time.time() + 3600}})
    gate.room.seed, gate.room.serving = bytes(range(32)).hex(), 0
    shared = json.loads((await gate.ask("GET", STATUS)).body)["said"]["en"][1]
    assert "a draw decides" in shared
    for target in (TICKET, "/checkout"):
        assert "a draw decides" in (await gate.ask("GET", target, **(JSON if target == TICKET else BROWSER))).text
    gate.room.drawn = gate.room.last
    gate.room.last += 100
    shared = json.loads((await gate.ask("GET", STATUS)).body)["said"]["en"][1]
    assert "a draw decides" not in shared
    for target in (TICKET, "/checkout"):
        told = (await gate.ask("GET", target, **(JSON if target == TICKET else BROWSER))).text
        assert "a draw decides" not in told
        assert shared in told


async def test_a_full_line_gives_no_ticket(make_gate):
    gate = make_gate(rooms={"checkout": {**ROOM, "maximum": 400}})
    reply = await gate.ask("GET", TICKET, **JSON)
    told = json.loads(reply.body)
    assert (reply.status, told["state"], told["number"]) == (503, "full", None)
    assert not reply.all("set-cookie")
    assert json.loads((await gate.ask("GET", STATUS)).body)["full"] is True
    assert gate.room.calls == []


async def test_a_room_that_is_not_there(gate):
    for method, target in (("GET", "status"), ("GET", "ticket"), ("POST", "pass")):
        reply = await gate.ask(method, f"/__gate/rooms/vault/{target}", **JSON)
        assert reply.status == 404
        assert reply["content-type"] == "application/problem+json"
        assert "no-store" in reply["cache-control"]


# --------------------------------------------------------------------------- ticket and pass


async def test_an_app_joins_asks_and_enters(gate):
    joined = await gate.ask("GET", TICKET, cookies=False, **JSON)
    mine = json.loads(joined.body)
    assert (joined.status, mine["state"], mine["number"], mine["ahead"]) == (200, "line", 501, 400)
    assert mine["wait"]["low"] < mine["wait"]["high"]
    assert "no-store" in joined["cache-control"]
    token = joined["gate-ticket"]

    waiting = await gate.ask("POST", PASS, cookies=False, gate_ticket=token, **JSON)
    assert waiting.status == 202
    assert json.loads(waiting.body)["number"] == 501
    assert int(waiting["retry-after"]) >= 1

    gate.room.serving = 501
    called = json.loads((await gate.ask("GET", TICKET, cookies=False, gate_ticket=token, **JSON)).body)
    assert (called["state"], called["number"]) == ("called", 501)
    assert gate.room.tokens == 0, "looking spends nothing"

    gate.room.tokens = 5
    entered = await gate.ask("POST", PASS, cookies=False, gate_ticket=token, **JSON)
    found = json.loads(entered.body)
    assert (entered.status, found["state"]) == (200, "entered")
    assert 590 <= found["expires_in"] <= 600
    again = await gate.ask("POST", PASS, cookies=False, gate_ticket=token, **JSON)
    assert again.status == 200
    assert gate.room.tokens == 4, "one ticket, one pass"
    through = await gate.ask("GET", "/checkout", cookies=False, gate_pass=entered["gate-pass"])
    assert through.status == 200


async def test_looking_at_a_called_ticket_does_not_spend_a_token(gate):
    await gate.ask("GET", "/checkout", **BROWSER)
    gate.room.serving, gate.room.tokens = 600, 1
    reply = await gate.ask("GET", TICKET, **JSON)
    assert json.loads(reply.body)["state"] == "called"
    assert gate.room.tokens == 1


@pytest.mark.parametrize("mark", [{"sec_fetch_site": "same-origin"}, {"origin": "http://shop.test"}])
async def test_scripts_in_a_browser_never_see_a_credential(gate, mark):
    gate.room.serving, gate.room.tokens = 10_000, 5
    for method, target in (("GET", TICKET), ("POST", PASS)):
        reply = await gate.ask(method, target, cookies=False, **JSON, **mark)
        assert not reply.all("gate-ticket")
        assert not reply.all("gate-pass")
        for cookie in reply.all("set-cookie"):
            assert "HttpOnly" in cookie
            assert cookie.partition("=")[2].partition(";")[0] not in reply.text


async def test_a_form_enters_and_goes_back_to_where_it_came_from(gate):
    await gate.ask("GET", "/checkout/pay?step=2", **BROWSER)
    waiting = await gate.ask("POST", PASS, body=b"to=%2Fcheckout%2Fpay%3Fstep%3D2", **FORM)
    assert (waiting.status, waiting["location"]) == (303, "/checkout/pay?step=2")
    gate.room.serving, gate.room.tokens = 600, 1
    entered = await gate.ask("POST", PASS, body=b"to=%2Fcheckout%2Fpay%3Fstep%3D2", **FORM)
    assert (entered.status, entered["location"]) == (303, "/checkout/pay?step=2")
    assert any("gate_pass_checkout" in cookie for cookie in entered.all("set-cookie"))
    assert (await gate.ask("GET", "/checkout/pay?step=2", **BROWSER)).status == 200


async def test_who_sent_a_form_waits_on_a_page_that_can_be_loaded_again(gate):
    sent = {**FORM, "content_type": "text/plain", "referer": "http://shop.test/shoe?c=red"}  # not of the kind that is kept
    posted = await gate.ask("POST", "/checkout/add", body=b"sku=1", **sent)
    assert posted.status == 503
    assert 'value="/shoe?c=red"' in posted.text
    assert ";url=/__gate/rooms/checkout/ticket?to=%2Fshoe%3Fc%3Dred" in posted.text
    still = await gate.ask("POST", PASS, body=b"to=%2Fshoe%3Fc%3Dred&resend=1", **FORM)
    assert still["location"] == f"{TICKET}?to=%2Fshoe%3Fc%3Dred"
    page = await gate.ask("GET", still["location"], **BROWSER)
    assert page.status == 503
    assert ";url=/__gate/rooms/checkout/ticket?to=%2Fshoe%3Fc%3Dred" in page.text
    gate.room.serving, gate.room.tokens = 600, 1
    through = await gate.ask("GET", still["location"], **BROWSER)
    assert (through.status, through["location"]) == (303, "/shoe?c=red")


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "/%0d%0aSet-Cookie:x=1",
        "/a\r\nb: c",
        "/a\tb",
        "javascript:alert(1)",
        "",
        "evil",
        "/__gate/rooms/checkout/ticket",
        "/__GATE/x",
        "/" + "a" * 3000,
        "/ü",
        "\\/evil.test",
        "/ /evil.test",
    ],
)
async def test_no_open_redirect(gate, to):
    from urllib.parse import quote

    gate.room.serving, gate.room.tokens = 600, 10
    await gate.ask("GET", "/checkout", **BROWSER)
    for method, target, body in (
        ("POST", PASS, b"to=" + quote(to, safe="").encode()),
        ("GET", f"{TICKET}?to={quote(to, safe='')}", b""),
    ):
        reply = await gate.ask(method, target, body=body, **FORM)
        if reply.status == 303:
            where = reply["location"]
            assert where == "/" or where == "/%0d%0aSet-Cookie:x=1", where
            assert "\n" not in where
        else:
            assert reply.status in (400, 413)


async def test_another_site_can_neither_spend_nor_replace_a_place(gate):
    for mark in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.test"}, {"origin": "null"}):
        reply = await gate.ask("POST", PASS, **JSON, **mark)
        assert reply.status == 403
        assert not reply.all("set-cookie")
    assert gate.room.calls == []
    assert (await gate.ask("POST", PASS, origin="http://shop.test", **JSON)).status == 202


async def test_a_closed_room_says_so_in_both_forms(gate):
    gate.order(RoomMode.CLOSED, "Back at nine.")
    told = await gate.ask("POST", PASS, **JSON)
    document = json.loads(told.body)
    assert told.status == 503
    assert told["content-type"] == "application/problem+json"
    assert (document["state"], document["message"], document["status"]) == ("closed", "Back at nine.", 503)
    assert document["retry_after"] > 0
    page = await gate.ask("GET", "/checkout", **BROWSER)
    assert page.status == 503
    assert "Back at nine." in page.text
    assert document["detail"] in page.text


async def test_while_the_store_is_away_the_answer_says_when_to_come_back(gate):
    gate.room.up = False
    reply = await gate.ask("POST", PASS, **JSON)
    assert reply.status == 202
    found = json.loads(reply.body)
    assert (found["state"], found["number"]) == ("store", None)
    assert found["retry_after"] >= 10


async def test_an_open_room_needs_no_pass(gate):
    gate.order(RoomMode.OPEN)
    found = json.loads((await gate.ask("POST", PASS, **JSON)).body)
    assert (found["state"], found["expires_in"]) == ("entered", None)


async def test_what_an_endpoint_does_not_do(gate):
    for method, target, allow in (("POST", STATUS, "GET"), ("GET", PASS, "POST"), ("GET", "/__gate/notify-me", "POST")):
        reply = await gate.ask(method, target, **JSON)
        assert reply.status == 405
        assert allow in reply["allow"]
    for target in ("/__gate/", "/__gate", "/__gate/rooms/checkout/status/", "/__gate/nothing"):
        assert (await gate.ask("GET", target, **JSON)).status == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("target", ["/__gate/authorize", "/__gate/authorize/envoy/checkout/pay"])
async def test_edges_ask_with_any_method_and_strangers_are_refused(gate, method, target):
    reply = await gate.ask(method, target, x_original_uri="/checkout", **JSON)
    assert reply.status == 403
    assert "edge.ask" in json.loads(reply.body)["detail"]
    assert gate.room.calls == []


async def test_an_edge_that_may_ask_gets_its_answer(make_gate):
    from gate.edges import trust_for

    gate = make_gate(edge={"trust": ["203.0.113.9/32"], "ask": ["203.0.113.9"]})
    gate.engine.trust = trust_for(gate.engine.settings.edge)
    question = {"x_forwarded_uri": "/checkout", "x_forwarded_method": "GET"}
    reply = await gate.ask("GET", "/__gate/authorize?dialect=traefik", **question, **BROWSER)
    assert reply.status == 503
    assert "You are in line" in reply.text
    assert any("gate_ticket_checkout" in cookie for cookie in reply.all("set-cookie"))
    assert (await gate.ask("POST", "/__gate/authorize/envoy/shoes", **BROWSER)).status == 200


# --------------------------------------------------------------------------- liveness


async def test_live_and_ready(gate):
    assert (await gate.ask("GET", "/__gate/live")).status == 200
    ready = await gate.ask("GET", "/__gate/ready")
    assert json.loads(ready.body) == {"ready": True, "store_up": True, "origin_up": True}
    gate.room.up = False
    assert (await gate.ask("GET", "/__gate/ready")).status == 200, "a lost store is declared behaviour, not unreadiness"


async def test_a_worker_whose_picture_is_old_is_not_ready(gate):
    await gate.engine.refresh()
    taken = gate.engine.snapshot.taken
    gate.engine.refresh = _nothing  # the background work has stopped
    gate.engine.now = lambda: taken + 60
    assert (await gate.ask("GET", "/__gate/ready")).status == 503


async def _nothing() -> None: ...


# --------------------------------------------------------------------------- the e-mail form


async def test_an_address_is_kept_once_and_thanked_the_same_way(gate):
    first = await gate.ask("POST", "/__gate/notify-me", body=b"email=Ann%2Bshoes%40Example.com&website=", **FORM)
    second = await gate.ask("POST", "/__gate/notify-me", body=b"email=ann%2BSHOES%40example.com&website=", **FORM)
    assert (first.status, first.body, first.headers) == (second.status, second.body, second.headers)
    assert first.status == 202
    (row,) = gate.emails.rows()
    assert (row.address, row.times, row.language) == ("Ann+shoes@example.com", 2, "en")


async def test_json_does_as_well(gate):
    reply = await gate.ask(
        "POST",
        "/__gate/notify-me",
        body=b'{"email":"a@b.example"}',
        content_type="application/json",
        accept_language="de",
        **JSON,
    )
    assert reply.status == 202
    assert json.loads(reply.body)["state"] == "kept"
    assert [row.language for row in gate.emails.rows()] == ["de"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"email=nobody", "application/x-www-form-urlencoded", 422),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"email=a%40b.example%0d%0aBcc%3Ax%40y.example", "application/x-www-form-urlencoded", 422),
        (b"email=a%40b.example&x=" + b"y" * 3000, "application/x-www-form-urlencoded", 413),
        (b"<email/>", "text/xml", 415),
        (b"[", "application/json", 415),
        (b"[" * 2000, "application/json", 415),
        (b'{"email":7}', "application/json", 422),
        (b"&".join(b"a=1" for _ in range(50)), "application/x-www-form-urlencoded", 422),
    ],
)
async def test_what_is_no_address_is_refused_without_an_echo(gate, body, kind, status):
    for form in ("text/html", "application/json"):
        reply = await gate.ask("POST", "/__gate/notify-me", body=body, content_type=kind, accept=form)
        assert reply.status == status
        assert b"nobody" not in reply.body
        assert b"Bcc" not in reply.body
    assert list(gate.emails.rows()) == []


async def test_a_bot_that_fills_the_hidden_field_is_thanked_and_forgotten(gate):
    reply = await gate.ask("POST", "/__gate/notify-me", body=b"email=a%40b.example&website=http%3A%2F%2Fx", **FORM)
    assert reply.status == 202
    assert list(gate.emails.rows()) == []


async def test_the_form_is_limited_per_client(gate):
    gate.quotas.allowed = False
    reply = await gate.ask("POST", "/__gate/notify-me", body=b"email=a%40b.example", **FORM)
    assert reply.status == 429
    assert int(reply["retry-after"]) > 0
    assert list(gate.emails.rows()) == []


async def test_another_site_cannot_sign_anybody_up(gate):
    reply = await gate.ask(
        "POST",
        "/__gate/notify-me",
        body=b"email=a%40b.example",
        **{**FORM, "sec_fetch_site": "cross-site", "origin": "https://x.test"},
    )
    assert reply.status == 403
    assert list(gate.emails.rows()) == []


async def test_a_disk_in_trouble_is_admitted_and_forgotten_when_mended(gate, tmp_path):
    path = tmp_path / "emails.db"
    path.mkdir()
    reply = await gate.ask("POST", "/__gate/notify-me", body=b"email=a%40b.example", **FORM)
    assert reply.status == 503
    assert "could not store your address" in reply.text
    assert int(reply["retry-after"]) > 0
    path.rmdir()
    assert (await gate.ask("POST", "/__gate/notify-me", body=b"email=a%40b.example", **FORM)).status == 202


async def test_a_shop_may_take_no_addresses(make_gate):
    gate = make_gate(fallback={"emails": False})
    assert (await gate.ask("POST", "/__gate/notify-me", body=b"email=a%40b.example", **FORM)).status == 404


async def test_a_broken_endpoint_asks_to_come_back_and_never_says_500(gate):
    async def breaks(*args: object, **more: object) -> None:
        raise RuntimeError("a bug")

    gate.engine.consider_room = breaks
    reply = await gate.ask("POST", PASS, **JSON)
    assert (reply.status, reply["retry-after"]) == (503, "10")
    assert "a bug" not in reply.text
