"""The console: forms without a script, and the same page live in a real browser."""

import re
import shutil
import time
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from gate.core.instants import format_instant
from gate.core.orders import Orders
from gate.core.words import RoomMode, Shedding, Switch
from gate.heartbeat import RoomBeat
from gate.web.figures import curve
from gate.web.sessions import IDLE, LONGEST, TRIES, TRIES_WITHIN, Sessions, Tries
from tests.operator.conftest import Listener
from tests.processes import Reply, eventually

HERE = {"Sec-Fetch-Site": "same-origin"}


class Person:
    """Somebody with a browser without JavaScript."""

    def __init__(self, gate: Listener, token: str | None = None) -> None:
        self.gate = gate
        self.jar: dict[str, str] = {}
        if token is not None:
            reply = self.post("/login", token=token)
            assert reply.status == 303, reply.text

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> Reply:
        return self._call("POST", path, urlencode(fields), headers if headers is not None else HERE)

    def get(self) -> str:
        reply = self._call("GET", "/", None, {})
        assert reply.status == 200
        return reply.text

    def _call(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Reply:
        cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        reply = self.gate.api(method, path, body, token=None, **headers, **({"Cookie": cookie} if cookie else {}))
        self.jar.update(reply.cookies)
        return reply


@pytest.fixture
def olga(gate: Listener) -> Person:
    return Person(gate, gate.operator)


def orders(gate: Listener) -> Orders:
    assert gate.backend is not None
    return gate.backend.orders


# --------------------------------------------------------------------------- signing in


def test_without_a_session_there_is_only_the_form(gate: Listener) -> None:
    page = Person(gate).get()
    assert 'action="/login"' in page
    assert "checkout" not in page


def test_signing_in_and_out(gate: Listener) -> None:
    reply = gate.api("POST", "/login", urlencode({"token": gate.operator}), token=None, **HERE)
    cookie = reply.headers["set-cookie"]
    assert reply.headers["location"] == "/"
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="):
        assert attribute in cookie
    assert gate.operator not in cookie
    person = Person(gate, gate.operator)
    assert "olga" in person.get()
    stolen = dict(person.jar)
    person.post("/logout")
    person.jar = stolen
    assert 'action="/login"' in person.get()  # the id is over, not only the cookie


def test_behind_https_the_cookie_has_the_host_prefix(gate: Listener) -> None:
    origin = {"Origin": f"https://127.0.0.1:{gate.port}"}
    reply = gate.api("POST", "/login", urlencode({"token": gate.operator}), token=None, **origin)
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith("__Host-gate_operator=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_a_session_id_that_somebody_brings_along_is_not_taken(gate: Listener) -> None:
    person = Person(gate)
    person.jar["gate_operator"] = "chosen-by-the-attacker"
    person.post("/login", token=gate.operator)
    assert person.jar["gate_operator"] != "chosen-by-the-attacker"


def test_a_removed_operator_is_signed_out_at_once(gate: Listener, olga: Person) -> None:
    assert "Sign out" in olga.get()
    gate.operators.remove("olga")
    assert 'action="/login"' in olga.get()
    assert olga.post("/fallback", mode="off").status == 401
    assert orders(gate) == Orders()


def test_guessing_is_slowed_down(gate: Listener) -> None:
    person = Person(gate)
    for _ in range(TRIES):
        assert person.post("/login", token="guess").status == 401
    reply = person.post("/login", token=gate.operator)
    assert reply.status == 429
    assert 0 < int(reply.headers["retry-after"]) <= TRIES_WITHIN + 1
    assert "guess" not in reply.text


def test_sessions_end(tmp_path: Any) -> None:
    from starlette.requests import Request

    from gate.operators import Operators, Role

    operators = Operators(tmp_path / "s")
    operators.start()
    who = operators.who(operators.add("ann", Role.OPERATOR))
    assert who is not None
    now = [0.0]
    sessions = Sessions(operators, lambda: now[0])

    def request(id_: str) -> Request:
        return Request({"type": "http", "headers": [(b"cookie", f"x=1; gate_operator={id_}".encode())]})

    idle, used = sessions.begin(who), sessions.begin(who)
    for _ in range(int(LONGEST / IDLE)):
        now[0] += IDLE - 1
        assert sessions.find(request(used)) is not None
    assert sessions.find(request(idle)) is None
    now[0] += IDLE - 1
    assert sessions.find(request(used)) is None  # in use, and too old all the same
    for cookie in (b"", b"=", b"gate_operator=", b'gate_operator="\\400"', b"\xff\xfe", b"gate_operator=a; gate_operator=b"):
        assert sessions.find(Request({"type": "http", "headers": [(b"cookie", cookie)]})) is None


def test_tries_are_forgotten_with_time() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(TRIES):
        assert tries.wait("a") == 0
        tries.wrong("a")
    assert tries.wait("a") == TRIES_WITHIN
    assert tries.wait("b") == 0
    now[0] = TRIES_WITHIN
    assert tries.wait("a") == 0


# --------------------------------------------------------------------------- other sites


FOREIGN = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    "path", ["/fallback", "/shedding", "/rooms/checkout", "/rooms/checkout/preview", "/reload", "/login", "/logout"]
)
def test_another_site_cannot_post(gate: Listener, olga: Person, headers: dict[str, str], path: str) -> None:
    given = {name: value.format(port=gate.port) for name, value in headers.items()}
    reply = olga.post(path, headers=given, mode="hold" if "rooms" in path else "off", confirm="yes", token=gate.operator)
    assert reply.status == 403
    assert orders(gate) == Orders()
    assert "Sign out" in olga.get()


def test_our_own_page_can_by_origin_where_the_browser_says_no_more(gate: Listener, olga: Person) -> None:
    assert olga.post("/fallback", headers={"Origin": gate.url}, mode="off").status == 303
    assert orders(gate).fallback is Switch.OFF


def test_the_page_allows_its_own_script_and_style_and_nothing_else(gate: Listener, olga: Person) -> None:
    reply = gate.api("GET", "/", token=None)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", policy)) == 2
    page = olga.get()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert " style=" not in page
    assert " onclick=" not in page


# --------------------------------------------------------------------------- steering without a script


def test_a_mode_button(gate: Listener, olga: Person) -> None:
    reply = olga.post("/rooms/checkout", mode="hold")
    assert (reply.status, reply.headers["location"]) == (303, "/#room-checkout")
    assert orders(gate).room("checkout").mode is RoomMode.HOLD
    page = olga.get()
    assert "Every worker follows" in page
    assert re.search(r'value="hold"[^>]*aria-pressed="true"', page)
    assert re.search(r'value="auto"[^>]*aria-pressed="false"', page)


@pytest.mark.parametrize(
    ("path", "mode"), [("/rooms/checkout", "closed"), ("/rooms/checkout", "open"), ("/fallback", "on"), ("/shedding", "2")]
)
def test_what_everybody_would_feel_is_asked_for_twice(gate: Listener, olga: Person, path: str, mode: str) -> None:
    reply = olga.post(path, mode=mode)
    assert reply.status == 200
    assert orders(gate) == Orders()
    form = reply.text[reply.text.index("<dialog") : reply.text.index("</dialog>")]
    assert f'action="{path}"' in form
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', form))
    assert hidden == {"mode": mode, "confirm": "yes"}
    assert olga.post(path, **hidden).status == 303
    assert orders(gate).version == 1


def test_a_shedding_level_and_a_fallback(gate: Listener, olga: Person) -> None:
    olga.post("/shedding", mode="1")
    olga.post("/fallback", mode="off")
    assert (orders(gate).shedding, orders(gate).fallback) == (Shedding.SHEDDABLE, Switch.OFF)


def test_settings_change_only_what_was_edited(gate: Listener, olga: Person) -> None:
    olga.post("/rooms/checkout", rate="60/minute", burst="20", active="500", message="")
    room = orders(gate).room("checkout")
    assert (room.rate, room.burst, room.active, room.message) == ("60/minute", None, None, None)
    olga.post("/rooms/checkout", rate="60/minute", burst="5", active="", message="Soon")
    room = orders(gate).room("checkout")
    assert (room.rate, room.burst, room.active, room.message) == ("60/minute", 5, 0, "Soon")
    olga.post("/rooms/checkout", reset="yes", rate="7/minute")
    assert orders(gate).room("checkout").rate is None
    version = orders(gate).version
    olga.post("/rooms/checkout", rate="120/minute", burst="20", active="500", message="")
    assert orders(gate).version == version
    assert "those in force" in olga.get()


@pytest.mark.parametrize(
    "fields",
    [{"rate": "often"}, {"burst": "0"}, {"burst": "many"}, {"burst": "²"}, {"active": "-1"}, {"mode": "shut"}, {"mode": ""}],
    ids=str,
)
def test_mistakes_are_said_and_change_nothing(gate: Listener, olga: Person, fields: dict[str, str]) -> None:
    assert olga.post("/rooms/checkout", **fields).status == 303
    assert orders(gate) == Orders()
    assert "Nothing was changed." in olga.get()


def test_what_operators_write_is_text(gate: Listener, olga: Person) -> None:
    olga.post("/rooms/checkout", message='"><script>alert(1)</script>')
    page = olga.get()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_viewer_sees_and_cannot_touch(gate: Listener) -> None:
    vera = Person(gate, gate.viewer)
    page = vera.get()
    assert "1\u202f284" in page
    assert 'class="settings"' not in page
    buttons = re.findall(r'<button name="mode"[^>]*>', page)
    assert buttons
    assert all(" disabled" in button for button in buttons)
    for path in ("/rooms/checkout", "/fallback", "/shedding", "/reload"):
        assert vera.post(path, mode="off", confirm="yes").status == 403
    assert orders(gate) == Orders()


def test_odd_posts(gate: Listener, olga: Person) -> None:
    assert olga.post("/rooms/nope", mode="hold").status == 404
    assert olga.gate.api("POST", "/fallback", b"\xff", token=None, **HERE).status == 401
    assert olga._call("POST", "/fallback", "mode=%ff&" * 60, HERE).status == 400
    assert olga._call("POST", "/fallback", "a" * 70_000, HERE).status == 413
    assert orders(gate) == Orders()


def test_the_reload_button_says_what_is_wrong(gate: Listener, olga: Person) -> None:
    gate.config.write_text(gate.config.read_text().replace("burst: 20", "burst: many"))
    olga.post("/reload")
    page = olga.get()
    assert "the last good one stays" in page
    assert "burst" in page


def test_the_curve_says_in_words_what_it_draws() -> None:
    now = 1_800_000_000.0
    assert curve([], now) is None
    assert curve([(now, 5)], now) is None
    found = curve([(now - 900, 9999), (now - 300, 10), (now - 150, 1284), (now, 0)], now)
    assert found is not None
    assert found["text"] == "Waiting, last 5 min: from 10 to 0, at most 1\u202f284"
    assert found["line"] == "0,38.7 300,1.0 600,39.0"
    assert found["area"] == "0,40 0,38.7 300,1.0 600,39.0 600,40"
    assert curve([(now - 4, 0), (now, 0)], now) is None
    assert curve([(now - 4, 0), (now, 1)], now) is not None


def test_the_console_has_the_words_of_the_command_line(olga: Person) -> None:
    page = re.sub(r"<[^>]*>", "", olga.get())
    assert re.search(r"Serving4\u202f210 of 5\u202f494\s+Tokens3\.4 of 20", page)


def test_the_last_minutes_are_remembered(gate: Listener, olga: Person) -> None:
    gate.backend._history["checkout"].extend([(time.time() - 60, 7), (time.time() - 30, 1300)])  # type: ignore[union-attr]
    page = olga.get()
    assert re.search(r"Waiting, last 1 min: from [\d\u202f]+ to 1\u202f300, at most 1\u202f300", page)
    assert gate.backend is not None
    assert gate.backend.history("drop")
    assert gate.backend.history("nope") == []


class _Structure(HTMLParser):
    """Fails on what only a forgiving parser accepts: ids given twice, labels for nothing, unclosed elements."""

    VOID = frozenset({"meta", "link", "input", "rect", "path", "polygon", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(given["id"] or "")
        for name in ("for", "aria-labelledby", "aria-describedby"):
            self.refers += (given.get(name) or "").split()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes something else"


def test_the_markup_holds_together(gate: Listener, olga: Person) -> None:
    gate.beat(worker=1, age=60)
    for page in (Person(gate).get(), olga.get(), olga.post("/fallback", mode="on").text):
        structure = _Structure()
        structure.feed(re.sub(r"<(rect|path|polygon|polyline)([^>]*)/>", r"<\1\2>", page))
        assert structure.open == []
        assert len(structure.ids) == len(set(structure.ids))
        assert set(structure.refers) <= set(structure.ids)


# --------------------------------------------------------------------------- a sale


def test_the_effect_is_shown_without_a_script_and_nothing_is_changed(gate: Listener, olga: Person) -> None:
    fields = {"rate": "240/minute", "burst": "20", "active": "500", "session": "10m", "message": "", "left": ""}
    page = olga.post("/rooms/checkout/preview", **fields).text
    effect = re.search(r'id="effect-checkout"[^>]*>(.*?)</div>', page, re.DOTALL)
    assert effect is not None
    assert "Wait of a newcomer:" in effect[1]
    assert "without the change" in effect[1]
    assert 'value="240/minute"' in page  # what was typed is still there
    assert orders(gate) == Orders()
    assert "not a rate" in olga.post("/rooms/checkout/preview", **{**fields, "rate": "often"}).text
    same = olga.post("/rooms/checkout/preview", **{**fields, "rate": "120/minute"}).text
    assert "These are the values in force." in same
    assert olga.post("/rooms/nope/preview", **fields).status == 404


def test_session_and_stock_are_set_and_given_back(gate: Listener, olga: Person) -> None:
    fields = {"rate": "120/minute", "burst": "20", "active": "500", "session": "15m", "message": "", "left": "40"}
    olga.post("/rooms/checkout", **fields)
    room = orders(gate).room("checkout")
    assert (room.session, room.left, room.rate) == ("15m", 40, None)
    assert 'id="left-checkout" name="left" data-live="value" value="40"' in olga.get()
    olga.post("/rooms/checkout", **{**fields, "left": ""})
    assert orders(gate).room("checkout").left is None
    olga.post("/rooms/checkout", reset="yes")
    assert orders(gate).room("checkout").session is None


def test_sold_out_is_asked_for_twice(gate: Listener, olga: Person) -> None:
    page = olga.post("/rooms/checkout", left="0", message="Thank you & goodbye").text
    assert orders(gate) == Orders()
    form = page[page.index("<dialog") : page.index("</dialog>")]
    hidden = {name: unescape(value) for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)}
    assert hidden == {"left": "0", "message": "Thank you & goodbye", "confirm": "yes"}
    olga.post("/rooms/checkout", **hidden)
    assert (orders(gate).room("checkout").left, orders(gate).room("checkout").message) == (0, "Thank you & goodbye")
    assert "Sold out" in olga.get()


def test_a_sale_is_shown_with_its_times_and_its_draw(gate: Listener) -> None:
    on_sale(gate)
    olga = Person(gate, gate.operator)
    page = olga.get()
    for part in ("Opens in 2 h", "50\u202f000", "members", "30 %", "commitment <code>" + "ab" * 32):
        assert part in page
    assert "seed <code>" not in page
    gate.beat(rooms={"drop": RoomBeat(drawn=812, commitment="ab" * 32, seed="cd" * 32)})
    page = olga.get()
    assert "812 drawn" in page
    assert "seed <code>" + "cd" * 32 in page


def on_sale(gate: Listener) -> None:
    """The room `drop` opens in two hours, with a draw."""
    now = time.time()
    sale = f'opens: "{format_instant(now + 7260)}", closes: "{format_instant(now + 9000)}", order: random, maximum: 50000'
    text = gate.config.read_text()
    gate.config.write_text(text.replace("10/second}", f"10/second, {sale}, groups: {{members: {{share: 30%}}}}}}"))
    gate.stop()
    gate.start()
    gate.beat(rooms={"drop": RoomBeat(last=900, waiting=900, commitment="ab" * 32)})


# --------------------------------------------------------------------------- in a browser


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "needs Debian's chromium: apt install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def sign_in(page: Any, gate: Listener) -> None:
    page.goto(gate.url)
    page.get_by_label("Operator's token").fill(gate.operator)
    page.keyboard.press("Enter")
    page.wait_for_selector("#main")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(gate: Listener, browser: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def check(what: str) -> None:
        found = Axe().run(page).response["violations"]
        assert not found, (what, [(rule["id"], [node["html"][:160] for node in rule["nodes"]]) for rule in found])

    on_sale(gate)
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
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
    page.set_viewport_size({"width": 320, "height": 640})
    check("on a phone")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # WCAG 1.4.10: no sideways scrolling


@pytest.mark.browser
def test_it_is_live_and_leaves_alone_what_is_edited(gate: Listener, browser: Any) -> None:
    page = browser.new_page()
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


@pytest.mark.browser
def test_the_effect_is_shown_while_one_types(gate: Listener, browser: Any) -> None:
    page = browser.new_page()
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
    assert page.evaluate("document.querySelector('#left-checkout').defaultValue") == "0"  # followed again from now on


@pytest.mark.browser
def test_by_keyboard_alone(gate: Listener, browser: Any) -> None:
    page = browser.new_page()
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


@pytest.mark.browser
def test_it_works_without_a_script(gate: Listener, browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    sign_in(page, gate)
    page.get_by_role("group", name="Fallback page").get_by_role("button", name="On ").click()
    page.get_by_role("button", name="Yes, do it").click()
    page.get_by_text("Every worker follows").wait_for()
    assert orders(gate).fallback is Switch.ON
    page.get_by_label("Burst").first.fill("3")
    page.get_by_role("button", name="Apply").first.click()
    page.get_by_text("Every worker follows").wait_for()
    assert orders(gate).room("checkout").burst == 3


@pytest.mark.browser
def test_it_says_when_the_gate_is_gone(gate: Listener, browser: Any) -> None:
    page = browser.new_page()
    sign_in(page, gate)
    gate.stop()
    gate.sock.close()
    page.get_by_text("The gate does not answer").wait_for()
