"""Where no script runs, be it for want of JavaScript or because a policy refuses it: the page loads again by itself."""

import pytest

from tests.web.browser.site import INSIDE, near, text

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_page_loads_again_by_itself(gate, site, open_page):
    near(gate)
    page = open_page(ticking=True, java_script_enabled=False)
    page.goto(site.url + "/checkout?step=2")
    assert text(page, "#place").startswith("3")
    gate.room.serving, gate.room.tokens = 600, 1
    page.wait_for_selector(INSIDE)
    assert page.url == site.url + "/checkout?step=2"
    assert site.count("GET", "/status") == 0


def test_the_button_asks(gate, site, open_page):
    page = open_page(ticking=True, java_script_enabled=False)
    page.goto(site.url + "/checkout?step=2")
    gate.room.serving, gate.room.tokens = 600, 1
    page.locator("#form button").click()
    page.wait_for_selector(INSIDE)
    assert page.url == site.url + "/checkout?step=2"
    assert site.count("POST", "/pass") == 1


def test_where_the_policy_refuses_a_changed_script_the_page_still_loads_again(gate, site, open_page):
    near(gate)
    site.body = lambda body: body.replace(b"<script>", b"<script>/*changed by a CDN*/")
    page = open_page(ticking=True)
    page.goto(site.url + "/checkout")
    assert any("Content Security Policy" in error for error in page.errors)
    gate.room.serving, gate.room.tokens = 600, 1
    page.wait_for_selector(INSIDE)
