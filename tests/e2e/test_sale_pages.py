"""A sale in a real browser at a real gate: the countdown, the draw, the last one sold, a full line, the end, a tab that nobody
looks at, an invitation."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Response

from gate.core.draw import drawn_place
from tests.browser import flaws
from tests.processes import Gate, Shop, eventually, fetch, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]
OPENS, STARTS, CLOSES = 20, 15, 120  # seconds from the start of the module; and for each that the shop takes to start, so many
UNSEEN = 'window.unseen = true; Object.defineProperty(document, "hidden", {get: () => window.unseen});'


@pytest.fixture(scope="module")
def place(tmp_path_factory, browser):
    """The opening is as far away as this machine needs now to start a gate and to have everybody there before."""
    directory = tmp_path_factory.mktemp("sale")
    shop = Shop(directory)
    before = time.monotonic()
    with running(shop):
        slow = time.monotonic() - before
        gate = _gate(directory, shop, int(time.time()), OPENS + round(STARTS * slow))
        with running(gate):
            yield gate


def _gate(directory: Path, shop: Shop, now: int, opens: int) -> Gate:
    return Gate(
        directory,
        {
            "origin": {"servers": [shop.url]},
            "rooms": {
                "drop": {"match": ["/drop/**"], "rate": "10/minute", "order": "random", "opens": now + opens},
                "stock": {"match": ["/stock/**"], "rate": "1/hour", "groups": {"members": {"share": "50%"}}},
                "tiny": {"match": ["/tiny/**"], "rate": "1/minute", "maximum": 1},
                "short": {"match": ["/short/**"], "rate": "1/minute", "closes": now + CLOSES},
                "checkout": {"match": ["/checkout/**"], "rate": "2/second"},
            },
        },
    )


@pytest.fixture
def pages(open_page) -> list[Page]:
    """Three visitors, each with cookies of its own."""
    return [open_page() for _ in range(3)]


def status(gate: Gate, room: str) -> dict:
    return dict(fetch(f"{gate.url}/__gate/rooms/{room}/status").json())


def inside(page: Page) -> bool:
    return page.locator("#gate").count() == 0


def knocks_of(pages: list[Page]) -> list[tuple[str, int]]:
    """What the pages ask for and are told from now on, as it happens: who ``knocks``, who ``waits``, who ``enters``."""
    found: list[tuple[str, int]] = []

    def listen(who: int, page: Page) -> None:
        def asks(request: Request) -> None:
            if request.url.endswith("/pass"):
                found.append(("knocks", who))

        def is_told(response: Response) -> None:
            if response.url.endswith("/pass"):
                found.append(("enters" if response.status == 200 else "waits", who))

        page.on("request", asks)
        page.on("response", is_told)

    for who, page in enumerate(pages):
        listen(who, page)
    return found


def test_the_countdown_runs_out_and_people_get_in_as_they_were_drawn(place, pages):
    """The token that is there at the opening is kept, for four seconds, for whoever was drawn before the one that asks for it.
    A page looks two or three seconds after the opening, but later where its first look was a moment too early or the machine is
    busy. So the first to enter need not be the first drawn; but whoever it passes had not asked by then. From the second on,
    six seconds later each, everybody stands at the door, and the order is the drawn one."""
    knocks = knocks_of(pages)
    for page in pages:
        page.goto(place.url + "/drop/shoe")
        assert page.locator("h1").inner_text() == "We are not open yet"
        assert flaws(page) == []
    assert ":" in pages[0].locator("#count b").inner_text()
    before = status(place, "drop")
    assert (before["state"], before["draw"]["seed"], before["draw"]["drawn"]) == ("early", None, None)
    promised = pages[0].locator("#promise").text_content()
    assert promised == before["draw"]["commitment"]
    numbers = [int(page.locator("#gate").get_attribute("data-number") or 0) for page in pages]
    draw = eventually(lambda: next((d for d in [status(place, "drop")["draw"]] if d["drawn"]), None), 300)
    assert draw["commitment"] == promised
    order = sorted(range(3), key=lambda i: drawn_place(bytes.fromhex(draw["seed"]), draw["drawn"], numbers[i]))
    eventually(lambda: all(inside(page) for page in pages), 120, every=0.2)

    entered = [who for what, who in knocks if what == "enters"]
    assert sorted(entered) == [0, 1, 2]
    first = entered[0]
    knocked = knocks[: knocks.index(("enters", first))]
    begun, asked = knocked.index(("knocks", first)), len(knocked) - knocked[::-1].index(("knocks", first))
    for better in order[: order.index(first)]:
        assert ("knocks", better) not in knocked[:begun], (order, knocks)
        assert ("waits", better) not in knocked[:asked], (order, knocks)
    assert entered[1:] == [i for i in order if i != first], (order, knocks)


def test_the_last_one_is_sold_and_then_there_is_one_more(place, pages):
    for _ in range(20):
        fetch(place.url + "/stock/shoe")
    page = pages[0]
    page.goto(place.url + "/stock/shoe")
    number = page.locator("#gate").get_attribute("data-number")
    place.order("stock", "--left", "0")
    page.locator("h1", has_text="Sold out").wait_for()
    place.order("stock", "--left", "70")
    page.locator("#more", has_text="About 70 left.").wait_for()
    assert page.locator("#gate").get_attribute("data-number") == number
    assert flaws(page) == []


def test_the_message_reaches_a_waiting_page_with_the_next_look(place, pages):
    """How often a page looks is measured where its clock stands still (``tests/web/browser``): within five seconds."""
    page = pages[0]
    place.order("stock", "hold")
    page.goto(place.url + "/stock/shoe")
    place.order("stock", "--message", "Size M is gone")
    assert page.title()  # what the page asked until now has been heard of
    with page.expect_request("**/stock/status") as look:
        pass
    answer = look.value.response()
    assert answer is not None
    assert answer.json()["message"] == "Size M is gone"
    page.locator("#word", has_text="Size M is gone").wait_for()
    place.order("stock", "auto")


def test_a_full_line_says_so_and_gives_no_ticket(place, pages):
    place.order("tiny", "hold")
    pages[0].goto(place.url + "/tiny/shoe")
    assert pages[0].locator("#gate").get_attribute("data-state") == "hold"
    eventually(lambda: all(status(place, "tiny")["full"] for _ in range(10)), what="both workers know")
    pages[1].goto(place.url + "/tiny/shoe")
    assert pages[1].locator("h1").inner_text() == "The line is full"
    assert pages[1].context.cookies() == []
    assert flaws(pages[1]) == []


def test_a_hidden_tab_rings_and_enters_when_it_is_seen(place, pages):
    page = pages[0]
    page.context.grant_permissions(["notifications"], origin=place.url)
    page.add_init_script(UNSEEN)
    place.order("checkout", "hold")
    page.goto(place.url + "/checkout/pay")
    page.locator("#bell").click()
    page.locator("#bell[aria-pressed=true]").wait_for()
    place.order("checkout", "auto")
    eventually(lambda: page.title().startswith("It is your turn"), 180, what="a hidden tab looks after a minute at the latest")
    assert "Your place is kept until" in page.locator("#why").inner_text()
    assert {cookie["name"] for cookie in page.context.cookies()} == {"gate_ticket_checkout"}
    page.evaluate("() => { window.unseen = false; document.dispatchEvent(new Event('visibilitychange')); }")
    page.locator("#gate").wait_for(state="detached")


def test_an_invitation_leads_past_the_common_line_and_is_in_no_log(place, pages):
    for page in pages[:2]:
        page.goto(place.url + "/stock/shoe")
    (link,) = place.command("invite", "stock", "members", "--uses", "1", "--to", "/stock/shoe").stdout.split()[-1:]
    token = link.partition("token=")[2].partition("&")[0]
    pages[2].goto(place.url + "/__gate" + link.partition("/__gate")[2])
    assert pages[2].url == place.url + "/stock/shoe"
    pages[1].goto(place.url + "/__gate" + link.partition("/__gate")[2])
    assert pages[1].locator("h1").inner_text() == "This invitation is used up"
    assert token not in place.process.log.read_text()


def test_the_end_is_told(place, pages):
    if time.time() < status(place, "short")["closes"]:
        pages[0].goto(place.url + "/short/shoe")
        pages[1].goto(place.url + "/short/shoe")
        pages[1].locator("h1", has_text="The sale is over").wait_for(timeout=1000 * CLOSES + 60_000)
    pages[2].goto(place.url + "/short/shoe")
    assert pages[2].locator("h1").inner_text() == "The sale is over"
    assert flaws(pages[2]) == []
