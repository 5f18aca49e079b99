"""One run: two gates with two workers each on one store, a shop with a journal, a crowd, and what goes wrong meanwhile."""

import asyncio
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from gate.demo import journal
from tests.laws import records
from tests.laws.checker import History
from tests.laws.crowd import crowd
from tests.laws.records import Fault
from tests.processes import Gate, Shop, eventually, running
from tests.stores import StoreServer


@dataclass(frozen=True)
class Plan:
    """``faults``: names of :data:`FAULTS`, one every ``every`` seconds, beginning when the crowd has begun to come."""

    visitors: int = 120
    over: float = 5.0
    seconds: float = 60.0
    rate: int = 8
    burst: int = 4
    active: int | None = None
    session: int = 600
    faults: Sequence[str] = ()
    every: float = 3.5
    seed: int = 1


@dataclass
class Place:
    gates: list[Gate]
    store: StoreServer
    rng: random.Random
    done: list[Fault] = field(default_factory=list)

    def inflict(self, name: str) -> None:
        work, slack = FAULTS[name]
        begin = time.time()
        work(self)
        self.done.append(Fault(name, begin, time.time(), slack))

    def _worker(self) -> int:
        gate = self.rng.choice(self.gates)
        return int(self.rng.choice([worker for worker in gate.status()["workers"] if worker["alive"]])["pid"])

    def kill_worker(self) -> None:
        os.kill(self._worker(), signal.SIGKILL)

    def pause_worker(self) -> None:
        pid = self._worker()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.5)
        finally:
            os.kill(pid, signal.SIGCONT)

    def flush_scripts(self) -> None:
        with Redis(unix_socket_path=str(self.store.socket), protocol=2) as store:
            store.script_flush()

    def reload(self) -> None:
        for gate in self.gates:
            assert gate.process is not None
            gate.process.signal(signal.SIGHUP)

    def pause_store(self) -> None:
        self.store.signal(signal.SIGSTOP)
        try:
            time.sleep(1.0)
        finally:
            self.store.signal(signal.SIGCONT)

    def empty_store(self) -> None:
        self.store.restart_empty()

    def restart_gate(self) -> None:
        gate = self.gates[-1]
        gate.stop()
        gate.start()


FAULTS: dict[str, tuple[Callable[[Place], None], float]] = {
    "worker killed": (Place.kill_worker, 6.0),
    "worker paused": (Place.pause_worker, 4.0),
    "scripts flushed": (Place.flush_scripts, 0.0),
    "reload": (Place.reload, 6.0),
    "store paused": (Place.pause_store, 6.0),
    "store emptied": (Place.empty_store, 10.0),
    "gate restarted": (Place.restart_gate, 6.0),
}


def run(directory: Path, plan: Plan) -> History:
    """Everything that happened; also left in ``directory`` as clients.jsonl and shop.jsonl."""
    rng = random.Random(plan.seed)
    shop, store = Shop(directory), StoreServer(directory)
    room: dict[str, Any] = {
        "match": ["/checkout/**"],
        "rate": f"{plan.rate}/second",
        "burst": plan.burst,
        "session": f"{plan.session}s",
    }
    if plan.active is not None:
        room["active"] = plan.active
    settings = {"store": store.url, "origin": {"servers": [shop.url]}, "rooms": {"checkout": room}}
    with running(shop, store):
        a, b = (Gate(directory, settings, name) for name in "ab")
        with running(a):
            b.state.mkdir(mode=0o700)
            shutil.copy(a.state / "keys.json", b.state)  # gates that share a store share the key ring
            with running(b):
                place = Place([a, b], store, rng)
                eventually(lambda: all(gate.status()["store"]["up"] for gate in (a, b)), what="the store is up")
                stop = threading.Event()
                nemesis = threading.Thread(target=_inflict, args=(place, plan, stop))
                nemesis.start()
                try:
                    urls = [a.url, b.url]
                    saws = asyncio.run(crowd(urls, plan.visitors, plan.over, plan.seconds, random.Random(plan.seed)))
                finally:
                    stop.set()
                    nemesis.join()
        entries = list(journal.read(shop.journal))
    records.write(directory / "clients.jsonl", [*saws, *place.done])
    return History(saws, place.done, entries, plan.rate, plan.burst, plan.active, plan.session)


def _inflict(place: Place, plan: Plan, stop: threading.Event) -> None:
    for name in plan.faults:
        if stop.wait(plan.every):
            return
        place.inflict(name)
