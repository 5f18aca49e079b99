"""A Black Friday, from the first complaint to the morning after. One test, because each hour rests on the one before."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlencode

import pytest

from gate import heartbeat
from gate.demo.journal import admissions, excess, read
from tests.processes import Gate, Reply, Shop, eventually, fetch, running

pytestmark = pytest.mark.slow

EVERY, TIMEOUT, FALL, RISE = 0.5, 2.0, 3, 2  # seconds, seconds, checks, checks
DOWN_WITHIN = FALL * EVERY + 1.0 + TIMEOUT  # what the gate promises, and the time a check may take to fail
SLACK = 15.0  # seconds that a busy machine may add
RATE, BURST = 1.0, 3  # visitors per second, at once
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html"}


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[tuple[Gate, Shop]]:
    shop = Shop(tmp_path)
    flimsy = {"first_byte": "5s", "breaker": {"failures": 3, "within": "60s", "open": "3s"}}
    gate = Gate(
        tmp_path,
        {
            "origin": {
                "servers": [shop.url],
                "health": {"path": "/healthz", "every": "500ms", "timeout": f"{TIMEOUT:g}s", "fall": FALL, "rise": RISE},
            },
            "rooms": {
                "checkout": {
                    "match": ["/checkout/**", "POST /cart/add"],
                    "rate": "60/minute",
                    "burst": BURST,
                    "session": "60s",
                }
            },
            "routes": [
                {"match": "/reviews/**", "class": "sheddable", "fallback": {"status": 204}, **flimsy},
                {"match": "/api/shipping-rates", "class": "critical", "fallback": {"json": {"rate": 7.99}}, **flimsy},
            ],
            "fallback": {"phone": "+1 555 0100", "retry_after": "2s"},
        },
    )
    with running(shop, gate):
        yield gate, shop


class Visitor:
    """A browser with a cookie jar that stands in line when it is told to."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.jar: dict[str, str] = {}

    def ask(self, path: str, form: dict[str, str] | None = None, accept: dict[str, str] = HTML) -> Reply:
        body = None if form is None else urlencode(form).encode()
        headers = accept if form is None else accept | FORM
        method = "GET" if form is None else "POST"
        reply = fetch(self.gate.url + path, method=method, headers=headers, body=body, cookies=self.jar)
        self.jar |= reply.cookies
        return reply

    def go(self, path: str, form: dict[str, str] | None = None, *, within: float = 120) -> Reply:
        """The shop's answer, asked for again whenever the gate says to come later."""
        deadline = time.monotonic() + within
        while (reply := self.ask(path, form)).status in (202, 503):
            assert time.monotonic() < deadline, (path, reply.decision)
            time.sleep(min(1.0, float(reply.headers["retry-after"])))
        return reply

    def place(self) -> dict[str, int]:
        place: dict[str, int] = self.ask("/__gate/rooms/checkout/ticket", accept=JSON).json()
        return place

    def rate(self) -> str:
        """As the checkout page's script learns it."""
        reply = self.ask("/api/shipping-rates", accept=JSON)
        assert reply.status == 200
        return f"{reply.json()['rate']:.2f}"

    def buy(self) -> str:
        """The order confirmation."""
        assert self.go("/product/lantern").status == 200
        assert self.go("/cart/add", {"product": "lantern"}).headers["location"] == "/cart"
        form = re.search(r'name="form" value="([^"]+)"', self.go("/checkout").text)
        assert form
        order = {"form": form[1], "rate": self.rate(), "name": "Ann", "email": "ann@example.org"}
        placed = self.go("/checkout", order)
        assert placed.status == 303, placed.text
        done = self.go(placed.headers["location"])
        assert "gate-command" not in done.headers
        return done.text


def beats(gate: Gate) -> list[heartbeat.Beat]:
    """What both workers say of themselves."""

    def both() -> list[heartbeat.Beat] | None:
        found = heartbeat.read(gate.state / "run", time.time())
        return found if len(found) == 2 else None

    found: list[heartbeat.Beat] = eventually(both)
    return found


