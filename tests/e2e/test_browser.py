"""A real browser at a real gate: in line and in by itself, with and without JavaScript; the fallback; the console."""

import pytest

from tests.browser import flaws
from tests.processes import Gate, Shop, eventually, fetch, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    shop = Shop(directory)
    health = {"path": "/healthz", "every": "200ms", "timeout": "3s", "fall": 2, "rise": 2}
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


@pytest.fixture
def page(open_page):
    return open_page()


def test_a_visitor_waits_sees_the_message_and_is_let_in_by_itself(place, page):
    gate, _ = place
    gate.order("checkout", "hold")
    page.goto(gate.url + "/checkout")
    assert page.locator("h1").inner_text()
    assert flaws(page) == []
    gate.command("room", "checkout", "--message", "Size M is gone")
    page.locator("#word", has_text="Size M is gone").wait_for()
    gate.order("checkout", "auto", "--message", "")
    page.locator("#gate").wait_for(state="detached")
    assert page.url == gate.url + "/checkout"
    names = {cookie["name"] for cookie in page.context.cookies()}
    assert "gate_pass_checkout" in names
    assert "gate_ticket_checkout" not in names


def test_without_javascript_the_page_asks_again_and_the_button_works(place, open_page):
    gate, _ = place
    gate.order("checkout", "hold")
    page = open_page(java_script_enabled=False, locale="de-DE")
    page.goto(gate.url + "/checkout")
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    with page.expect_response(lambda response: response.request.method == "POST" and response.url.endswith("/pass")):
        page.locator("#form button").click()
    page.locator("#gate").wait_for()
    gate.order("checkout", "auto", "--message", "")
    page.locator("#gate").wait_for(state="detached")


def test_a_closed_tab_comes_back_to_the_same_place(place, page):
    gate, _ = place
    gate.order("checkout", "hold")
    page.goto(gate.url + "/checkout")
    number = page.locator("#gate").get_attribute("data-number")
    again = page.context.new_page()
    page.close()
    again.goto(gate.url + "/checkout")
    assert again.locator("#gate").get_attribute("data-number") == number
    gate.order("checkout", "auto", "--message", "")


def test_the_shop_dies_the_page_takes_an_address_and_the_shop_comes_back(place, page):
    gate, shop = place
    gate.order("checkout", "auto", "--message", "")
    shop.knob("all", "dead")
    eventually(lambda: fetch(gate.url + "/").status == 503)
    page.goto(gate.url + "/")
    assert page.get_by_text("+1 555 0100").count() >= 1
    assert flaws(page) == []
    page.locator("input[type=email]").fill("ada@example.org")
    page.locator("form button, form input[type=submit]").first.click()
    page.get_by_text("Thank you").wait_for()
    assert "ada@example.org" in gate.command("export-emails").stdout
    shop.knob("all", "ok")
    eventually(lambda: fetch(gate.url + "/").status == 200)


def test_the_operator_signs_in_and_holds_the_room_from_the_console(place, page):
    gate, _ = place
    token = (gate.state / "local.token").read_text().strip()
    page.goto(gate.operator_url + "/")
    assert flaws(page) == []
    page.locator("input[type=password], input[name=token]").first.fill(token)
    page.keyboard.press("Enter")
    page.get_by_text("checkout").first.wait_for()
    assert flaws(page) == []
    page.get_by_role("button", name="hold").first.click()
    eventually(lambda: fetch(gate.url + "/checkout").decision.endswith("reason=hold"))
    gate.order("checkout", "auto", "--message", "")
