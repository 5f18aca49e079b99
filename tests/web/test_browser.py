"""The pages in a real browser: they let their visitor in, with and without JavaScript, and everybody can read them."""

import asyncio
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gate import resources
from gate.core.credentials import Ticket
from gate.core.draw import commitment, drawn_place
from gate.core.orders import Orders
from gate.core.wait import place_of, span_of
from gate.core.words import RoomMode, Switch
from gate.web.artwork import words_of
from gate.web.languages import Languages
from gate.web.status import status_document
from gate.web.templates import Templates
from tests.web.conftest import ROOM, Gate, build

CHROMIUM = "/usr/bin/chromium"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists() and os.environ.get("CI") != "true", reason=f"there is no {CHROMIUM}: apt install chromium"
    ),
]
UNSEEN = 'window.unseen = true; Object.defineProperty(document, "hidden", {get: () => window.unseen});'
INSIDE = "h1:text-is('The shop')"
THEMES = ["light", "dark"]
TAGS = ["en", "de", "ar"]


class Site:
    """A gate in memory on a real port, in a thread with its own loop. The test turns its knobs between requests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gate: Gate
        self.asked: list[tuple[str, str]] = []
        self.broken = False  # answer nothing but rubbish to scripts
        self.body: Callable[[bytes], bytes] | None = None  # changes pages on the way, as some CDNs do
        config = uvicorn.Config(
            self._serve,
            host="127.0.0.1",
            port=0,
            http="h11",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_level="warning",
            access_log=False,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        wait_for(lambda: self.server.started)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def reset(self, **settings: Any) -> Gate:
        self.asked.clear()
        self.broken, self.body = False, None
        self.directory = self.directory.parent / f"{self.directory.name}x"
        self.gate = build(self.directory, **settings)
        return self.gate

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate.engine.refresh()
        self.asked.append((scope["method"], scope["path"]))
        if self.broken and scope["path"].startswith("/__gate"):
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"bad"})
            return

        async def through(message: Any) -> None:
            if self.body is not None and message["type"] == "http.response.start":
                message = {**message, "headers": [field for field in message["headers"] if field[0] != b"content-length"]}
            if self.body is not None and message["type"] == "http.response.body":
                message = {**message, "body": self.body(message["body"])}
            await send(message)

        await self.gate.serve(scope, receive, through)

    def count(self, method: str, end: str) -> int:
        return sum(seen[0] == method and seen[1].endswith(end) for seen in self.asked)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


def wait_for(true: Callable[[], Any], seconds: float = 15.0, what: str = "") -> Any:
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or true}"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    assert shutil.which(CHROMIUM), f"CI needs {CHROMIUM}"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, site) -> Iterator[Callable[..., Any]]:
    contexts = []

    def make(**options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 360, "height": 740}, "locale": "en", **options})
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def gate(site) -> Gate:
    return site.reset()


def near(gate: Gate) -> None:
    """Only a few ahead, so that polls come every two seconds."""
    gate.room.last = gate.room.serving + 3


def text(page: Any, selector: str) -> str:
    return page.locator(selector).inner_text()


# --------------------------------------------------------------------------- the line, with JavaScript


def test_the_page_lets_its_visitor_in(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "You are in line"
    assert text(page, "#place").split() == ["3", "people", "are", "ahead", "of", "you"]
    assert page.title() == "(3) You are in line · Our shop"
    gate.room.serving += 2
    wait_for(lambda: text(page, "#place").startswith("1\n") or text(page, "#place").startswith("1 "))
    assert page.title().startswith("(1)")
    assert page.locator("#bar").evaluate("bar => Math.round(bar.value)") == 67
    gate.room.serving += 5
    wait_for(lambda: text(page, "h1") == "It is your turn")
    wait_for(lambda: gate.room.calls.count("claim") >= 1)
    gate.room.tokens = 1
    page.wait_for_selector(INSIDE)
    assert page.errors == []
    assert site.count("GET", "/checkout") == 2, "one page to wait on, one inside; the rest are polls"


def test_the_place_shown_never_grows(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    gate.room.serving += 1
    wait_for(lambda: text(page, "#place").startswith("2"))
    gate.room.serving -= 1
    polls = site.count("GET", "/status")
    wait_for(lambda: site.count("GET", "/status") >= polls + 2)
    assert text(page, "#place").startswith("2")


def test_the_operators_word_and_mode_arrive_while_one_waits(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert page.locator("#word").is_hidden()
    gate.order(RoomMode.AUTO, "The red ones are sold out.")
    wait_for(lambda: page.locator("#word").is_visible())
    assert text(page, "#word") == "The red ones are sold out."
    assert text(page, "#say") == "The red ones are sold out.", "and is said aloud"


@pytest.mark.parametrize(
    ("change", "heading"),
    [
        (lambda gate: gate.order(RoomMode.HOLD), "The line is paused"),
        (lambda gate: gate.order(RoomMode.CLOSED), "We are closed at the moment"),
        (lambda gate: setattr(gate.engine, "orders", Orders(1, fallback=Switch.ON)), "The shop is not answering"),
        (lambda gate: setattr(gate.room, "up", False), "We are checking the line"),
    ],
)
def test_what_happens_meanwhile_is_told_and_passes(gate, site, open_page, change, heading):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    change(gate)
    wait_for(lambda: text(page, "h1") == heading)
    assert heading in text(page, "#say")
    assert heading in page.title()
    gate.order(RoomMode.AUTO)
    gate.engine.orders = Orders()
    gate.room.up = True
    gate.room.serving, gate.room.tokens = 600, 5
    page.locator("button", has_text="Check now").click()
    page.wait_for_selector(INSIDE, timeout=15_000)
    assert page.errors == []


def test_a_room_that_opens_lets_everybody_through(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    gate.order(RoomMode.OPEN)
    page.wait_for_selector(INSIDE)


def test_a_closed_page_joins_when_the_room_takes_people_again(gate, site, open_page):
    gate.order(RoomMode.CLOSED)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "We are closed at the moment"
    gate.order(RoomMode.AUTO)
    page.locator("#form button").click()
    wait_for(lambda: text(page, "h1") == "You are in line")


def test_what_was_sent_with_a_form_is_not_sent_again(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/shoe")
    page.evaluate("""() => { const form = document.createElement("form"); form.method = "post"; form.action = "/checkout/add";
                             document.body.append(form); form.submit(); }""")
    page.wait_for_selector("text=You are in line")
    gate.room.serving, gate.room.tokens = 600, 1
    page.wait_for_selector("text=Go on")
    assert "send it once more" in text(page, "#why")
    assert page.locator("#form").is_hidden()
    page.locator("a.button").click()
    page.wait_for_selector(INSIDE)
    assert page.url == site.url + "/shoe"
    assert site.count("POST", "/checkout/add") == 1


def test_a_gate_that_does_not_answer_is_asked_less_and_less_and_the_place_is_kept(gate, site, open_page):
    near(gate)
    page = open_page()
    page.add_init_script("Math.random = () => 0")
    page.clock.install()
    page.goto(site.url + "/checkout")
    site.broken = True
    times = []
    for _ in range(90):
        page.clock.run_for(1000)
        page.wait_for_timeout(20)
        if sum(path.startswith("/__gate") for _, path in site.asked) > len(times):
            times.append(page.evaluate("Date.now()"))
    gaps = [round((b - a) / 1000) for a, b in pairwise(times)]
    assert gaps[-3:] == pytest.approx([8, 16, 32], abs=2)
    assert "We cannot reach the shop" in text(page, "#why")
    site.broken = False
    gate.room.serving, gate.room.tokens = 600, 1
    page.clock.run_for(70_000)
    page.wait_for_selector(INSIDE)


def test_never_two_questions_at_once(gate, site, open_page):
    near(gate)
    page = open_page()
    open_now = {"now": 0, "most": 0}

    def slow(route: Any) -> None:
        open_now["now"] += 1
        open_now["most"] = max(open_now["most"], open_now["now"])
        route.continue_()

    page.on("requestfinished", lambda request: open_now.update(now=open_now["now"] - ("/status" in request.url)))
    page.route("**/status", slow)
    page.goto(site.url + "/checkout")
    for _ in range(6):
        page.locator("#form button").click()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(500)
    assert open_now["most"] == 1
    assert site.count("POST", "/pass") == 0, "the button asks the shared document first"


def test_a_hidden_tab_asks_seldom_and_catches_up_when_it_is_seen(gate, site, open_page):
    gate.room.last = gate.room.serving + 500  # 200 s at best: a hidden tab asks after 30 s
    page = open_page()
    page.add_init_script(UNSEEN + "Math.random = () => 0")
    page.clock.install()
    page.goto(site.url + "/checkout")

    def looks_in(seconds: int) -> int:
        before = len(site.asked)
        for _ in range(2 * seconds):
            page.clock.run_for(500)
            page.wait_for_timeout(10)
        return len(site.asked) - before

    assert looks_in(20) == 1, "once at first"
    page.evaluate("() => { window.unseen = false; document.dispatchEvent(new Event('visibilitychange')); }")
    assert looks_in(1) == 1, "at once when it is seen"
    assert looks_in(20) >= 5, "the message is told within 5 s"


def test_a_screen_reader_is_not_talked_to_all_the_time(gate, site, open_page):
    gate.room.last = gate.room.serving + 10
    page = open_page()
    page.add_init_script("Math.random = () => 0")
    page.clock.install()
    page.goto(site.url + "/checkout")
    page.evaluate("""() => { const say = document.getElementById("say"); window.heard = [];
        const all = {childList: true, characterData: true, subtree: true};
        new MutationObserver(() => heard.push(say.textContent)).observe(say, all); }""")
    for second in range(40):
        page.clock.run_for(1000)
        wait_for(lambda: text(page, "#next") != "Asking …")
        if second % 8 == 7:
            gate.room.serving += 1
    assert site.count("GET", "/status") >= 10
    heard = page.evaluate("heard")
    assert 1 <= len(heard) <= 2
    assert "ahead of you. Expected wait" in heard[0]
    assert page.locator("[role=status]").count() == 1
    assert page.locator("#next").evaluate("it => !it.closest('[role=status],[aria-live]')"), "the countdown is not announced"


def test_cookies_that_are_refused_are_explained(gate, site, open_page):
    page = open_page()
    page.add_init_script("Object.defineProperty(navigator, 'cookieEnabled', {get: () => false})")
    page.goto(site.url + "/checkout")
    assert "refuses cookies" in text(page, "#why")


def run_script(page: Any, tag: str, sums: str, *, draws: bool = False) -> None:
    """The page's script with its own names, run once more where the test gets at its functions."""
    folder = resources.static("page.html").parent
    templates = Templates(folder)
    language = Languages([tag], folder / "locale").default
    code = templates.render("waiting.js", words_of(language, "Our shop", opens=False, draws=draws))
    assert "setInterval(safely(step), 500);" in code
    page.evaluate("var gateAgain = 0;" + code.replace("setInterval(safely(step), 500);", f"window.sums = {{ {sums} }};"))


