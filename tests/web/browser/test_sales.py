"""A sale: the countdown, the draw, what is left, and the end."""

import re

import pytest

from gate.core.credentials import Ticket
from gate.core.decision import Entry
from gate.core.draw import commitment, drawn_place
from gate.core.line import group_number, tag_of
from gate.core.words import Reason
from tests.web.browser.site import INSIDE, SEED, ahead, is_inside, near, text
from tests.web.conftest import ROOM

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AT_ONCE = 5.0  # seconds within which everybody in line hears of a change


def test_the_countdown_runs_out_and_the_first_gets_in(site, open_page):
    gate = site.sale(5)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "We are not open yet"
    assert text(page, "#place") == "You are next"
    for second in (4, 3, 2, 1):
        site.passes(page, 1)
        assert re.fullmatch(rf"We open in\s+0:00:0{second}", text(page, "#count"))
        assert text(page, "#say").startswith("We open in less than a minute")
    assert page.locator("#wait").is_hidden()
    gate.room.tokens = 1
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "You are in line")
    gate.room.serving = 1
    site.passes(page, AT_ONCE, until=lambda: is_inside(page))
    assert page.errors == []


def test_the_countdown_goes_by_the_gates_clock(site, open_page):
    site.sale(7200)
    page = open_page(ahead=3600)  # a phone that is an hour ahead
    page.goto(site.url + "/checkout")
    site.passes(page, 1)
    assert text(page, "#count b") == "1:59:59"
    site.passes(page, 4)
    assert site.count("GET", "/status")
    assert text(page, "#count b") == "1:59:55"
    site.passes(page, 4)
    assert text(page, "#count b") == "1:59:51"


def test_a_countdown_is_announced_three_times(site, open_page):
    site.sale(720)
    page = open_page()
    page.goto(site.url + "/checkout")
    page.route("**/__gate/**", lambda route: route.abort())
    page.evaluate("""() => { const say = document.getElementById("say"); window.heard = [];
        new MutationObserver(() => heard.push(say.textContent)).observe(say, {childList: true}); }""")
    site.passes(page, 690, step=10)
    heard = [said for said in page.evaluate("heard") if said.startswith("We open in")]
    assert heard == ["We open in less than 10 minutes", "We open in less than 5 minutes", "We open in less than a minute"]
    assert page.locator("#count").evaluate("it => !it.closest('[role=status],[aria-live]')"), "not each second"


def test_the_opening_is_told_in_the_visitors_own_time(site, open_page):
    gate = site.reset(rooms={"checkout": {**ROOM, "opens": "2199-11-29T11:00:00Z"}})
    gate.room.serving = gate.room.last = 0
    page = open_page(timezone_id="Asia/Tokyo", locale="de", extra_http_headers={"Accept-Language": "de"})
    page.goto(site.url + "/checkout")
    assert text(page, "#opens") == "Freitag, 29. November 2199 um 20:00"
    assert page.locator("#opens").get_attribute("datetime") == "2199-11-29T11:00:00Z"
    page = open_page(ticking=True, java_script_enabled=False)
    page.goto(site.url + "/checkout")
    assert text(page, "#opens").replace("\u202f", " ") == "Friday, November 29, 2199, 11:00 AM UTC"
    assert page.locator("#count").is_hidden()


def test_who_is_invited_reads_nothing_of_a_draw_that_is_not_theirs(site, open_page, monkeypatch):
    gate = site.sale(60, order="random", groups={"members": {"share": "50%"}})
    mine = Ticket("checkout", 1, group_number(tag_of("members"), 7), int(site.now * 1000), "i" * 22)

    async def invited(*_: object) -> Entry:
        return Entry("waiting", mine, retry_after=2.0, reason=Reason.NOT_OPEN)

    monkeypatch.setattr(gate.room, "join", invited)
    page = open_page()
    page.goto(site.url + "/checkout")
    said = text(page, "#why")
    assert "The draw decides the order of the others" in said
    site.passes(page, 50, until=lambda: site.count("GET", "/ticket") and site.count("GET", "/status"))
    site.passes(page, 1)
    assert text(page, "#why") == said
    assert text(page, "#more") == ""
    assert page.locator("#draw").is_hidden()
    assert page.errors == []


@pytest.mark.parametrize("how", ["computed", "asked", "without-javascript"])
def test_who_came_early_is_drawn(site, open_page, how):
    gate = site.sale(4, order="random")
    gate.room.seed, gate.room.last = SEED, 16
    scripted = how != "without-javascript"
    page = open_page(ticking=not scripted, java_script_enabled=scripted)
    if how == "asked":
        page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    page.goto(site.url + "/checkout")
    assert "a draw decides the order" in text(page, "#why")
    assert text(page, "#more") == "People here: 17"
    assert page.locator("#place").is_hidden(), "no place before the draw"
    page.locator("summary").click()
    assert text(page, "#promise") == commitment(bytes.fromhex(SEED))
    assert SEED not in page.content()
    assert SEED not in page.request.get(site.url + "/__gate/rooms/checkout/status").text()
    turn = drawn_place(bytes.fromhex(SEED), 20, 17)
    place = f"You were drawn: place {turn} of 20."
    if scripted:
        site.passes(page, 3.5)
        assert page.locator("#place").is_hidden()
        gate.room.drawn = gate.room.last = 20
        site.passes(page, 2 * AT_ONCE, until=lambda: text(page, "#more") == place)
    else:
        gate.room.drawn = gate.room.last = 20
        site.now += 5
        page.locator("#more", has_text=place).wait_for()
    assert ahead(page) == str(turn - 1)
    assert page.locator("#proof").text_content() == SEED
    if how == "computed":
        assert text(page, "#checked") == "✓"
        assert site.count("GET", "/ticket") <= 1
    gate.room.serving, gate.room.tokens = turn, 1
    if scripted:
        site.passes(page, AT_ONCE, until=lambda: is_inside(page))
    page.wait_for_selector(INSIDE)
    assert page.errors == []


def test_a_seed_that_was_not_promised_is_noticed(site, open_page):
    gate = site.sale(3, order="random")
    gate.room.seed = SEED
    page = open_page()
    page.goto(site.url + "/checkout")
    site.passes(page, 2.5)
    gate.room.seed, gate.room.drawn, gate.room.last = SEED[::-1], 20, 20
    page.locator("summary").click()
    site.passes(page, 2 * AT_ONCE, until=lambda: page.locator("#checked").is_visible())
    assert text(page, "#checked") == "✗"


def test_sold_out_over_and_open_again(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    number = page.locator("#gate").get_attribute("data-number")
    gate.room.left = 2
    site.passes(page, AT_ONCE, until=lambda: page.locator("#more").is_visible())
    assert text(page, "#more") == "More people are ahead of you than are left."
    gate.room.left = 3
    site.passes(page, AT_ONCE, until=lambda: text(page, "#more") == "About 3 left.")
    gate.room.left = 0
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "Sold out")
    assert page.locator("#card").is_hidden()
    assert page.locator("#keep").is_visible(), "the place is kept"
    gate.room.left = 5
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "You are in line")
    assert page.locator("#gate").get_attribute("data-number") == number
    site.reset(rooms={"checkout": {**ROOM, "closes": site.now - 1}})
    site.passes(page, AT_ONCE, until=lambda: text(page, "h1") == "The sale is over")
    assert "nobody else gets in" in text(page, "#say")
    assert page.errors == []
