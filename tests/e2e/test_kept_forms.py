"""A real browser puts something into its cart while the shop is full: the form waits with it, with and without JavaScript."""

import pytest

from gate.demo.journal import read
from tests.browser import flaws
from tests.processes import Gate, Shop, eventually, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kept")
    shop = Shop(directory)
    guarded = ["POST /cart/add", "/checkout/**"]
    gate = Gate(
        directory,
        {
            "origin": {"servers": [shop.url]},
            "rooms": {"checkout": {"match": guarded, "rate": "4/second", "burst": 2, "session": "10m"}},
        },
    )
    with running(shop, gate):
        yield gate, shop


def added(shop: Shop) -> int:
    return len([entry for entry in read(shop.journal) if (entry.method, entry.path) == ("POST", "/cart/add")])


def put_into_the_cart(page, gate: Gate) -> None:
    page.goto(gate.url + "/")
    page.locator("a[href^='/product/']").first.click()
    page.locator("form[action='/cart/add'] button").click()
    page.locator("#kept").wait_for(state="attached")


def test_the_form_waits_is_shown_and_is_sent_by_one_press(place, open_page):
    gate, shop = place
    gate.order("checkout", "hold")
    before = added(shop)
    page = open_page()
    put_into_the_cart(page, gate)
    assert "kept on this page" in page.locator("#sent").inner_text()
    assert flaws(page) == []
    gate.order("checkout", "auto")
    page.get_by_role("heading", name="You are in. Send it again?").wait_for()
    assert page.url.endswith("/__gate/rooms/checkout/form")
    assert page.locator("dt").all_inner_texts() == ["product"]
    assert flaws(page) == []
    assert added(shop) == before, "never by itself"
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url("**/cart")
    assert page.locator("main").inner_text()
    assert added(shop) == before + 1


def test_without_javascript_the_button_asks_and_the_form_is_not_lost(place, open_page):
    gate, shop = place
    gate.order("checkout", "hold")
    before = added(shop)
    page = open_page(java_script_enabled=False, locale="de-DE")
    put_into_the_cart(page, gate)
    assert "hebt es auf" in page.locator("#sent").inner_text()
    assert ";url=" not in (page.locator("meta[http-equiv=refresh]").get_attribute("content") or "")

    def press() -> bool:
        """Is it still kept? The page does not load again by itself: that would lose the form."""
        with page.expect_event("load"):
            page.locator("#form button").click()
        return page.locator("#kept").count() == 1

    assert press()
    gate.order("checkout", "auto")
    eventually(lambda: not press(), 60, every=0.5)
    assert page.locator("h1").inner_text() == "Sie sind drin. Noch einmal senden?"
    assert added(shop) == before
    page.locator("main form button").click()
    page.wait_for_url("**/cart")
    assert added(shop) == before + 1


def test_a_form_that_is_too_large_has_to_be_filled_in_again_and_that_is_said_aloud(place, open_page):
    gate, _shop = place
    gate.order("checkout", "hold")
    page = open_page()
    page.goto(gate.url + "/")
    page.locator("a[href^='/product/']").first.click()
    page.locator("form[action='/cart/add'] input").evaluate("it => it.value = 'x'.repeat(5000)")
    page.locator("form[action='/cart/add'] button").click()
    page.locator("#sent").wait_for()
    assert "could not be kept" in page.locator("#sent").inner_text()
    gate.order("checkout", "auto")
    page.locator("#on a").wait_for()
    aloud = page.locator("#say").text_content() or ""
    assert "send it once more" in aloud
    assert "do not need to do anything" not in aloud