@pytest.mark.parametrize("tag", TAGS)
def test_the_script_does_the_same_sums_as_the_gate(gate, site, open_page, tag):
    """Place, span and plural of the script against gate.core.wait and the catalogue, over the whole range."""
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


# --------------------------------------------------------------------------- before it opens, and the draw

SEED = bytes(range(32)).hex()


def sale(site: Site, opens: float, **room: Any) -> Gate:
    """A gate whose room opens in so many seconds."""
    gate = site.reset(rooms={"checkout": {**ROOM, "opens": time.time() + opens, **room}})
    gate.room.serving = gate.room.last = 0
    return gate


def test_the_countdown_runs_out_and_the_first_gets_in(site, open_page):
    gate = sale(site, 5)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "We are not open yet"
    assert text(page, "#place") == "You are next"
    wait_for(lambda: re.fullmatch(r"We open in\s+0:00:0[1-5]", text(page, "#count")))
    wait_for(lambda: text(page, "#say").startswith("We open in less than a minute"))
    assert page.locator("#wait").is_hidden()
    gate.room.tokens = 1
    wait_for(lambda: text(page, "h1") == "You are in line")
    gate.room.serving = 1
    page.wait_for_selector(INSIDE)
    assert page.errors == []


def test_the_countdown_goes_by_the_gates_clock(site, open_page):
    sale(site, 7200)
    page = open_page()
    page.clock.install(time=time.time() + 3600)  # a phone that is an hour ahead
    page.goto(site.url + "/checkout")
    page.clock.run_for(1000)
    assert text(page, "#count b").startswith(("1:59:", "2:00:0"))
    page.clock.run_for(4000)
    wait_for(lambda: site.count("GET", "/status"))
    page.clock.run_for(4000)
    assert text(page, "#count b").startswith("1:59:")


