"""Forms that are kept over the wait: what is kept, for whom, for how long, and how it is sent again."""

import html
import re
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.credentials import Key, KeyRing, Ticket
from gate.core.decision import Decision
from gate.core.kept import LARGEST, keeps_form
from gate.core.path import Path
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason, RoomMode
from gate.web.forms import LIFE, MAX_SEALED, OverForm, UnknownForm, fields_of_form, seal, unseal

NOW = 1_800_000_000.0
OLD, NEW = Key("k1", bytes(range(32))), Key("k2", bytes(range(1, 33)))
RING = KeyRing((OLD,))
TICKET = Ticket("checkout", 1, 501, 0, "t" * 22)
FORM = ((b"content-type", b"application/x-www-form-urlencoded"),)
POST = Visit("POST", "https", "shop.test", Path(b"/checkout/pay", "/checkout/pay"), b"step=2", FORM, None)
WAIT = Decision(Outcome.WAIT, Reason.LINE, room="checkout", ticket=TICKET)
BODY = b"sku=mug&note=two%0D%0Alines&card_number=4111111111111111&csrf_token=abc&name=%D8%B3+%3Cb%3E"


def sealed(body: bytes = BODY, **more) -> str:
    made = seal(more.get("ring", RING), more.get("visit", POST), more.get("ticket", TICKET), body, NOW)
    assert made is not None
    return made


# ----------------------------------------------------------------------- what is kept


def test_what_was_sent_comes_back_as_it_was() -> None:
    kept = unseal(RING, sealed(), "checkout", NOW + LIFE - 1)
    assert (kept.to, kept.ticket, kept.room) == ("/checkout/pay?step=2", TICKET.id, "checkout")
    assert dict(kept.fields)["note"] == "two\r\nlines"
    assert [name for name, _ in kept.fields] == ["sku", "note", "card_number", "csrf_token", "name"]


def test_nobody_reads_it_and_nobody_changes_it() -> None:
    token = sealed()
    assert "mug" not in token
    assert sealed() != token, "a fresh nonce for each"
    for at in range(0, len(token), 7):
        letter = "A" if token[at] != "A" else "B"
        with pytest.raises(UnknownForm):
            unseal(RING, token[:at] + letter + token[at + 1 :], "checkout", NOW)
    for junk in ("", "x", token[:-3], "a.b.c.d.e", token * 80, RING.sign_ticket(TICKET)):
        with pytest.raises(UnknownForm):
            unseal(RING, junk, "checkout", NOW)


def test_it_is_for_one_room_and_over_after_some_hours() -> None:
    with pytest.raises(UnknownForm):
        unseal(RING, sealed(), "quiet", NOW)
    with pytest.raises(OverForm):
        unseal(RING, sealed(), "checkout", NOW + LIFE)


def test_a_rotated_key_still_opens_it_and_a_compromised_one_does_not() -> None:
    assert unseal(KeyRing((OLD, NEW)), sealed(), "checkout", NOW).fields
    with pytest.raises(UnknownForm):
        unseal(KeyRing((NEW,)), sealed(), "checkout", NOW)


@pytest.mark.parametrize("body", [b"a=%00", b"a=\xff", b"a=%ff", b"a=%0a", b"a=%0d", b"a=%1b[", b"plain", b"&&", b"a=1&" * 201])
def test_what_a_page_would_send_back_as_something_else_is_not_kept(body: bytes) -> None:
    assert seal(RING, POST, TICKET, body, NOW) is None


def test_the_largest_that_is_kept_fits_where_it_is_handed_in() -> None:
    path = Path(b"/checkout/" + b"x" * 2000, "/checkout/x")
    token = sealed(b"a=" + b"x" * (LARGEST - 2), visit=replace(POST, path=path, query=b""))
    assert len(token) <= MAX_SEALED
    assert unseal(RING, token, "checkout", NOW).fields
    assert seal(RING, POST, TICKET, b"a=" + b"x" * LARGEST, NOW) is None


