"""A real browser at a real gate: in line and in by itself, with and without JavaScript; the fallback; the console."""

import os
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.processes import Gate, Shop, eventually, fetch, running

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.slow]
if CHROMIUM is None and not os.environ.get("CI"):
    pytestmark.append(pytest.mark.skip(reason="needs Debian's chromium"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    shop = Shop(directory)
    health = {"path": "/healthz", "every": "200ms", "timeout": "500ms", "fall": 2, "rise": 2}
    gate = Gate(
        directory,
        {
            "origin": {"servers": [shop.url], "health": health},
            "rooms": {"checkout": {"match": ["/checkout/**"], "rate": "2/second", "burst": 1, "session": "60s"}},
            "fallback": {"phone": "+1 555 0100"},
            "brand": {"name": "Wellenreiter"},
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


@pytest.fixture
def page(browser: Browser):
    context = browser.new_context(locale="en-GB")
    yield context.new_page()
    context.close()


def violations(page: Page) -> list[str]:
    return [f"{found['id']}: {found['help']}" for found in Axe().run(page).response["violations"]]


def hold(gate: Gate) -> None:
    gate.command("room", "checkout", "hold")
    eventually(lambda: fetch(gate.url + "/checkout").decision.endswith("reason=hold"), 5)


def release(gate: Gate) -> None:
    gate.command("room", "checkout", "auto", "--message", "")


def test_a_visitor_waits_sees_the_message_and_is_let_in_by_itself(place, page):
    gate, _ = place
    hold(gate)
    page.goto(gate.url + "/checkout")
    assert page.locator("h1").inner_text()
    assert violations(page) == []
    gate.command("room", "checkout", "--message", "Size M is gone")
    page.locator("#word", has_text="Size M is gone").wait_for(timeout=30_000)
    release(gate)
    page.locator("#gate").wait_for(state="detached", timeout=60_000)
    assert page.url == gate.url + "/checkout"
    names = {cookie["name"] for cookie in page.context.cookies()}
    assert "gate_pass_checkout" in names
    assert "gate_ticket_checkout" not in names


def test_without_javascript_the_page_asks_again_and_the_button_works(place, browser):
    gate, _ = place
    hold(gate)
    context = browser.new_context(java_script_enabled=False, locale="de-DE")
    page = context.new_page()
    page.goto(gate.url + "/checkout")
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    release(gate)
    eventually(lambda: fetch(gate.url + "/__gate/rooms/checkout/status").json()["state"] != "hold", 5)

    def inside() -> bool:
        if page.locator("#gate").count() == 0:
            return True
        page.locator("#form button").click()
        page.wait_for_load_state()
        return page.locator("#gate").count() == 0

    eventually(inside, 20, every=0.5)
    context.close()


def test_a_closed_tab_comes_back_to_the_same_place(place, browser):
    gate, _ = place
    hold(gate)
    context = browser.new_context()
    page = context.new_page()
    page.goto(gate.url + "/checkout")
    number = page.locator("#gate").get_attribute("data-number")
    page.close()
    again = context.new_page()
    again.goto(gate.url + "/checkout")
    assert again.locator("#gate").get_attribute("data-number") == number
    context.close()
    release(gate)


def test_the_shop_dies_the_page_takes_an_address_and_the_shop_comes_back(place, page):
    gate, shop = place
    release(gate)
    shop.knob("all", "dead")
    eventually(lambda: fetch(gate.url + "/").status == 503, 10)
    page.goto(gate.url + "/")
    assert page.get_by_text("+1 555 0100").count() >= 1
    assert violations(page) == []
    page.locator("input[type=email]").fill("ada@example.org")
    page.locator("form button, form input[type=submit]").first.click()
    page.wait_for_load_state()
    assert "ada@example.org" in gate.command("export-emails").stdout
    shop.knob("all", "ok")
    eventually(lambda: fetch(gate.url + "/").status == 200, 10)


def test_the_operator_signs_in_and_holds_the_room_from_the_console(place, page):
    gate, _ = place
    token = (gate.state / "local.token").read_text().strip()
    page.goto(gate.operator_url + "/")
    assert violations(page) == []
    page.locator("input[type=password], input[name=token]").first.fill(token)
    page.keyboard.press("Enter")
    page.get_by_text("checkout").first.wait_for(timeout=10_000)
    assert violations(page) == []
    page.get_by_role("button", name="hold").first.click()
    eventually(lambda: fetch(gate.url + "/checkout").decision.endswith("reason=hold"), 5)
    release(gate)