def test_a_countdown_is_announced_three_times(site, open_page):
    sale(site, 720)
    page = open_page()
    page.clock.install()
    page.goto(site.url + "/checkout")
    page.route("**/__gate/**", lambda route: route.abort())
    page.evaluate("""() => { const say = document.getElementById("say"); window.heard = [];
        new MutationObserver(() => heard.push(say.textContent)).observe(say, {childList: true}); }""")
    page.add_init_script("Math.random = () => 0")
    for _ in range(69):
        page.clock.run_for(10_000)
    heard = [said for said in page.evaluate("heard") if said.startswith("We open in")]
    assert heard == ["We open in less than 10 minutes", "We open in less than 5 minutes", "We open in less than a minute"]
    assert page.locator("#count").evaluate("it => !it.closest('[role=status],[aria-live]')"), "not each second"


def test_the_opening_is_told_in_the_visitors_own_time(site, open_page):
    gate = site.reset(rooms={"checkout": {**ROOM, "opens": "2199-11-29T11:00:00Z"}})
    gate.room.serving = gate.room.last = 0
    page = open_page(timezone_id="Asia/Tokyo", locale="de", extra_http_headers={"Accept-Language": "de"})
    page.goto(site.url + "/checkout")
    assert text(page, "#opens") == "Freitag, 29. November 2199 um 20:00"
    assert page.locator("#opens").get_attribute("datetime") == "2199-11-29T11:00:00Z"
    page = open_page(java_script_enabled=False)
    page.goto(site.url + "/checkout")
    assert text(page, "#opens").replace("\u202f", " ") == "Friday, November 29, 2199, 11:00 AM UTC"
    assert page.locator("#count").is_hidden()