@pytest.mark.parametrize("path", [b"//evil.test/", b"/\\evil.test", b"/__gate/rooms/checkout/pass"])
def test_it_never_leads_elsewhere(path: bytes) -> None:
    assert seal(RING, replace(POST, path=Path(path, path.decode())), TICKET, BODY, NOW) is None


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=20)), min_size=1, max_size=9))
def test_its_hidden_fields_say_what_was_sent(pairs: list[tuple[str, str]]) -> None:
    body = "&".join(
        f"{quote(name, safe='', errors='ignore')}={quote(value, safe='', errors='ignore')}" for name, value in pairs
    )
    fields = fields_of_form(body.encode())
    if fields is None:
        return
    token = seal(RING, POST, TICKET, body.encode(), NOW)
    assert token is not None
    page = unseal(RING, token, "checkout", NOW).inputs().decode()
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    assert tuple((html.unescape(name), html.unescape(value)) for name, value in found) == fields
    assert "\n" not in page
    assert "\r" not in page


def test_what_looks_secret_is_not_shown() -> None:
    body = b"name=Ada&password=p1&cardNumber=x&cvv=1&free=4111+1111+1111+1111&csrf_token=t&_method=put&long=" + b"y" * 300
    shown = dict(unseal(RING, sealed(body), "checkout", NOW).shown())
    assert shown["name"] == "Ada"
    assert {shown[name] for name in ("password", "cardNumber", "cvv", "free")} == {"•••"}
    assert "csrf_token" not in shown
    assert "_method" not in shown
    assert len(shown["long"]) == 120


# ----------------------------------------------------------------------- whose is kept


@pytest.mark.parametrize(
    ("visit", "decision", "length", "kept"),
    [
        (POST, WAIT, 10, True),
        (POST, WAIT, LARGEST, True),
        (POST, WAIT, LARGEST + 1, False),
        (POST, WAIT, 0, False),
        (POST, WAIT, -1, False),  # chunked
        (replace(POST, method="PUT"), WAIT, 10, False),
        (replace(POST, accepts="json"), WAIT, 10, False),
        (replace(POST, headers=((b"content-type", b"Application/X-WWW-Form-Urlencoded; charset=UTF-8"),)), WAIT, 10, True),
        (replace(POST, headers=((b"content-type", b"application/x-www-form-urlencoded; charset=latin1"),)), WAIT, 10, False),
        (replace(POST, headers=((b"content-type", b"multipart/form-data; boundary=x"),)), WAIT, 10, False),
        (replace(POST, headers=((b"content-type", b"application/json"),)), WAIT, 10, False),
        (replace(POST, headers=()), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"content-encoding", b"gzip"))), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"sec-fetch-site", b"cross-site"))), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"sec-fetch-site", b"same-site"))), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"sec-fetch-site", b"same-origin"), (b"origin", b"null"))), WAIT, 10, True),
        (replace(POST, headers=(*FORM, (b"origin", b"https://evil.test"))), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"origin", b"null"))), WAIT, 10, False),
        (replace(POST, headers=(*FORM, (b"origin", b"https://shop.test"))), WAIT, 10, True),
        (POST, replace(WAIT, ticket=None), 10, False),
        (POST, replace(WAIT, outcome=Outcome.CLOSED), 10, False),
        (POST, replace(WAIT, outcome=Outcome.FORWARD), 10, False),
    ],
)
def test_only_a_small_form_of_our_own_visitor_is_read(visit: Visit, decision: Decision, length: int, kept: bool) -> None:
    assert keeps_form(visit, decision, length) is kept


# ----------------------------------------------------------------------- the pages


SENT = {"content_type": "application/x-www-form-urlencoded"}


async def wait_with(gate, body: bytes = b"sku=mug&qty=2", **headers: str):
    return await gate.ask("POST", "/checkout/add?from=front", body=body, **{**SENT, **headers})


