"""Metrics over several processes."""

import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gate.core.credentials import Pass
from gate.core.decision import Decision
from gate.core.settle import Result
from gate.core.words import Outcome, Reason
from gate.status import Status
from gate.web import metrics
from gate.web.metrics import Meter, exposition, wipe
from tests.operator.test_heartbeat import BEAT, picture

STATUS = picture(BEAT)
ADMITTED = Decision(Outcome.FORWARD, Reason.ADMITTED, room="checkout", granted=Pass("checkout", "a", 0, 600))
UNGUARDED = Decision(Outcome.FORWARD, Reason.UNGUARDED)


def read(directory: Path, status: Status = STATUS) -> dict[tuple[str, ...], float]:
    """Every sample by name and label values, in the order of the label names. Fails on what is not exposition format."""
    text = exposition(directory, status).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def test_counts_of_one_process(tmp_path: Path) -> None:
    meter = Meter(tmp_path, ["checkout"])
    for _ in range(3):
        meter.decided(ADMITTED)
    meter.decided(UNGUARDED)
    for seconds in (0.001, 0.005, 0.2, 99.0):
        meter.origin(Result(status=200, seconds=seconds))
    assert ("gate_requests_total", "forward", "admitted", "checkout") not in read(tmp_path)
    meter.flush()
    found = read(tmp_path)
    assert found["gate_requests_total", "forward", "admitted", "checkout"] == 3
    assert found["gate_requests_total", "forward", "unguarded", ""] == 1
    assert found["gate_admitted_total", "checkout"] == 3
    assert found["gate_origin_seconds_bucket", "0.005"] == 2  # its bound belongs to a bucket
    assert found["gate_origin_seconds_bucket", "0.1"] == 2
    assert found["gate_origin_seconds_bucket", "0.25"] == 3
    assert found["gate_origin_seconds_bucket", "30.0"] == 3
    assert found["gate_origin_seconds_bucket", "+Inf"] == 4
    assert found["gate_origin_seconds_count",] == 4
    assert abs(found["gate_origin_seconds_sum",] - 99.206) < 1e-9
    meter.flush()
    assert read(tmp_path) == found
    meter.close()


def _work(directory: str, pipe: Connection) -> None:
    meter = Meter(Path(directory), ["checkout"])
    meter.decided(ADMITTED)
    meter.origin(Result(status=200, seconds=0.01))
    meter.flush()
    pipe.send(meter.slot)
    pipe.recv()


def test_processes_add_up_and_dead_ones_are_replaced_without_a_new_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def start() -> tuple[BaseProcess, Connection, int]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(str(tmp_path), theirs))
        process.start()
        assert ours.poll(20)
        return process, ours, ours.recv()

    workers = [start() for _ in range(3)]
    assert [slot for _, _, slot in workers] == [0, 1, 2]
    assert read(tmp_path)["gate_admitted_total", "checkout"] == 3
    files = sorted(path.name for path in tmp_path.iterdir())
    for round_ in range(3):
        victim, _, slot = workers.pop(0)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join(20)
        assert read(tmp_path)["gate_admitted_total", "checkout"] == 3 + round_  # nothing is lost with the dead
        workers.append(start())
        assert workers[-1][2] == slot
        found = read(tmp_path)
        assert found["gate_admitted_total", "checkout"] == 4 + round_
        assert found["gate_origin_seconds_count",] == 4 + round_
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    for process, pipe, _ in workers:
        pipe.send("enough")
        process.join(20)


def test_wiped_at_start(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "metrics", ["checkout"])
    meter.decided(ADMITTED)
    meter.close()
    wipe(tmp_path / "metrics")
    assert list((tmp_path / "metrics").iterdir()) == []
    assert ("gate_admitted_total", "checkout") not in read(tmp_path / "metrics")


def test_a_file_cut_short_does_not_break_the_scrape(tmp_path: Path) -> None:
    meter = Meter(tmp_path, ["checkout"])
    meter.decided(ADMITTED)
    meter.close()
    path = tmp_path / "counter_0.db"
    path.write_bytes(b"\xff\x7f\x00\x00" + path.read_bytes()[4:50])
    meter = Meter(tmp_path, ["checkout"])
    meter.decided(ADMITTED)
    meter.close()
    assert read(tmp_path)["gate_admitted_total", "checkout"] == 1


def test_the_library_is_not_left_configured(tmp_path: Path) -> None:
    Meter(tmp_path, []).close()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_label_values_are_from_closed_lists(tmp_path: Path) -> None:
    meter = Meter(tmp_path, ["checkout"])
    for outcome in Outcome:
        for reason in Reason:
            meter.decided(Decision(outcome, reason, room="checkout"))
    meter.close()
    for key in read(tmp_path):
        if key[0] == "gate_requests_total":
            assert key[1] in set(Outcome)
            assert key[2] in set(Reason)
            assert key[3] in {"checkout", ""}
    assert metrics.CONTENT_TYPE.startswith("text/plain; version=")


def test_a_ticket_that_asks_for_its_pass_again_is_not_counted_again(tmp_path: Path) -> None:
    meter = Meter(tmp_path, ["checkout"])
    meter.decided(ADMITTED)
    meter.decided(replace(ADMITTED, reason=Reason.PASS))
    meter.decided(replace(ADMITTED, reason=Reason.LOCAL))  # without the store: a pass as well, and told apart
    meter.decided(Decision(Outcome.FORWARD, Reason.BYPASS, room="checkout"))
    meter.flush()
    found = read(tmp_path)
    assert found["gate_admitted_total", "checkout"] == 2
    assert found["gate_requests_total", "forward", "local", "checkout"] == 1
    assert found["gate_requests_total", "forward", "bypass", "checkout"] == 1  # counted apart, per room
    meter.close()
