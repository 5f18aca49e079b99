"""The console without a script: forms that steer, and say what they did."""

import re
import time
from collections import deque
from html import unescape
from html.parser import HTMLParser

import pytest

from gate.core.orders import Orders
from gate.core.words import RoomMode, Shedding, Switch
from gate.heartbeat import RoomBeat
from gate.web.figures import curve
from tests.operator.conftest import Listener
from tests.operator.person import HERE, Person, on_sale, orders
from tests.processes import eventually


@pytest.fixture
def olga(gate: Listener) -> Person:
    return Person(gate, gate.operator)


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
    assert re.search(r'class="pill good" [^>]*>All is well<', olga.get())
    olga.post("/shedding", mode="1")
    assert re.search(r'class="pill warn" [^>]*>1 to look at<', olga.get())
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
    backend = gate.backend
    assert backend is not None
    eventually(lambda: backend.history("drop"), what="it remembers by itself")
    assert backend.history("nope") == []
    backend._history["drop"].append((time.time() + 3600, 0))  # nothing more meanwhile
    backend._history["checkout"] = deque([(time.time() - 60, 7), (time.time() - 30, 1300)])
    assert "Waiting, last 1 min: from 7 to 1\u202f300, at most 1\u202f300" in olga.get()


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
    olga.post("/rooms/checkout", mode="hold")
    olga.post("/rooms/checkout", reset="yes")
    room = orders(gate).room("checkout")
    assert (room.session, room.mode) == (None, RoomMode.HOLD)
    assert re.search(r"As in the config</button> <small [^>]*>all but the mode<", olga.get())


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