@pytest.mark.parametrize("how", ["computed", "asked", "without-javascript"])
def test_who_came_early_is_drawn(site, open_page, how):
    gate = sale(site, 4, order="random")
    gate.room.seed, gate.room.last = SEED, 16
    page = open_page(java_script_enabled=how != "without-javascript")
    if how == "asked":
        page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined}); Math.random = () => 0")
    page.goto(site.url + "/checkout")
    assert "a draw decides the order" in text(page, "#why")
    assert text(page, "#more") == "People here: 17"
    assert page.locator("#place").is_hidden(), "no place before the draw"
    page.locator("summary").click()
    assert text(page, "#promise") == commitment(bytes.fromhex(SEED))
    assert SEED not in page.content()
    assert SEED not in page.request.get(site.url + "/__gate/rooms/checkout/status").text()
    turn = drawn_place(bytes.fromhex(SEED), 20, 17)
    wait_for(lambda: time.time() > gate.engine.settings.rooms["checkout"].opens)
    gate.room.drawn = gate.room.last = 20
    place = f"You were drawn: place {turn} of 20."
    wait_for(lambda: page.locator("#more").is_visible() and text(page, "#more") == place)
    wait_for(lambda: text(page, "#place").startswith(f"{turn - 1}\n") or text(page, "#place").startswith(f"{turn - 1} "))
    assert page.locator("#proof").text_content() == SEED
    if how == "computed":
        assert text(page, "#checked") == "✓"
        assert site.count("GET", "/ticket") <= 1
    gate.room.serving, gate.room.tokens = turn, 1
    page.wait_for_selector(INSIDE)
    assert page.errors == []


