"""The console in a real browser: live, and what is being edited is left alone."""

from collections.abc import Callable
from typing import Any

import pytest

from gate.core.orders import Orders
from gate.core.words import RoomMode, Switch
from gate.heartbeat import RoomBeat
from tests.browser import flaws
from tests.operator.conftest import Listener
from tests.operator.person import on_sale, orders
from tests.processes import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sign_in(page: Any, gate: Listener, *, scripted: bool = True) -> None:
    page.goto(gate.url)
    page.get_by_label("Operator's token").fill(gate.operator)
    page.keyboard.press("Enter")
    page.wait_for_selector("html.scripted #main" if scripted else "#main")  # before its script has run, it is not live


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(gate: Listener, open_page: Callable[..., Any], scheme: str) -> None:
    def check(what: str) -> None:
        assert flaws(page) == [], what

    on_sale(gate)
    page = open_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page.goto(gate.url)
    check("sign in")
    page.get_by_label("Operator's token").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem")
    check("a wrong token")
    sign_in(page, gate)
    check("all is well")
    page.locator("#rate-checkout").fill("60/minute")
    page.locator("#effect-checkout p").first.wait_for()
    check("an effect")
    page.locator("#rate-checkout").fill("120/minute")
    page.locator("#effect-checkout p").first.wait_for(state="detached")
    gate.beat(store_up=False, origin_up=False, breakers={"/api/shipping": "open"})
    page.get_by_role("group", name="Mode of checkout").get_by_role("button", name="Hold").click()
    page.wait_for_selector(".notice.good")
    page.wait_for_selector(".problems")
    check("problems")
    page.get_by_role("group", name="Mode of drop").get_by_role("button", name="Closed").click()
    page.wait_for_selector("dialog[open]")
    check("a question")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.set_viewport_size({"width": 320, "height": 640})
    check("on a phone")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # WCAG 1.4.10: no sideways scrolling


def test_it_is_live_and_leaves_alone_what_is_edited(gate: Listener, open_page: Callable[..., Any]) -> None:
    page = open_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    sign_in(page, gate)
    page.locator("#message-checkout").fill("Half a sen")
    gate.beat(rooms={"checkout": RoomBeat(waiting=4321)})
    gate.api("PATCH", "/api/v1/rooms/checkout", '{"message": "From elsewhere", "burst": 9, "mode": "hold"}')
    page.locator("#figures-checkout", has_text="4\u202f321").wait_for()
    page.locator("#burst-checkout[value='9']").wait_for()
    assert page.locator("#mode-checkout-hold").get_attribute("aria-pressed") == "true"
    assert page.locator("#message-checkout").input_value() == "Half a sen"
    assert page.evaluate("document.activeElement.id") == "message-checkout"
    page.keyboard.type("tence")
    page.keyboard.press("Enter")
    eventually(lambda: orders(gate).room("checkout").message == "Half a sentence", what="the message is sent")
    assert orders(gate).room("checkout").burst == 9
    assert errors == []


def test_the_effect_is_shown_while_one_types(gate: Listener, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, gate)
    effect = page.locator("#effect-checkout")
    assert not page.get_by_role("button", name="Show the effect").first.is_visible()
    page.locator("#rate-checkout").fill("240/minute")
    effect.get_by_text("Wait of a newcomer: ").wait_for()
    page.locator("#rate-checkout").fill("240/mi")
    effect.get_by_text("is not a rate").wait_for()
    gate.beat()
    page.locator("#rate-checkout").fill("60/minute")
    effect.get_by_text("without the change").first.wait_for()
    assert orders(gate) == Orders()
    page.keyboard.press("Enter")
    eventually(lambda: orders(gate).room("checkout").rate == "60/minute", what="the rate is ordered")
    effect.locator("p").first.wait_for(state="detached")  # it is the case now
    page.locator("#left-checkout").fill("0")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, do it").click()
    eventually(lambda: orders(gate).room("checkout").left == 0, what="sold out")
    page.locator("#tags-checkout").get_by_text("Sold out").wait_for()
    page.wait_for_function("() => document.querySelector('#left-checkout').defaultValue === '0'")  # followed again from now on


def test_by_keyboard_alone(gate: Listener, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, gate)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "mode-checkout-closed":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert orders(gate) == Orders()
    assert page.evaluate("document.activeElement.id") == "mode-checkout-closed"  # back where one was
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Enter")
    eventually(lambda: orders(gate).room("checkout").mode is RoomMode.CLOSED, what="the room is closed")
    page.wait_for_selector("dialog", state="detached")
    page.get_by_text("Every worker follows").wait_for()


def test_it_works_without_a_script(gate: Listener, open_page: Callable[..., Any]) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, gate, scripted=False)
    page.get_by_role("group", name="Fallback page").get_by_role("button", name="On ").click()
    page.get_by_role("button", name="Yes, do it").click()
    page.get_by_text("Every worker follows").wait_for()
    assert orders(gate).fallback is Switch.ON
    page.get_by_label("Burst").first.fill("3")
    page.get_by_role("button", name="Apply").first.click()
    eventually(lambda: orders(gate).room("checkout").burst == 3, what="the burst is ordered")
    page.get_by_text("Every worker follows").wait_for()


def test_it_says_when_the_gate_is_gone(gate: Listener, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, gate)
    gate.stop()
    gate.sock.close()
    page.get_by_text("The gate does not answer").wait_for()
