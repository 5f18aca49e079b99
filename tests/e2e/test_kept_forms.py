"""A real browser puts something into its cart while the shop is full: the form waits with it, with and without JavaScript."""

import os
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from gate.demo.journal import read
from tests.processes import Gate, Shop, eventually, fetch, running

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.slow]
if CHROMIUM is None and not os.environ.get("CI"):
    pytestmark.append(pytest.mark.skip(reason="needs Debian's chromium"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kept")
    shop = Shop(directory)
    guarded = ["POST /cart/add", "/checkout/**"]
    gate = Gate(
        directory,
        {
            "origin": {"servers": [shop.url]},
            "rooms": {"checkout": {"match": guarded, "rate": "4/second", "burst": 2, "session": "60s"}},
        },
    )
    with running(shop, gate):
        yield gate, shop


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


def order(gate: Gate, mode: str, state: str) -> None:
    gate.command("room", "checkout", mode)
    eventually(lambda: fetch(gate.url + "/__gate/rooms/checkout/status").json()["state"] == state, 5)


def added(shop: Shop) -> int:
    return len([entry for entry in read(shop.journal) if (entry.method, entry.path) == ("POST", "/cart/add")])


def put_into_the_cart(page: Page, gate: Gate) -> None:
    page.goto(gate.url + "/")
    page.locator("a[href^='/product/']").first.click()
    page.locator("form[action='/cart/add'] button").click()
    page.locator("#kept").wait_for(state="attached")


def test_the_form_waits_is_shown_and_is_sent_by_one_press(place, browser: Browser):
    gate, shop = place
    order(gate, "hold", "hold")
    before = added(shop)
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    put_into_the_cart(page, gate)
    assert "kept on this page" in page.locator("#sent").inner_text()
    assert Axe().run(page).response["violations"] == []
    order(gate, "auto", "line")
    page.get_by_role("heading", name="You are in. Send it again?").wait_for(timeout=60_000)
    assert page.url.endswith("/__gate/rooms/checkout/form")
    assert page.locator("dt").all_inner_texts() == ["product"]
    assert Axe().run(page).response["violations"] == []
    assert added(shop) == before, "never by itself"
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url("**/cart")
    assert page.locator("main").inner_text()
    assert added(shop) == before + 1
    context.close()


def test_without_javascript_the_button_asks_and_the_form_is_not_lost(place, browser: Browser):
    gate, shop = place
    order(gate, "hold", "hold")
    before = added(shop)
    context = browser.new_context(java_script_enabled=False, locale="de-DE")
    page = context.new_page()
    put_into_the_cart(page, gate)
    assert "hebt es auf" in page.locator("#sent").inner_text()
    assert ";url=" not in (page.locator("meta[http-equiv=refresh]").get_attribute("content") or "")
    page.locator("#form button").click()
    page.locator("#kept").wait_for(state="attached")
    order(gate, "auto", "line")

    def inside() -> bool:
        if page.locator("#kept").count():
            page.locator("#form button").click()
            page.wait_for_load_state()
        return page.locator("#kept").count() == 0

    eventually(inside, 30, every=0.5)
    assert page.locator("h1").inner_text() == "Sie sind drin. Noch einmal senden?"
    assert added(shop) == before
    page.locator("main form button").click()
    page.wait_for_url("**/cart")
    assert added(shop) == before + 1
    context.close()


def test_a_form_that_is_too_large_has_to_be_filled_in_again_and_that_is_said_aloud(place, browser: Browser):
    gate, _shop = place
    order(gate, "hold", "hold")
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(gate.url + "/")
    page.locator("a[href^='/product/']").first.click()
    page.locator("form[action='/cart/add'] input").evaluate("it => it.value = 'x'.repeat(5000)")
    page.locator("form[action='/cart/add'] button").click()
    page.locator("#sent").wait_for()
    assert "could not be kept" in page.locator("#sent").inner_text()
    order(gate, "auto", "line")
    page.locator("#on a").wait_for(timeout=60_000)
    aloud = page.locator("#say").text_content() or ""
    assert "send it once more" in aloud
    assert "do not need to do anything" not in aloud
    context.close()
