"""A sale with a draw: people come before it, are drawn at the opening, enter in the drawn order, and can check it."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gate.core.draw import commitment
from tests.processes import Gate, Program, Shop, eventually, fetch, running

pytestmark = pytest.mark.slow

EARLY = 8  # people before the opening
LEAD = 45.0  # seconds from writing the config to the opening: a gate starts, and everybody comes


class Person(Program):
    """Stands in line."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.first = self.ask("/checkout")

    def number(self) -> int:
        return int(self.ask("/__gate/rooms/checkout/ticket").json()["number"])

    def enter(self, until: float) -> float:
        """Knocks twice a second; when the shop answered."""
        while time.time() < until:
            if self.ask("/checkout").decision.startswith("forward"):
                return time.time()
            time.sleep(0.5)
        raise AssertionError("did not enter in time")


def verify(*words: str) -> "subprocess.CompletedProcess[str]":
    """As anybody would type it, without a config."""
    command = [sys.executable, "-m", "gate", "verify-draw", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_a_draw_is_promised_kept_and_checked(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with running(shop):
        opens = int(time.time() + LEAD)
        room = {
            "match": ["/checkout/**"],
            "rate": "30/minute",
            "order": "random",
            "opens": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(opens)),
        }
        gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "rooms": {"checkout": room}})
        with running(gate):
            _sale(gate, opens)


def _sale(gate: Gate, opens: int) -> None:
    people = [Person(gate) for _ in range(EARLY)]
    assert time.time() < opens, "too slow a machine for this lead"
    assert {person.first.decision for person in people} == {"wait; room=checkout; reason=not-open"}
    numbers = {person: person.number() for person in people}

    def told() -> Any:
        return fetch(gate.url + "/__gate/rooms/checkout/status").json()["draw"]

    promised = eventually(lambda: (told() or {}).get("commitment"), what="the draw is promised")
    assert told()["seed"] is None
    assert "in " in gate.command("room", "checkout").stdout
    url = gate.url + "/__gate/rooms/checkout/status"
    early = verify(url, "--number", "1")
    assert early.returncode == 1
    assert promised in early.stderr

    with ThreadPoolExecutor(EARLY) as pool:
        entered = dict(zip(people, pool.map(lambda person: person.enter(opens + 90), people), strict=True))
    assert min(entered.values()) >= opens - 0.1  # by the store's clock, which is this machine's

    draw = told()
    assert draw["commitment"] == promised == commitment(bytes.fromhex(draw["seed"]))
    assert draw["drawn"] >= EARLY
    places = {}
    for person, number in numbers.items():
        done = verify(url, "--number", str(number), "--commitment", promised)
        assert done.returncode == 0
        assert "matches" in done.stderr
        places[person] = int(done.stdout.split(" has place ")[1].split()[0])
    # The token that is there at the opening is not for the quickest. Then one every other second, and everybody knocks twice a
    # second: nobody is overtaken by more than one.
    by_entry = sorted(people, key=lambda person: entered[person])
    by_place = sorted(by_entry, key=lambda person: places[person])
    rows = [(places[person], round(entered[person] - opens, 1)) for person in by_entry]
    assert all(abs(by_place.index(person) - by_entry.index(person)) <= 1 for person in by_entry), rows

    said = [entry["what"] for entry in gate.api("GET", "/api/v1/audit")["entries"] if entry["who"] == "gate"]
    assert said == [
        f"room checkout: {draw['drawn']} drawn, seed {draw['seed']}, commitment {promised}",
        f"room checkout: draw committed to {promised}",
    ]
    assert gate.process is not None
    log = gate.process.log.read_text()
    assert log.count('"draw_committed"') == log.count('"draw_done"') == 1
    _another_opening(gate, draw)


def _another_opening(gate: Gate, draw: dict[str, Any]) -> None:
    """A room is drawn once: whoever sets a second opening is told so, and those who come before it are promised nothing."""
    again = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    before = {worker["config"] for worker in gate.status()["workers"]}
    gate.settings["rooms"]["checkout"]["opens"] = again
    gate.write()
    token = (gate.state_directory / "local.token").read_text().strip()
    reply = fetch(
        gate.operator_url + "/api/v1/config/reload", method="POST", headers={"Authorization": f"Bearer {token}"}, body=b""
    )
    (warning,) = reply.json()["warnings"]
    assert f"the room has had its draw (of {draw['drawn']}), and a room is drawn once" in warning
    assert warning.partition(": ")[2] in gate.command("check", check=False).stdout

    def is_told() -> bool:
        told = gate.status()
        new = not before & {worker["config"] for worker in told["workers"] if worker["alive"]}
        return new and any("checkout has had its draw" in problem for problem in told["problems"])

    eventually(is_told, 60, every=0.3, what="the workers are new ones, and the status says that there will be no draw")
    document = fetch(gate.url + "/__gate/rooms/checkout/status").json()
    assert document["draw"] == draw
    late = Person(gate)
    assert late.first.decision == "wait; room=checkout; reason=not-open"
    assert "a draw decides" not in late.first.text
    assert late.number() > draw["drawn"]
