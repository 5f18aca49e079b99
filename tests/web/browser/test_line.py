"""In line with JavaScript: the page lets its visitor in, tells what happens meanwhile, and takes no turn of who looks away."""

import re

import pytest

from gate.core.orders import Orders
from gate.core.words import RoomMode, Switch
from tests.browser import PATIENCE
from tests.processes import eventually
from tests.web.browser.site import INSIDE, SEEN, UNSEEN, ahead, is_inside, near, text
from tests.web.conftest import ROOM

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AT_ONCE = 5.0  # seconds within which everybody in line hears what the operator says


def test_the_page_lets_its_visitor_in(gate, site, open_page):
    """By the browser's own clock, all the way."""
    near(gate)
    page = open_page(ticking=True)
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "You are in line"
    assert text(page, "#place").split() == ["3", "people", "are", "ahead", "of", "you"]
    assert page.title() == "(3) You are in line · Our shop"
    gate.room.serving += 2
    eventually(lambda: ahead(page) == "1", PATIENCE)
    assert page.title().startswith("(1)")
    assert page.locator("#bar").evaluate("bar => Math.round(bar.value)") == 67
    gate.room.serving += 5
    eventually(lambda: text(page, "h1") == "It is your turn", PATIENCE)
    eventually(lambda: gate.room.calls.count("claim") >= 1, PATIENCE)
    gate.room.tokens = 1
    page.wait_for_selector(INSIDE)
    assert page.errors == []
    assert site.count("GET", "/checkout") == 2, "one page to wait on, one inside; the rest are polls"


def test_the_place_shown_never_grows(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    gate.room.serving += 1
    site.passes(page, AT_ONCE, until=lambda: ahead(page) == "2")
    gate.room.serving -= 1
    polls = site.count("GET", "/status")
    site.passes(page, 10)
    assert site.count("GET", "/status") >= polls + 2
    assert ahead(page) == "2"


def test_the_operators_word_and_mode_arrive_while_one_waits(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert page.locator("#word").is_hidden()
    gate.order(RoomMode.AUTO, "The red ones are sold out.")
    site.passes(page, AT_ONCE, until=lambda: page.locator("#word").is_visible())
    assert text(page, "#word") == "The red ones are sold out."
    assert text(page, "#say") == "The red ones are sold out.", "and is said aloud"


@pytest.mark.parametrize(
    ("change", "heading"),
    [
        (lambda gate: gate.order(RoomMode.HOLD), "The line is paused"),
        (lambda gate: gate.order(RoomMode.CLOSED), "We are closed at the moment"),
        (lambda gate: setattr(gate.engine, "orders", Orders(1, fallback=Switch.ON)), "The shop is not answering"),
        (lambda gate: setattr(gate.room, "up", False), "We are checking the line"),
    ],
)
def test_what_happens_meanwhile_is_told_and_passes(gate, site, open_page, change, heading):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    change(gate)
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == heading)
    assert heading in text(page, "#say")
    assert heading in page.title()
    gate.order(RoomMode.AUTO)
    gate.engine.orders = Orders()
    gate.room.up = True
    gate.room.serving, gate.room.tokens = 600, 5
    page.get_by_role("button", name="Check now").click()
    site.passes(page, AT_ONCE, until=lambda: is_inside(page))
    assert page.errors == []


def test_a_room_that_opens_lets_everybody_through(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    gate.order(RoomMode.OPEN)
    site.passes(page, AT_ONCE, until=lambda: is_inside(page))


def test_a_closed_page_joins_when_the_room_takes_people_again(gate, site, open_page):
    gate.order(RoomMode.CLOSED)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "We are closed at the moment"
    gate.order(RoomMode.AUTO)
    page.locator("#form button").click()
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "You are in line")


def test_what_was_sent_with_a_form_is_not_sent_again(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/shoe")
    page.evaluate("""() => { const form = document.createElement("form"); form.method = "post"; form.action = "/checkout/add";
                             document.body.append(form); form.submit(); }""")
    page.wait_for_selector("text=You are in line")
    gate.room.serving, gate.room.tokens = 600, 1
    site.passes(page, AT_ONCE, until=lambda: page.get_by_text("Go on").is_visible())
    assert "send it once more" in text(page, "#why")
    assert page.locator("#form").is_hidden()
    page.locator("a.button").click()
    page.wait_for_selector(INSIDE)
    assert page.url == site.url + "/shoe"
    assert site.count("POST", "/checkout/add") == 1


def test_cookies_that_are_refused_are_explained(gate, site, open_page):
    page = open_page()
    page.add_init_script("Object.defineProperty(navigator, 'cookieEnabled', {get: () => false})")
    page.goto(site.url + "/checkout")
    assert "refuses cookies" in text(page, "#why")


def test_a_full_line_takes_people_when_there_is_room(site, open_page):
    gate = site.reset(rooms={"checkout": {**ROOM, "maximum": 400}})
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "The line is full"
    assert page.locator("#keep").is_hidden(), "there is no place to keep"
    assert page.context.cookies() == []
    loads = site.count("GET", "/checkout")
    site.passes(page, 15)
    assert site.count("GET", "/status") >= 3
    assert site.count("GET", "/checkout") == loads
    gate.room.serving += 100
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "You are in line")


# --------------------------------------------------------------------------- whose turn it is while nobody looks


def test_a_hidden_tab_tells_and_waits_until_it_is_seen(gate, site, open_page):
    near(gate)
    page = open_page()
    page.context.grant_permissions(["notifications"])
    page.add_init_script(
        UNSEEN
        + """window.told = []; window.heard = 0;
        window.Notification = class extends Notification {
            constructor(head, more) { super(head, more); told.push([head, more.body]); } };
        const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function () { window.heard++; start.call(this); }"""
    )
    page.goto(site.url + "/checkout")
    page.get_by_label("Sound when it is my turn").check()
    page.get_by_role("button", name="Notify me").click()
    page.locator("#bell[aria-pressed=true]").wait_for()
    gate.room.serving, gate.room.tokens = 600, 1
    site.passes(page, 61, until=lambda: page.title().startswith("It is your turn"))
    assert re.match(r"Come back to this tab to go in. Your place is kept until \d+:\d\d", text(page, "#why"))
    assert len(page.evaluate("told")) == 2, "one to try it, one for the turn"
    assert page.evaluate("told[1][0]").startswith("It is your turn")
    assert page.evaluate("heard") == 2
    assert gate.room.calls.count("claim") == 0, "the session of nobody does not run"
    page.evaluate(SEEN)
    site.passes(page, 2, until=lambda: is_inside(page))
    assert page.errors == []


def test_nothing_is_asked_of_who_does_not_want_it(gate, site, open_page):
    page = open_page()
    page.add_init_script("window.asked = 0; Notification.requestPermission = () => { window.asked++; };")
    page.goto(site.url + "/checkout")
    assert not page.get_by_label("Sound when it is my turn").is_checked()
    assert page.locator("#bell").is_visible() is (page.evaluate("Notification.permission") != "denied")
    site.passes(page, 10)
    assert page.evaluate("asked") == 0
