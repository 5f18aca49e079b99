"""For everybody: no barrier that axe knows, the keyboard, high contrast, small windows, and nothing from anywhere else."""

from collections.abc import Iterator
from itertools import chain

import pytest

from gate.core.orders import Orders
from gate.core.words import RoomMode, Switch
from tests.browser import flaws
from tests.web.browser.site import SEED, TAGS, Site, is_inside
from tests.web.conftest import ROOM, Gate

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def states(gate: Gate) -> Iterator[tuple[str, str]]:
    """(name, target) of every page, the gate set up to show it."""
    gate.order(RoomMode.AUTO, "Two pairs per person.")
    yield "line", "/checkout"
    gate.order(RoomMode.HOLD)
    yield "hold", "/checkout"
    gate.order(RoomMode.CLOSED)
    yield "closed", "/checkout"
    gate.order(RoomMode.AUTO)
    gate.room.serving = 600
    yield "called", "/checkout"
    gate.room.up = False
    yield "store", "/checkout"
    gate.room.up = True
    yield "refused", "/__gate/nothing"
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    yield "fallback", "/"


def sales(site: Site) -> Iterator[tuple[str, str]]:
    """The same of the states of a sale, each in a gate of its own."""
    site.sale(3600)
    yield "early", "/checkout"
    gate = site.sale(90, order="random")
    gate.room.seed = SEED
    yield "early-draw", "/checkout"
    gate = site.sale(-100, order="random")
    gate.room.seed, gate.room.drawn, gate.room.last = SEED, 5000, 5000
    gate.room.serving, gate.room.left = 2, 40
    yield "drawn", "/checkout"
    gate.room.left = 0
    yield "sold-out", "/checkout"
    site.reset(rooms={"checkout": {**ROOM, "maximum": 400}})
    yield "full", "/checkout"
    site.reset(rooms={"checkout": {**ROOM, "closes": site.now - 1}})
    yield "over", "/checkout"


@pytest.fixture
def open_quiet(open_page):
    """Opens a page whose questions nobody answers: what is looked at stays as it is while axe takes its time, which ticks."""

    def make(**options):
        page = open_page(ticking=True, **options)
        page.route("**/__gate/rooms/**", lambda route: None)
        return page

    return make


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_barrier_that_axe_knows(gate, site, open_quiet, theme, tag):
    page = open_quiet(color_scheme=theme, locale=tag)
    for name, target in chain(states(gate), sales(site)):
        page.goto(site.url + target)
        if page.locator("#draw").is_visible():
            page.locator("summary").click()
        page.wait_for_function("() => document.getAnimations().every(each => each.playState !== 'running')")
        assert flaws(page) == [], f"{name} {theme} {tag}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} {tag}: scrolls sideways at 360 px"


@pytest.mark.parametrize(
    "options", [{"forced_colors": "active"}, {"contrast": "more"}, {"viewport": {"width": 320, "height": 480}}]
)
def test_high_contrast_and_small_windows(gate, site, open_quiet, options):
    page = open_quiet(**options)
    for name, target in chain(states(gate), sales(site)):
        page.goto(site.url + target)
        assert flaws(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_nothing_moves_for_those_who_ask_for_that(gate, site, open_page):
    """Movement is styled only inside a media rule that holds while nobody asks for less of it."""
    moving = """() => { const found = []; const walk = rules => { for (const rule of rules) {
        if (rule.media && !matchMedia(rule.media.mediaText).matches) continue;
        if (rule.style && (rule.style.transition || rule.style.animation)) found.push(rule.cssText);
        if (rule.cssRules) walk(rule.cssRules); } };
        for (const sheet of document.styleSheets) walk(sheet.cssRules); return found.length; }"""
    for motion, rules in (("no-preference", 1), ("reduce", 0)):
        page = open_page(reduced_motion=motion)
        page.goto(site.url + "/checkout")
        assert page.evaluate(moving) == rules


def test_everything_can_be_reached_with_the_keyboard_and_seen(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.goto(site.url + "/")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
        if len(reached) <= 4:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
    assert reached[:4] == ["Try again", "+1 555 0100", "email", "Keep me posted"], "and not the field for robots"


def test_signing_up_with_the_keyboard(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.goto(site.url + "/")
    page.get_by_label("Write to me when the shop is back").fill("ann@b.example")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Thank you")
    assert [row.address for row in gate.emails.rows()] == ["ann@b.example"]


def test_the_fallback_page_looks_again_but_not_while_somebody_writes(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.goto(site.url + "/")
    page.get_by_label("Write to me").fill("ann@")
    site.passes(page, 120, step=10)
    assert page.get_by_label("Write to me").input_value() == "ann@"
    assert site.count("GET", "/") == 1
    page.get_by_label("Write to me").fill("")
    page.locator("h1").click()
    gate.engine.orders = Orders(10)
    site.passes(page, 20, until=lambda: is_inside(page))


def test_the_pages_need_nothing_from_anywhere(gate, site, open_page):
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url + "/checkout")
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [site.url + "/checkout"], "not even an icon"
    assert site.asked == [("GET", "/checkout")]
