"""What the page asks the gate, and how often: by its own clock, which stands still while an answer is on its way."""

from itertools import pairwise
from typing import Any

import pytest

from tests.browser import PATIENCE
from tests.processes import eventually
from tests.web.browser.site import SEEN, UNSEEN, is_inside, near, settles, text

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_gate_that_does_not_answer_is_asked_less_and_less_and_the_place_is_kept(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    site.broken = True
    times = []
    for _ in range(180):
        asked = len(site.asked)
        site.passes(page, 0.5)
        times += [site.now] * (len(site.asked) - asked)
    assert {path.startswith("/__gate") for _, path in site.asked[1:]} == {True}
    assert [after - before for before, after in pairwise(times)] == [4, 8, 16, 32]
    assert "We cannot reach the shop" in text(page, "#why")
    site.broken = False
    gate.room.serving, gate.room.tokens = 600, 1
    site.passes(page, 60, until=lambda: is_inside(page))


def test_never_two_questions_at_once(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    held = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/__gate/**", hold)
    with page.expect_request("**/__gate/**"):
        page.clock.run_for(3000)
    for _ in range(6):
        page.locator("#form button").click()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.clock.run_for(1000)
        assert page.evaluate("pending") == 1
    assert len(held) == 1
    held[0].continue_()
    page.unroute("**/__gate/**")
    settles(page)
    site.passes(page, 5)
    assert site.count("GET", "/status") >= 2, "it goes on"
    assert site.count("POST", "/pass") == 0, "the button asks the shared document first"


def test_a_hidden_tab_asks_seldom_and_catches_up_when_it_is_seen(gate, site, open_page):
    gate.room.last = gate.room.serving + 500  # 200 s at best: a hidden tab asks after 30 s
    page = open_page()
    page.add_init_script(UNSEEN)
    page.goto(site.url + "/checkout")

    def looks_in(seconds: int) -> int:
        before = len(site.asked)
        site.passes(page, seconds)
        return len(site.asked) - before

    assert looks_in(20) == 1, "once at first"
    page.evaluate(SEEN)
    assert looks_in(1) == 1, "at once when it is seen"
    assert looks_in(20) >= 5, "the message is told within 5 s"


def test_a_screen_reader_is_not_talked_to_all_the_time(gate, site, open_page):
    gate.room.last = gate.room.serving + 10
    page = open_page()
    page.goto(site.url + "/checkout")
    page.evaluate("""() => { const say = document.getElementById("say"); window.heard = [];
        const all = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => heard.push(say.textContent)).observe(say, all); }""")
    for _ in range(5):
        site.passes(page, 8)
        gate.room.serving += 1
    assert site.count("GET", "/status") >= 10
    heard = page.evaluate("heard")
    assert 1 <= len(heard) <= 2
    assert "ahead of you. Expected wait" in heard[0]
    assert page.locator("[role=status]").count() == 1
    assert page.locator("#next").evaluate("it => !it.closest('[role=status],[aria-live]')"), "the countdown is not announced"


def test_it_says_once_that_somebody_is_here(gate, site, open_page):
    page = open_page()
    page.goto(site.url + "/checkout")
    site.passes(page, 20)
    assert site.count("GET", "/ticket") == 1
    assert gate.room.calls.count("claim") == 0


def test_where_scripts_run_the_page_is_not_loaded_again(gate, site, open_page):
    """The refresh for those without scripts is the browser's own, and so is the time here."""
    near(gate)
    page = open_page(ticking=True)
    page.goto(site.url + "/checkout")
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    eventually(lambda: site.count("GET", "/status") >= 4, PATIENCE)
    assert site.count("GET", "/checkout") == 1


def test_a_script_that_breaks_loads_the_page_again(gate, site, open_page):
    page = open_page()
    page.add_init_script("navigator.__defineGetter__('cookieEnabled', () => { throw new Error('old phone') })")
    page.goto(site.url + "/checkout")
    gate.room.serving, gate.room.tokens = 600, 1
    site.passes(page, 46, until=lambda: is_inside(page))