def test_black_friday(evening: tuple[Gate, Shop]) -> None:
    gate, shop = evening
    assert "53.99" in Visitor(gate).buy()  # 49.00 and the day's shipping rate, 4.99

    # -- 18:00: the shipping service dies. Checkout goes on with the flat rate; after a while nobody even asks it.
    shop.knob("shipping", "dead")
    died = time.time()
    window = Visitor(gate)
    assert {window.rate() for _ in range(12)} == {"7.99"}
    eventually(lambda: window.ask("/api/shipping-rates").decision.endswith("reason=breaker"))
    assert "56.99" in Visitor(gate).buy()
    asked = [entry for entry in read(shop.journal) if entry.path == "/api/shipping-rates" and entry.at > died]
    probes = (time.time() - died) / 3.0 + 1
    assert 3 <= len(asked) <= 2 * 2 * (3 + probes)  # of each worker three and the probes, each tried twice at most

    # -- 19:00: the reviews die. The page is whole without them, and nobody at the checkout notices.
    shop.knob("reviews", "dead")
    assert {window.ask("/reviews/lantern").status for _ in range(8)} == {204}
    eventually(lambda: window.ask("/reviews/lantern").decision.endswith("reason=breaker"))
    eventually(
        lambda: "The breaker of /reviews/** is half open" in str(gate.status()["problems"]), what="it would be probed now"
    )
    assert window.ask("/product/lantern").decision == "forward; reason=unguarded"
    assert window.ask("/search?q=mug").status == 200
    assert "56.99" in Visitor(gate).buy()
    assert all(beat.origin_up for beat in beats(gate))

    # -- 20:00: everybody comes at once. A line forms.
    crowd = [Visitor(gate) for _ in range(14)]
    replies = [visitor.ask("/checkout") for visitor in crowd]
    line = [visitor for visitor, reply in zip(crowd, replies, strict=True) if reply.status == 503]
    assert len(line) >= 8
    gate.command("room", "checkout", "hold")
    status = gate.url + "/__gate/rooms/checkout/status"
    eventually(lambda: {fetch(status).json()["state"] for _ in range(10)} == {"hold"})
    line = [visitor for visitor in line if visitor.ask("/checkout").status == 503]
    before = [visitor.place() for visitor in line]
    numbers = [place["number"] for place in before]
    assert len(set(numbers)) == len(numbers)

    # -- 21:00: the shop itself dies. The static page, from both workers, in time.
    assert shop.process is not None
    shop.process.stop(SIGKILL)
    died = time.time()
    seen: list[tuple[float, str]] = []
    while time.time() < died + DOWN_WITHIN + SLACK:
        asked_at = time.time()
        reply = fetch(gate.url + "/", headers=HTML)
        assert reply.status == 503  # nobody ever sees anything else of a dead shop
        seen.append((asked_at - died, reply.decision))
        if {decision for _, decision in seen[-20:]} == {"fallback; reason=origin-down"} and len(seen) > 20:
            break
    else:
        raise AssertionError(seen[-3:])
    told = eventually(lambda: not any(beat.origin_up for beat in beats(gate)) and beats(gate), what="both workers know")
    assert max(beat.since for beat in told) <= died + DOWN_WITHIN + heartbeat.EVERY + SLACK
    page = fetch(gate.url + "/", headers=HTML)
    assert page.headers["retry-after"]
    assert "+1 555 0100" in page.text
    assert 'type="email"' in page.text

    # An address left on the page is kept.
    letter = urlencode({"email": "waiting@example.org"}).encode()
    assert fetch(gate.url + "/__gate/notify-me", method="POST", body=letter, headers=HTML | FORM).status in (200, 202, 303)
    assert "waiting@example.org" in gate.command("export-emails").stdout

    # Those in line keep their place.
    during = [visitor.place() for visitor in line]
    assert [place["number"] for place in during] == numbers
    assert all(now["ahead"] <= then["ahead"] for now, then in zip(during, before, strict=True))

    # -- 22:00: the shop is back, all of it. The gate opens by itself, and the line goes on where it stood.
    gate.command("room", "checkout", "auto")
    shop.start()
    eventually(lambda: {fetch(gate.url + "/").status for _ in range(10)} == {200}, RISE * EVERY + TIMEOUT + 3 + SLACK)
    after = [visitor.place() for visitor in line]
    assert all(now["ahead"] <= then["ahead"] for now, then in zip(after, during, strict=True))
    with ThreadPoolExecutor(len(line)) as pool:
        entered = list(pool.map(lambda visitor: (visitor.go("/checkout").status, time.monotonic()), line))
    assert {status for status, _ in entered} == {200}
    eventually(lambda: window.ask("/reviews/lantern").status == 200)
    eventually(lambda: window.rate() == "4.99")
    assert "53.99" in Visitor(gate).buy()

    # -- The morning after. The shop's own book: never more than the bucket held, and nothing of the gate's in its cookies.
    entries = list(read(shop.journal))
    assert excess(admissions(entries, "checkout"), rate=RATE, burst=BURST) < 1
    assert not [entry for entry in entries if any("gate_" in name for name in entry.cookies)]
    eventually(lambda: json.loads(gate.command("status", "--json").stdout)["rooms"][0]["waiting"] == 0, 60, every=0.5)