def test_a_seed_that_was_not_promised_is_noticed(site, open_page):
    gate = sale(site, 3, order="random")
    gate.room.seed = SEED
    page = open_page()
    page.goto(site.url + "/checkout")
    wait_for(lambda: time.time() > gate.engine.settings.rooms["checkout"].opens)
    gate.room.seed, gate.room.drawn, gate.room.last = SEED[::-1], 20, 20
    page.locator("summary").click()
    wait_for(lambda: page.locator("#checked").is_visible() and text(page, "#checked") == "✗")


def test_the_script_draws_as_the_gate_does(site, open_page):
    sale(site, 3600, order="random").room.seed = SEED
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


# --------------------------------------------------------------------------- how it ends


def test_sold_out_over_and_open_again(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    number = page.locator("#gate").get_attribute("data-number")
    gate.room.left = 2
    wait_for(lambda: page.locator("#more").is_visible())
    assert text(page, "#more") == "More people are ahead of you than are left."
    gate.room.left = 3
    wait_for(lambda: text(page, "#more") == "About 3 left.")
    gate.room.left = 0
    wait_for(lambda: text(page, "h1") == "Sold out")
    assert page.locator("#card").is_hidden()
    assert page.locator("#keep").is_visible(), "the place is kept"
    gate.room.left = 5
    wait_for(lambda: text(page, "h1") == "You are in line")
    assert page.locator("#gate").get_attribute("data-number") == number
    site.reset(rooms={"checkout": {**ROOM, "closes": time.time() - 1}})
    wait_for(lambda: text(page, "h1") == "The sale is over")
    assert "nobody else gets in" in text(page, "#say")
    assert page.errors == []


def test_a_full_line_takes_people_when_there_is_room(site, open_page):
    gate = site.reset(rooms={"checkout": {**ROOM, "maximum": 400}})
    page = open_page()
    page.goto(site.url + "/checkout")
    assert text(page, "h1") == "The line is full"
    assert page.locator("#keep").is_hidden(), "there is no place to keep"
    assert page.context.cookies() == []
    loads = site.count("GET", "/checkout")
    wait_for(lambda: site.count("GET", "/status") >= 3)
    assert site.count("GET", "/checkout") == loads
    gate.room.serving += 100
    wait_for(lambda: text(page, "h1") == "You are in line")


# --------------------------------------------------------------------------- whose turn it is while nobody looks


def test_a_hidden_tab_tells_and_waits_until_it_is_seen(gate, site, open_page):
    near(gate)
    page = open_page()
    page.context.grant_permissions(["notifications"])
    page.add_init_script(
        UNSEEN
        + """window.told = []; window.heard = 0;
        window.Notification = class extends Notification {
            constructor(head, more) { super(head, more); told.push([head, more.body]); } };
        const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function () { window.heard++; start.call(this); }"""
    )
    page.goto(site.url + "/checkout")
    page.get_by_label("Sound when it is my turn").check()
    page.get_by_role("button", name="Notify me").click()
    wait_for(lambda: page.locator("#bell").get_attribute("aria-pressed") == "true")
    gate.room.serving, gate.room.tokens = 600, 1
    wait_for(lambda: page.title().startswith("It is your turn"), seconds=90)
    assert re.match(r"Come back to this tab to go in. Your place is kept until \d+:\d\d", text(page, "#why"))
    wait_for(lambda: len(page.evaluate("told")) == 2, what="one to try it, one for the turn")
    assert page.evaluate("told[1][0]").startswith("It is your turn")
    assert page.evaluate("heard") == 2
    assert gate.room.calls.count("claim") == 0, "the session of nobody does not run"
    page.evaluate("() => { window.unseen = false; document.dispatchEvent(new Event('visibilitychange')); }")
    page.wait_for_selector(INSIDE)
    assert page.errors == []


def test_nothing_is_asked_of_who_does_not_want_it(gate, site, open_page):
    page = open_page()
    page.add_init_script("window.asked = 0; Notification.requestPermission = () => { window.asked++; };")
    page.goto(site.url + "/checkout")
    assert not page.get_by_label("Sound when it is my turn").is_checked()
    assert page.locator("#bell").is_visible() is (page.evaluate("Notification.permission") != "denied")
    page.wait_for_timeout(500)
    assert page.evaluate("asked") == 0


def test_it_says_once_that_somebody_is_here(gate, site, open_page):
    page = open_page()
    page.clock.install()
    page.goto(site.url + "/checkout")
    for _ in range(20):
        page.clock.run_for(1000)
        page.wait_for_timeout(20)
    assert site.count("GET", "/ticket") == 1
    assert gate.room.calls.count("claim") == 0


def test_the_page_tells_the_same_wait_as_the_gate_also_when_another_rate_is_ordered(gate, site, open_page):
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
    page.add_init_script("Math.random = () => 0")
    page.clock.install()
    pace, shown = [0.4, 0.8], []

    def wavering(route: Any) -> None:
        response = route.fetch()
        up = 1.25 if len(shown) % 2 else 0.8
        route.fulfill(response=response, json={**response.json(), "pace": [each * up for each in pace]})

    page.route("**/status", wavering)
    page.goto(site.url + "/checkout")
    for _ in range(40):
        page.clock.run_for(3000)
        wait_for(lambda: text(page, "#next") != "Asking …")
        gate.room.serving += 40
        shown.append([int(n) for n in re.findall(r"\d+", text(page, "#wait"))])
    told = shown[10:]
    assert all(after[1] <= before[1] for before, after in pairwise(told)), told
    assert len({tuple(each) for each in told}) >= 2


# --------------------------------------------------------------------------- without JavaScript


def test_without_javascript_the_page_loads_again_by_itself(gate, site, open_page):
    near(gate)
    page = open_page(java_script_enabled=False)
    page.goto(site.url + "/checkout?step=2")
    assert text(page, "#place").startswith("3")
    gate.room.serving, gate.room.tokens = 600, 1
    page.wait_for_selector(INSIDE, timeout=15_000)
    assert page.url == site.url + "/checkout?step=2"
    assert site.count("GET", "/status") == 0


def test_without_javascript_the_button_asks(gate, site, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(site.url + "/checkout?step=2")
    gate.room.serving, gate.room.tokens = 600, 1
    page.locator("#form button").click()
    page.wait_for_selector(INSIDE)
    assert page.url == site.url + "/checkout?step=2"
    assert site.count("POST", "/pass") == 1


def test_where_the_policy_refuses_a_changed_script_the_page_still_loads_again(gate, site, open_page):
    near(gate)
    site.body = lambda body: body.replace(b"<script>", b"<script>/*changed by a CDN*/")
    page = open_page()
    page.goto(site.url + "/checkout")
    assert any("Content Security Policy" in error for error in page.errors)
    gate.room.serving, gate.room.tokens = 600, 1
    page.wait_for_selector(INSIDE, timeout=15_000)


def test_where_scripts_run_the_page_is_not_loaded_again(gate, site, open_page):
    near(gate)
    page = open_page()
    page.goto(site.url + "/checkout")
    assert page.locator("meta[http-equiv=refresh]").count() == 0
    wait_for(lambda: site.count("GET", "/status") >= 4)
    assert site.count("GET", "/checkout") == 1


def test_a_script_that_breaks_loads_the_page_again(gate, site, open_page):
    page = open_page()
    page.clock.install()
    page.add_init_script("navigator.__defineGetter__('cookieEnabled', () => { throw new Error('old phone') })")
    page.goto(site.url + "/checkout")
    gate.room.serving, gate.room.tokens = 600, 1
    page.clock.run_for(46_000)
    page.wait_for_selector(INSIDE)


# --------------------------------------------------------------------------- for everybody


def states(gate: Gate) -> Iterator[tuple[str, str]]:
    """(name, target) of every page, the gate set up to show it."""
    gate.order(RoomMode.AUTO, "Two pairs per person.")
    yield "line", "/checkout"
    gate.order(RoomMode.HOLD)
    yield "hold", "/checkout"
    gate.order(RoomMode.CLOSED)
    yield "closed", "/checkout"
    gate.order(RoomMode.AUTO)
    gate.room.serving = 600
    yield "called", "/checkout"
    gate.room.up = False
    yield "store", "/checkout"
    gate.room.up = True
    yield "refused", "/__gate/nothing"
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    yield "fallback", "/"


def sales(site: Site) -> Iterator[tuple[str, str]]:
    """The same of the states of a sale, each in a gate of its own."""
    sale(site, 3600)
    yield "early", "/checkout"
    gate = sale(site, 90, order="random")
    gate.room.seed = SEED
    yield "early-draw", "/checkout"
    gate = sale(site, -100, order="random")
    gate.room.seed, gate.room.drawn, gate.room.last = SEED, 5000, 5000
    gate.room.serving, gate.room.left = 2, 40
    yield "drawn", "/checkout"
    gate.room.left = 0
    yield "sold-out", "/checkout"
    site.reset(rooms={"checkout": {**ROOM, "maximum": 400}})
    yield "full", "/checkout"
    site.reset(rooms={"checkout": {**ROOM, "closes": time.time() - 1}})
    yield "over", "/checkout"


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("theme", THEMES)
def test_no_barrier_that_axe_knows(gate, site, open_page, theme, tag):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(color_scheme=theme, locale=tag)
    for name, target in chain(states(gate), sales(site)):
        page.goto(site.url + target)
        if page.locator("#draw").is_visible():
            page.locator("summary").click()
        page.wait_for_timeout(50)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name} {theme} {tag}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} {tag}: scrolls sideways at 360 px"


