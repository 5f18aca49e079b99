"""The shop in a real browser, in light and dark, with and without JavaScript."""

from collections.abc import Callable
from typing import Any

import pytest

from gate.demo.processes import ShopProcess
from tests.browser import flaws

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_visitor_buys_and_no_page_has_a_flaw(shop: ShopProcess, open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for path in ("/", "/product/lantern", "/search?q=nothing"):
        page.goto(shop.url + path, wait_until="networkidle")
        assert flaws(page) == []
    page.goto(f"{shop.url}/product/lantern", wait_until="networkidle")
    page.get_by_role("heading", name="Reviews").wait_for()
    page.get_by_role("button", name="Add to cart").click()
    page.wait_for_url("**/cart")
    assert flaws(page) == []
    page.get_by_role("link", name="Go to checkout").click()
    page.get_by_text("4.99").wait_for()  # the rate of the day has come
    assert flaws(page) == []
    page.get_by_label("Name").fill("Ann")
    page.get_by_label("E-mail").fill("ann@example.org")
    page.get_by_role("button", name="Buy now").click()
    page.get_by_role("heading", name="Thank you, Ann").wait_for()
    assert "53.99 €" in page.inner_text("main")
    assert "/orders/" in page.url  # a reload asks for a page that no room guards
    page.reload()
    assert page.get_by_role("heading", name="Thank you, Ann").is_visible()
    assert flaws(page) == []
    assert said == []


def test_what_is_missing_is_not_missed(shop: ShopProcess, open_page: Callable[..., Any]) -> None:
    shop.turn(reviews="dead", recommendations="fail", shipping="dead")
    page = open_page()
    page.goto(f"{shop.url}/product/mug", wait_until="networkidle")
    assert page.get_by_role("heading").all_inner_texts() == ["Enamel Mug"]
    page.get_by_role("button", name="Add to cart").click()
    page.wait_for_url("**/cart")
    page.goto(f"{shop.url}/checkout", wait_until="networkidle")
    assert "Shipping: 7.99 €" in page.inner_text("main")


def test_it_sells_without_javascript(shop: ShopProcess, open_page: Callable[..., Any]) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{shop.url}/product/mug")
    assert page.get_by_role("link", name="Reviews").is_visible()
    page.get_by_role("button", name="Add to cart").click()
    page.get_by_role("link", name="Go to checkout").click()
    page.get_by_label("Name").fill("Ann")
    page.get_by_label("E-mail").fill("ann@example.org")
    page.get_by_role("button", name="Buy now").click()
    page.get_by_role("heading", name="Thank you, Ann").wait_for()
    assert "20.49 €" in page.inner_text("main")
