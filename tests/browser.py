"""Debian's Chromium, for every test with a real browser, and axe, which knows what is a barrier on a page."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 60.0  # seconds until a test gives up what a browser and a server do at once on an idle machine


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One for a module: while Playwright runs, the thread has an event loop, and no test that is a coroutine can start one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None and not os.environ.get("CI"):
        pytest.skip("needs Debian's chromium: apt install chromium")
    assert path, "CI needs Debian's chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            timeout=3000 * PATIENCE,  # on an overrun machine it took more than 20 s
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a page for somebody of their own: with cookies, language and whatever else a context is given."""
    contexts = []

    def make(**options: Any) -> "Page":
        context = browser.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(1000 * PATIENCE)
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


def flaws(page: "Page") -> list[str]:
    """What axe finds, each with the elements concerned."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{flaw['id']}: {flaw['help']}: {[node['html'][:160] for node in flaw['nodes']]}" for flaw in found]
