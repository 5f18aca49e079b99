"""A page of the gate in a real browser. Its clock stands still unless the test wants it ``ticking``."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.web.browser.site import Site
from tests.web.conftest import Gate


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.stop()


@pytest.fixture
def gate(site: Site) -> Gate:
    return site.reset()


@pytest.fixture
def open_page(open_page: Callable[..., Any], site: Site) -> Callable[..., Any]:
    def make(*, ticking: bool = False, ahead: float = 0.0, **options: Any) -> Any:
        page = open_page(**{"viewport": {"width": 360, "height": 740}, "locale": "en", **options})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if "Content Security Policy" in said.text else None)
        if not ticking:
            site.stop_the_clock(page, ahead=ahead)
        return page

    return make