@pytest.mark.parametrize(
    "options", [{"forced_colors": "active"}, {"contrast": "more"}, {"viewport": {"width": 320, "height": 480}}]
)
def test_high_contrast_and_small_windows(gate, site, open_page, options):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(**options)
    for name, target in chain(states(gate), sales(site)):
        page.goto(site.url + target)
        assert Axe().run(page).violations_count == 0, name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_nothing_moves_for_those_who_ask_for_that(gate, site, open_page):
    """Movement is styled only inside a media rule that holds while nobody asks for less of it."""
    moving = """() => { const found = []; const walk = rules => { for (const rule of rules) {
        if (rule.media && !matchMedia(rule.media.mediaText).matches) continue;
        if (rule.style && (rule.style.transition || rule.style.animation)) found.push(rule.cssText);
        if (rule.cssRules) walk(rule.cssRules); } };
        for (const sheet of document.styleSheets) walk(sheet.cssRules); return found.length; }"""
    for motion, rules in (("no-preference", 1), ("reduce", 0)):
        page = open_page(reduced_motion=motion)
        page.goto(site.url + "/checkout")
        assert page.evaluate(moving) == rules


def test_everything_can_be_reached_with_the_keyboard_and_seen(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.goto(site.url + "/")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
        if len(reached) <= 4:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
    assert reached[:4] == ["Try again", "+1 555 0100", "email", "Keep me posted"], "and not the field for robots"


def test_signing_up_with_the_keyboard(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.goto(site.url + "/")
    page.get_by_label("Write to me when the shop is back").fill("ann@b.example")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Thank you")
    assert [row.address for row in gate.emails.rows()] == ["ann@b.example"]


def test_the_fallback_page_looks_again_but_not_while_somebody_writes(gate, site, open_page):
    gate.engine.orders = Orders(9, fallback=Switch.ON)
    page = open_page()
    page.clock.install()
    page.goto(site.url + "/")
    page.get_by_label("Write to me").fill("ann@")
    page.clock.run_for(120_000)
    assert page.get_by_label("Write to me").input_value() == "ann@"
    assert site.count("GET", "/") == 1
    page.get_by_label("Write to me").fill("")
    page.locator("h1").click()
    gate.engine.orders = Orders(10)
    page.clock.run_for(20_000)
    page.wait_for_selector(INSIDE)


def test_the_pages_need_nothing_from_anywhere(gate, site, open_page):
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url + "/checkout")
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith("data:")] == [site.url + "/checkout"], "not even an icon"
