"""Reloads and restarts of one real gate: what cannot start changes nothing, and nothing keeps the gate from ending."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.core.words import Switch
from tests.processes import Gate, Process, Shop, eventually, fetch, running

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html"}
ENDS = 29.0  # seconds: nobody has anything to finish, and draining for its own sake would take 30
ROLLS = 150.0  # seconds: three processes start one after the other, twice where an edit is noticed and asked for too


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    with running(shop):
        yield shop


@pytest.fixture
def gate(request: pytest.FixtureRequest, tmp_path: Path, shop: Shop) -> Iterator[Gate]:
    gate = Gate(
        tmp_path,
        {
            "origin": {"servers": [shop.url]},
            "rooms": {"checkout": {"match": ["/checkout/**"], "rate": "5/second"}},
            **getattr(request, "param", {}),
        },
    )
    with running(gate):
        yield gate


def process_of(gate: Gate) -> Process:
    assert gate.process is not None
    return gate.process


def workers(gate: Gate) -> set[int]:
    """The gate's own processes now, by the way they are started."""
    return {pid for pid, text in process_of(gate).command_lines().items() if "spawn_main" in text}


def said(gate: Gate, event: str) -> int:
    return process_of(gate).log.read_text().count(event)


def change(gate: Gate, **settings: Any) -> None:
    gate.settings |= settings
    gate.write()


def reload(gate: Gate) -> Any:
    """What the API answers."""
    token = (gate.state / "local.token").read_text().strip()
    return fetch(
        gate.operator_url + "/api/v1/config/reload", method="POST", headers={"Authorization": f"Bearer {token}"}, body=b""
    )


def brand(gate: Gate) -> Callable[[str], bool]:
    """Is this name on the page of a room that is held?"""
    gate.api("PATCH", "/api/v1/rooms/checkout", {"mode": "hold"})
    return lambda name: all(name in fetch(gate.url + "/checkout", headers=HTML).text for _ in range(6))


def ends(gate: Gate) -> None:
    """SIGTERM ends the gate and every process it ever had, in time."""
    pids = workers(gate)
    process_of(gate).stop(seconds=ENDS)
    assert not [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_config_that_no_worker_could_run_is_refused_by_everybody_and_a_better_one_is_taken(
    gate: Gate, tmp_path: Path
) -> None:
    named = brand(gate)
    before = workers(gate)
    change(gate, edge={"trust": ["cloudfront"]})  # no list of its networks comes with the gate
    checked = gate.command("check", check=False)
    assert checked.returncode == 1
    assert "edge.trust[0]" in checked.stderr
    answer = reload(gate)
    assert answer.status == 422
    assert "edge.trust[0]" in answer.json()["problems"][0]
    eventually(lambda: said(gate, "config_refused"), what="the edit is refused too")
    assert any("edge.trust[0]" in problem for problem in gate.status()["problems"])
    assert "gate_config_refused 1.0" in fetch(gate.operator_url + "/metrics").text

    logo = tmp_path / "logo.svg"
    logo.write_text("this is no picture")
    change(gate, edge={}, brand={"logo": str(logo)})
    answer = reload(gate)
    assert answer.status == 422
    assert "brand.logo" in answer.json()["problems"][0]
    assert workers(gate) == before

    change(gate, brand={"name": "Better & Sons"}, listen="127.0.0.1:1")
    answer = reload(gate)
    assert (answer.status, answer.json()) == (202, {"accepted": True, "need_restart": ["listen"], "warnings": []})
    eventually(lambda: named("Better &amp; Sons"), ROLLS)
    eventually(lambda: not gate.status()["config_refused"], what="the file is in force")
    assert "gate_config_refused 0.0" in fetch(gate.operator_url + "/metrics").text
    eventually(lambda: len(workers(gate)) == 3 and not workers(gate) & before, ROLLS, what="the old ones have gone")
    ends(gate)


def test_a_successor_that_does_not_come_up_changes_nothing(gate: Gate) -> None:
    named = brand(gate)
    before = workers(gate)
    counters = gate.state / "run" / "metrics"
    counters.rename(counters.with_name("elsewhere"))
    counters.write_text("no directory: a worker cannot count, and does not start")
    change(gate, brand={"name": "Never Seen"})
    eventually(lambda: said(gate, "reload_stuck"), ROLLS)
    eventually(lambda: workers(gate) == before, ROLLS, what="those that came up have gone, the old ones are there")
    assert any("last reload failed" in problem for problem in gate.status()["problems"])
    gate.api("PUT", "/api/v1/fallback", {"mode": Switch.ON})
    eventually(lambda: {fetch(gate.url + "/").decision for _ in range(8)} == {"fallback; reason=ordered"})
    assert not named("Never Seen")
    eventually(lambda: gate.status()["in_force"])
    assert len(gate.status()["workers"]) == 2

    counters.unlink()
    counters.with_name("elsewhere").rename(counters)
    process_of(gate).signal(signal.SIGHUP)  # the file has not changed; asked to, the gate tries again
    gate.api("PUT", "/api/v1/fallback", {"mode": Switch.AUTO})
    eventually(lambda: named("Never Seen"), ROLLS)
    eventually(lambda: not gate.status()["config_refused"], what="the file is in force")
    ends(gate)


def test_sigterm_ends_a_gate_whose_reload_hangs(gate: Gate) -> None:
    before = workers(gate)
    change(gate, brand={"name": "Slow"})
    (fresh, *_) = eventually(lambda: workers(gate) - before, ROLLS)
    os.kill(fresh, signal.SIGSTOP)  # it will never be ready, and does not hear SIGTERM
    ends(gate)
    assert not Path(f"/proc/{fresh}/cmdline").exists() or not Path(f"/proc/{fresh}/cmdline").read_bytes()


def test_an_edit_while_the_gate_starts_is_noticed(tmp_path: Path, shop: Shop) -> None:
    gate = Gate(
        tmp_path, {"origin": {"servers": [shop.url]}, "rooms": {"checkout": {"match": ["/checkout/**"], "rate": "5/second"}}}
    )
    starting = threading.Thread(target=gate.start)
    starting.start()
    eventually((gate.state / "local.token").exists, 60, every=0.01, what="the config has been read")
    change(gate, brand={"name": "In Time"})
    starting.join()
    try:
        named = brand(gate)
        eventually(lambda: named("In Time"), ROLLS)
    finally:
        gate.stop()


@pytest.mark.parametrize("gate", [{"visitors": {"body_rate": 0}}], indirect=True, ids=["patient"])
def test_workers_that_drain_are_not_shown(gate: Gate) -> None:
    before = {worker["pid"] for worker in gate.status()["workers"]}
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(socket.create_connection(("127.0.0.1", gate.port))) for _ in range(6)]
        for visitor in visitors:  # in the middle of a request until they send the last byte
            visitor.sendall(b"POST /cart/add HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nx")
        eventually(lambda: gate.status()["connections"] == 6)
        change(gate, workers=1)
        eventually(lambda: said(gate, "config_applied"), ROLLS)
        eventually(lambda: len(gate.status()["workers"]) == 1, what="the two of before say no more")
        (now,) = {worker["pid"] for worker in gate.status()["workers"]}
        assert now not in before
        seen = set()
        for _ in range(25):
            status = gate.status()
            seen.add((tuple(worker["pid"] for worker in status["workers"]), tuple(status["problems"])))
            time.sleep(0.1)
        assert seen == {((now,), ())}
        assert all(Path(f"/proc/{pid}").exists() for pid in before)  # they drained all the while
        for visitor in visitors:
            visitor.sendall(b"x")
            assert visitor.recv(65536).startswith(b"HTTP/1.1 ")
    eventually(lambda: len(workers(gate)) == 2, what="the operator's process and one worker")


