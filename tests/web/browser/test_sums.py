"""The page's script does the same sums as the gate: places, waits, their words, and the draw."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from gate import resources
from gate.core.credentials import Ticket
from gate.core.draw import drawn_place
from gate.core.wait import place_of, span_of
from gate.web.artwork import words_of
from gate.web.languages import Languages
from gate.web.status import status_document
from gate.web.templates import Templates
from tests.web.browser.site import SEED, TAGS, text

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def run_script(page: Any, tag: str, sums: str, *, draws: bool = False) -> None:
    """The page's script with its own names, run once more where the test gets at its functions."""
    folder = resources.static("page.html").parent
    templates = Templates(folder)
    language = Languages([tag], folder / "locale").default
    code = templates.render("waiting.js", words_of(language, "Our shop", opens=False, draws=draws))
    assert "setInterval(safely(step), 500);" in code
    page.evaluate("var gateAgain = 0;" + code.replace("setInterval(safely(step), 500);", f"window.sums = {{ {sums} }};"))


@pytest.mark.parametrize("tag", TAGS)
def test_place_span_and_plural_over_the_whole_range(gate, site, open_page, tag):
    """Against gate.core.wait and the catalogue."""
    language = Languages([tag], resources.static("locale")).default
    page = open_page(locale=tag, extra_http_headers={"Accept-Language": tag})
    page.goto(site.url + "/checkout")
    run_script(page, tag, "span: span, draw: draw")
    cases = [(a, a * b) for a in (0, 0.4, 29, 60, 61, 300, 501, 1200, 1201, 3000, 5399, 7300, 40_000) for b in (1, 1.3, 1.9, 4)]
    shown = page.evaluate("cases => cases.map(([low, high]) => sums.span(low, high))", cases)
    assert shown == [language.span(span_of(low, high)) for low, high in cases]
    counts = [0, 1, 2, 3, 10, 11, 99, 100, 101, 102, 103, 111, 999, 1000, 12_345, 1_234_567]
    places = page.evaluate(
        "ns => ns.map(n => { sums.draw(n, null); return document.getElementById('place').textContent; })", counts
    )
    assert [place.strip() for place in places] == [language.ahead(n) for n in counts]


def test_the_draw(site, open_page):
    site.sale(3600, order="random").room.seed = SEED
    page = open_page()
    page.goto(site.url + "/checkout")
    run_script(page, "en", "permuted: permuted", draws=True)
    cases = [(1, 1), (2, 2), (3, 1), (16, 16), (17, 5), (99, 1), (100, 100), (9_999, 4711), (65_536, 1), (1_000_003, 1_000_003)]
    drawn = page.evaluate(
        "cases => Promise.all(cases.map(([many, n]) => new Promise(done => "
        f"sums.permuted({list(bytes.fromhex(SEED))}, many, n, done))))",
        cases,
    )
    assert drawn == [drawn_place(bytes.fromhex(SEED), many, n) for many, n in cases]


def test_the_wait_also_when_another_rate_is_ordered(gate, site, open_page):
    gate.room.last = 3000
    page = open_page()
    page.goto(site.url + "/checkout")
    number = int(page.locator("#gate").get_attribute("data-number"))
    run_script(page, "en", "place: place")
    language = Languages(["en"], resources.static("locale")).default
    ticket = Ticket("checkout", 1, number, 0, "x" * 22)
    seen = gate.engine.snapshot
    pictures: list[dict[str, Any]] = [
        {"amount": 1200, "burst": 300, "tokens": 300.0, "admitted_per_second": 20.0},
        {"amount": 120, "admitted_per_second": 20.0},
        {"amount": 12, "admitted_per_second": 20.0},
        {"amount": 6000, "admitted_per_second": 0.2, "tokens": 2.0},
        {"amount": 60, "admitted_per_second": 0.9, "present": 0.25},
        {"amount": 600, "admitted_per_second": 1.0, "active": 50, "inside": 50, "tokens": 9.0},
    ]
    for step, picture in enumerate(pictures):
        view = replace(seen.rooms["checkout"], serving=100 + step, through=100 + step, **picture)
        status = status_document(
            "checkout", replace(seen, rooms={"checkout": view}), gate.engine.settings, gate.engine.pages.said
        )
        assert status is not None
        shown = page.evaluate(
            "status => { sums.place(status); return document.getElementById('wait').textContent; }", json.loads(status)
        )
        place = place_of(ticket, view)
        assert place is not None
        assert place.low is not None
        assert place.high is not None
        assert language.span(span_of(place.low, place.high)) in shown, picture


def test_the_wait_does_not_flicker_while_the_rate_wavers(gate, site, open_page):
    """25 % up and down, every look: the words go one way, as the line does."""
    gate.room.last = gate.room.serving + 3000
    page = open_page()
    shown: list[list[int]] = []

    def wavering(route: Any) -> None:
        response = route.fetch()
        up = 1.25 if site.count("GET", "/status") % 2 else 0.8
        route.fulfill(response=response, json={**response.json(), "pace": [each * up for each in (0.4, 0.8)]})

    page.route("**/status", wavering)
    page.goto(site.url + "/checkout")
    for _ in range(40):
        site.passes(page, 3)
        gate.room.serving += 40
        shown.append([int(n) for n in re.findall(r"\d+", text(page, "#wait"))])
    assert site.count("GET", "/status") >= 40
    told = shown[10:]
    assert all(after[1] <= before[1] for before, after in pairwise(told)), told
    assert len({tuple(each) for each in told}) >= 2
