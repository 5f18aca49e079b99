"""The benchmark's short form: every peer that is here starts, answers rightly, and stands in the table. No time is asserted."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.bench import cases, inside, memory, peers, recipes, report
from tests.bench.contest import Case, compete, started
from tests.bench.load import Sample, _read
from tests.bench.processes import DidNotStart, cpu_seconds, running, tree
from tests.processes import eventually, fetch, free_port

FOUND = peers.find()
LOCAL = ("wrk", "nginx", "taskset")
needs_load = pytest.mark.skipif(
    any(name not in FOUND for name in LOCAL), reason=f"no {', '.join(name for name in LOCAL if name not in FOUND)} here"
)


@pytest.fixture
def bench():
    # not tmp_path: the store's socket lies in there, and a socket's path is short
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield cases.Bench(Path(folder), FOUND, rounds=1, seconds=0.2, warm=0.0, say=print, big=2 << 20, passes=100)
        assert [pid for pid in tree(os.getpid())[1:] if _is_server(pid, Path(folder))] == []


def _is_server(pid: int, directory: Path) -> bool:
    try:
        return str(directory) in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@needs_load
@pytest.mark.slow
def test_every_peer_here_is_measured_beside_the_gate(bench):
    found = cases.forward(bench)
    expected = [name for name, _, needs, *_ in cases.FORWARD if all(need in FOUND for need in needs)]
    assert [(case.name, case.problem) for case in found.cases] == [(name, "") for name in ["Floodgate", *expected]]
    absent = [name for name, _, needs, *_ in cases.FORWARD if name not in expected]
    assert [line.partition(":")[0] for line in bench.missing] == absent
    table = report.contest(found, FOUND)
    assert all(f"| {name} |" in table for name in ["**Floodgate**", *expected])
    assert "script calls" in table


@needs_load
@pytest.mark.slow
def test_the_answers_of_the_gate_itself_are_measured(bench):
    contest = cases.line(bench)
    assert [case.problem for case in contest.cases] == [""] * len(contest.cases)
    assert "| **Floodgate** |" in report.contest(contest, FOUND)


@needs_load
@pytest.mark.slow
def test_memory_is_measured(bench):
    rows = [row[:2] for row in memory.measure(bench, connections=100)]
    for what in ("2 MB down, a stream", "2 MB up, a stream", "idle connection"):
        assert (what, "Floodgate") in rows


@needs_load
@pytest.mark.slow
@pytest.mark.skipif("cc" not in FOUND, reason="no C compiler here")
def test_a_small_storm_gives_everybody_a_ticket(bench):
    from tests.bench.rush import storm

    row = storm(bench, total=500, seconds=1)
    assert (row["answered"], row["tickets of their own"], row["errors"], row["cut off while waiting"]) == (
        "500",
        "500",
        "0",
        "0",
    )


@needs_load
@pytest.mark.slow
def test_a_server_with_wrong_answers_is_left_out(bench):
    place = recipes.Place(FOUND, bench.folder("hello"), free_port(), 0)
    url = f"http://127.0.0.1:{place.port}/"
    with started("hello", recipes.asgi(place, "hello"), place.directory, lambda: _answers(url)) as pid:
        cases_ = [Case("right", pid, url, lambda: ""), Case("wrong", pid, url, lambda: "not what it should be")]
        refuser = Case("never refuses", pid, url, lambda: "", refusals=True)
        compete([*cases_, refuser], rounds=1, seconds=0.2, warm=0.0, say=bench.say)
    assert [case.problem for case in cases_] == ["", "not what it should be"]
    assert "answers of the wrong status" in refuser.problem


def _answers(url: str) -> bool:
    try:
        return fetch(url).status == 200
    except OSError:
        return False


def test_a_server_that_does_not_start_says_why(tmp_path):
    with (
        pytest.raises(DidNotStart, match="no such thing"),
        started("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path, lambda: False),
    ):
        pass


def test_what_a_server_started_ends_with_it(tmp_path):
    script = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    with running("parent", [sys.executable, "-c", script], tmp_path) as pid:
        everything = eventually(lambda: found if len(found := tree(pid)) == 2 else None, what="it has a child")
        assert cpu_seconds(pid) >= 0
    eventually(lambda: not any(Path(f"/proc/{one}/exe").exists() for one in everything), what="both are gone")


def test_an_interrupted_run_stops_what_it_started(tmp_path):
    script = """if True:
        import signal, sys
        from pathlib import Path
        from tests.bench import __main__ as it
        from tests.bench.processes import running
        signal.signal(signal.SIGTERM, it._interrupt)
        try:
            with running("sleeper", ["sleep", "600"], Path(sys.argv[1]), None) as pid:
                print(pid, flush=True)
                signal.pause()
        except KeyboardInterrupt:
            print("stopped", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=peers.ROOT
    ) as process:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        assert Path(f"/proc/{sleeper}/exe").exists()
        process.terminate()
        assert process.stdout.read() == "stopped\n"
    assert not Path(f"/proc/{sleeper}/exe").exists()


def _sample(rate: float, cpu: float) -> Sample:
    return Sample(1000, rate, cpu, 1.0, 2.0, 30.0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("rate", "cpu", "verdict"),
    [(500, 50, "aim"), (900, 18, "yes"), (1600, 18, "by CPU"), (500, 10, "by requests/s"), (4000, 10, "no")],
)
def test_the_table_says_honestly_what_was_reached(rate, cpu, verdict):
    ours = Case("Floodgate", 1, "", lambda: "", samples=[_sample(1000, 20)])
    peer = Case("nginx, bare", 2, "", lambda: "", least=0.8, aim=1.5, samples=[_sample(rate, cpu)])
    table = report.contest(cases.Contest("Title", [ours, peer]), peers.Peers(versions={"nginx": "1.22.1"}, where={"nginx": []}))
    cells = [cell.strip() for cell in table.splitlines()[-1].split("|")]
    assert cells[2] == "1.22.1"
    assert float(cells[4]) == pytest.approx(1000 / rate, abs=0.01)
    assert float(cells[6]) == pytest.approx(cpu / 20, abs=0.01)
    assert cells[9] == verdict


def test_what_wrk_says_is_read():
    said = """
     50%    1.07ms
     99%  340.00us
  5000 requests in 2.00s, 5.00MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:   2500.00
"""
    sample = _read(said, 0.1, 12.5, 0.0)
    assert (sample.requests, sample.rate, sample.cpu, sample.p50, sample.p99) == (5000, 2500, pytest.approx(20), 1.07, 0.34)
    assert (sample.errors, sample.unusual, sample.memory) == (3, 7, 12.5)


async def test_what_a_request_costs_inside_is_measured():
    spent, calls = await inside.measure(runs=1)
    assert spent > 0
    assert 10 < calls < 45  # it was 57 once; whoever needs more should know what for