def test_a_low_limit_of_open_files_is_raised(tmp_path: Path, shop: Shop) -> None:
    gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "workers": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running(gate):
            for process in (process_of(gate).popen.pid, *workers(gate)):
                assert resource.prlimit(process, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("emptied", [False, True], ids=["stored", "emptied"])
def test_orders_survive_a_restart(gate: Gate, emptied: bool) -> None:
    for number in range(3):
        gate.command("shed", str(number % 2 + 1))
    gate.command("room", "checkout", "hold", "--message", "We are counting the lanterns")
    version = gate.status()["version"]
    assert version == 4
    process_of(gate).stop(seconds=ENDS)
    if emptied:
        shutil.rmtree(gate.state / "store")
    gate.start()
    reply = fetch(gate.url + "/checkout", headers=JSON)  # the first answer already
    assert reply.decision == "wait; room=checkout; reason=hold"
    eventually(
        lambda: gate.status()["in_force"] and gate.status()["stored"], what="the workers follow, the store has them again"
    )
    status = gate.status()
    assert status["version"] == version
    assert (status["shedding"]["mode"], status["rooms"][0]["mode"]) == ("1", "hold")
    assert status["rooms"][0]["message"] == "We are counting the lanterns"
    gate.command("room", "checkout", "open")
    assert gate.status()["version"] == version + 1
    eventually(lambda: fetch(gate.url + "/checkout").decision == "forward; room=checkout; reason=open")


def test_junk_in_the_place_of_the_orders_stops_nobody(gate: Gate) -> None:
    for junk in ("", "[]", "{", '{"version": 9, "fallback": "auto", "shedding": "auto", "rooms": []}', "[" * 100_000):
        (gate.state / "orders.json").write_text(junk)
        time.sleep(0.6)  # every worker looks twice a second
    gate.api("PUT", "/api/v1/fallback", {"mode": "on"})
    eventually(lambda: {fetch(gate.url + "/").decision for _ in range(8)} == {"fallback; reason=ordered"})
    assert said(gate, "background_failed") == 0
