"""Two gates with two workers each, and a store that is gone for longer than ``without_store.closed``: what a crowd meets."""

import http.client
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gate.demo.journal import admissions, excess, read
from tests.e2e.test_gate import Visitor
from tests.processes import Gate, Shop, eventually, fetch, running
from tests.stores import StoreServer

pytestmark = pytest.mark.slow

CLOSED = 8.0
RATE, BURST = 8, 16
LATE = 3.0  # seconds: who was let in before may still be on the way to the shop
AWAY = 12.0  # seconds in which the share is used


def settings(shop: Shop, store: StoreServer, **more):
    return {
        "store": store.url,
        "without_store": {"closed": f"{CLOSED:g}s", "then": "local", "gates": 2, **more},
        "origin": {"servers": [shop.url], "health": {"path": "/healthz", "every": "500ms", "timeout": "5s"}},
        "rooms": {"checkout": {"match": ["/checkout/**"], "rate": f"{RATE}/second", "burst": BURST, "session": "300s"}},
    }


@pytest.fixture
def place(tmp_path, request):
    """(gate a, gate b, shop, store)"""
    shop, store = Shop(tmp_path), StoreServer(tmp_path)
    with running(shop, store):
        a, b = (Gate(tmp_path, settings(shop, store, **getattr(request, "param", {})), name) for name in "ab")
        with running(a):
            b.state.mkdir(mode=0o700)
            shutil.copy(a.state / "keys.json", b.state)  # gates that share a store share the key ring
            with running(b):
                yield a, b, shop, store


class Crowd:
    """So many at once ask to enter at either gate, at least every second; who is through is followed by another."""

    def __init__(self, a: Gate, b: Gate, size: int) -> None:
        self._gates, self._size = (a, b), size
        self._over = threading.Event()
        self.through: list[tuple[float, str]] = []  # when, decision
        self.refused: list[int] = []

    def __enter__(self) -> "Crowd":
        self._pool = ThreadPoolExecutor(self._size)
        self._work = [self._pool.submit(self._visitors, turn) for turn in range(self._size)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for work in self._work:
            work.result()

    def _visitors(self, turn: int) -> None:
        while not self._over.is_set():
            visitor = Visitor(*self._gates[turn % 2 :], *self._gates[: turn % 2])
            while not self._over.is_set():
                try:
                    reply = visitor.get("/checkout", headers={"Accept": "application/json"}, timeout=30)
                except (OSError, http.client.HTTPException):  # its worker was killed
                    self._over.wait(0.3)
                    continue
                if reply.decision.startswith("forward"):
                    self.through.append((time.time(), reply.decision))
                    break
                if not reply.decision.startswith("wait"):
                    self.refused.append(reply.status)
                self._over.wait(min(1.0, max(0.3, float(reply.headers["retry-after"]))))


def conditions(*gates: Gate) -> set[str]:
    """What the living workers say; nothing while a gate is too busy to tell."""
    try:
        return {worker["condition"] for gate in gates for worker in gate.status()["workers"] if worker["alive"]}
    except OSError:
        return set()


def test_the_shop_goes_on_by_shares_and_the_law_holds_through_the_return(place):
    a, b, shop, store = place
    with Crowd(a, b, 40) as crowd:
        eventually(lambda: len(crowd.through) > 20, 60)
        store.signal(signal.SIGSTOP)
        gone = time.time()
        try:
            eventually(lambda: conditions(a, b) == {"local-share"}, 60, what="every worker goes by its share")
            begun = time.time()
            time.sleep(AWAY)  # what is measured is a stretch of time
            back = time.time()
            shared = a.command("status").stdout
            states = {fetch(gate.url + "/__gate/rooms/checkout/status").json()["state"] for gate in (a, b)}
        finally:
            store.signal(signal.SIGCONT)
        eventually(lambda: conditions(a, b) == {"normal"}, 60, what="every worker is back")
        since = len(crowd.through)
        eventually(lambda: len(crowd.through) > since + 3 * RATE, 60, what="it goes on")
    entered = admissions(read(shop.journal), "checkout")
    assert excess(entered, rate=RATE, burst=BURST) < 1  # one more visitor would be 1; less is the way from the gate to the shop
    assert [at for at in entered if gone + LATE < at < gone + CLOSED - 1.5] == [], "for so long nobody new"
    meanwhile = [at for at in entered if begun < at < back]
    assert len(meanwhile) >= 0.7 * RATE * (back - begun) - 1
    assert crowd.refused == []
    assert states == {"line"}, "people do get in, and the pages say so"
    local = {decision for at, decision in crowd.through if begun + 1 < at < back}
    assert local == {"forward; room=checkout; reason=local"}
    assert "local-share" in shared or "share of the rate" in shared
    for gate in (a, b):
        log = gate.process.log.read_text()
        assert "local_share_begins" in log
        assert "local_share_ends" in log
        assert not list((gate.state / "local").iterdir()), "all of it has been told"


@pytest.mark.parametrize("place", [{"then": "closed"}], indirect=True)
def test_who_wants_it_strict_lets_nobody_in(place):
    a, b, shop, store = place
    with Crowd(a, b, 10) as crowd:
        eventually(lambda: len(crowd.through) > 5, 60)
        store.signal(signal.SIGSTOP)
        gone = time.time()
        try:
            eventually(lambda: conditions(a, b) == {"store-away"}, 60)
            time.sleep(CLOSED + 5)
            back = time.time()
        finally:
            store.signal(signal.SIGCONT)
        since = len(crowd.through)
        eventually(lambda: len(crowd.through) > since + 5, 60)
    entered = admissions(read(shop.journal), "checkout")
    assert [at for at in entered if gone + LATE < at < back] == []


def test_a_gate_that_is_restarted_meanwhile_tells_what_it_let_in_before(place):
    a, b, shop, store = place
    with Crowd(a, b, 30) as crowd:
        eventually(lambda: len(crowd.through) > 15, 60)
        store.signal(signal.SIGSTOP)
        try:
            eventually(lambda: conditions(a, b) == {"local-share"}, 60)
            since = len(crowd.through)
            eventually(lambda: len(crowd.through) > since + 10, 60)
            victims = [pid for pid, text in b.process.command_lines().items() if "spawn_main" in text]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
        finally:
            store.signal(signal.SIGCONT)
        eventually(lambda: conditions(a, b) == {"normal"}, 60)
        since = len(crowd.through)
        eventually(lambda: len(crowd.through) > since + 2 * RATE, 60)
    assert excess(admissions(read(shop.journal), "checkout"), rate=RATE, burst=BURST) < 1
    assert not list((b.state / "local").iterdir())