def blob(page) -> str:
    found = re.search(r'name="form" id="kept" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def hand_in(gate, token: str, **headers: str):
    body = f"to=%2F&form={quote(token, safe='')}".encode()
    return await gate.ask("POST", "/__gate/rooms/checkout/form", body=body, **{**SENT, **headers})


def let_in(gate) -> None:
    gate.room.serving, gate.room.tokens = 10_000, 5


async def test_a_form_is_kept_over_the_wait_and_sent_by_one_press(gate) -> None:
    page = await wait_with(gate)
    assert page.status == 503
    assert "It is kept on this page" in page.text
    assert 'action="/__gate/rooms/checkout/form"' in page.text
    assert ";url=" not in page.text, "a page that loads again by itself would lose it"
    token = blob(page)
    again = await hand_in(gate, token)
    assert again.status == 503
    assert blob(again) == token, "still in line, and still kept"
    let_in(gate)
    form = await hand_in(gate, token)
    assert form.status == 200
    assert any(field.startswith("gate_pass_checkout=") for field in form.all("set-cookie"))
    assert 'action="/checkout/add?from=front"' in form.text
    assert '<input type="hidden" name="sku" value="mug"><input type="hidden" name="qty" value="2">' in form.text
    assert "no-store" in form["cache-control"]
    assert "form-action 'self'" in form["content-security-policy"]
    assert "<script" not in form.text, "it is never sent by itself"
    assert (await hand_in(gate, token)).status == 200, "with the pass: as often as one likes"


async def test_what_is_not_kept_is_said_in_words(gate) -> None:
    for body, headers in ((b"a=" + b"x" * LARGEST, {}), (b"{}", {"content_type": "text/plain"}), (b"a=%ff", {})):
        page = await wait_with(gate, body, **headers)
        assert "could not be kept" in page.text
        assert 'id="kept"' not in page.text
        assert ";url=/__gate/rooms/checkout/ticket?to=" in page.text
    assert 'id="sent"' not in (await gate.ask("GET", "/checkout/add")).text


@pytest.mark.parametrize(("language", "words"), [("de", "hebt es auf"), ("ar", "تحتفظ به")])
async def test_it_is_said_in_the_visitors_language(gate, language: str, words: str) -> None:
    page = await wait_with(gate, accept_language=language)
    assert words in page.text
    let_in(gate)
    form = await hand_in(gate, blob(page), accept_language=language)
    assert form.status == 200
    assert "Send it again" not in form.text


async def test_programs_get_their_document_and_nothing_is_kept(gate) -> None:
    reply = await wait_with(gate, accept="application/json")
    assert reply["content-type"] == "application/json"
    assert "eyJ" not in reply.text


async def test_somebody_elses_form_is_not_opened(gate) -> None:
    token = blob(await wait_with(gate))
    let_in(gate)
    gate.jar.clear()
    nobody = await hand_in(gate, token)
    assert nobody.status == 403
    assert "mug" not in nobody.text
    await gate.ask("GET", "/checkout")  # another visitor, with a pass
    other = await hand_in(gate, token)
    assert other.status == 403
    assert "mug" not in other.text


async def test_another_site_cannot_hand_it_in(gate) -> None:
    token = blob(await wait_with(gate))
    let_in(gate)
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.test"}):
        reply = await hand_in(gate, token, **headers)
        assert reply.status == 403
        assert "mug" not in reply.text
        assert not reply.all("set-cookie")


async def test_a_form_that_is_too_old_or_not_ours_has_to_be_filled_in_again(gate) -> None:
    token = blob(await wait_with(gate))
    let_in(gate)
    assert (await hand_in(gate, token[:-4] + "AAAA")).status == 400
    assert (await hand_in(gate, "")).status == 400
    gate.engine.now = lambda: time.time() + LIFE + 1
    over = await hand_in(gate, token)
    assert over.status == 410
    assert "Please fill it in again" in over.text
    assert (await hand_in(gate, "x" * 30_000)).status == 413


async def test_a_closed_room_says_so(gate) -> None:
    token = blob(await wait_with(gate))
    gate.order(RoomMode.CLOSED)
    assert (await hand_in(gate, token)).status == 503


async def test_the_pages_with_a_kept_form_fit(gate) -> None:
    page = await wait_with(gate)
    assert len(page.body) - len(blob(page)) < 14 * 1024
