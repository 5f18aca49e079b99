"""How `gate serve` begins, and what Ctrl-C in its first seconds leaves: nothing, and no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate import resources
from tests.processes import Gate, eventually, free_port

pytestmark = pytest.mark.slow
SERVE = [sys.executable, "-m", "gate", "serve"]


def group(leader: int) -> list[int]:
    """Every process of the group: who hears Ctrl-C in its terminal."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, members, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(members) == leader and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(("processes", "later"), [(1, 0.0), (2, 0.0), (3, 0.1), (5, 0.0), (5, 0.3)])
def test_ctrl_c_while_it_starts_ends_it_without_a_word(tmp_path: Path, processes: int, later: float) -> None:
    """As soon as there are so many processes, or while they read their modules."""
    gate = Gate(tmp_path, {"workers": 2})
    gate.write()
    log = tmp_path / "gate.log"
    with log.open("wb") as out:
        serve = subprocess.Popen(
            [*SERVE, "--config", str(gate.config)], cwd=tmp_path, stdout=out, stderr=out, start_new_session=True
        )
    try:
        if processes == 1:
            eventually(gate.state.exists, 60, what="it prepares its state")
        else:
            eventually(lambda: len(group(serve.pid)) >= processes, 60, every=0.005, what=f"there are {processes} processes")
        time.sleep(later)
        os.killpg(serve.pid, signal.SIGINT)
        code = serve.wait(60)
        eventually(lambda: not group(serve.pid), 20, what="all have ended")
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGKILL)
            serve.wait()
    assert "Traceback" not in log.read_text()
    assert "KeyboardInterrupt" not in log.read_text()
    assert code == 0, log.read_text()


def test_ctrl_c_while_the_command_itself_is_read_ends_it_without_a_word() -> None:
    code = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "gate.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from gate.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("named", [False, True])
def test_the_config_is_named_and_the_packaged_one_is_warned_of(tmp_path: Path, named: bool) -> None:
    """In a directory without a gate.yaml the example that comes with the gate runs: before no shop of yours."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATE_")}
    env |= {"GATE_LISTEN": f"127.0.0.1:{free_port()}", "GATE_OPERATOR__LISTEN": f"127.0.0.1:{free_port()}"}
    env |= {"GATE_STATE": str(tmp_path / "state"), "GATE_WORKERS": "1"}
    if named:
        (tmp_path / "gate.yaml").write_text("workers: 1\n")
    log = tmp_path / "gate.log"
    with log.open("wb") as out:
        serve = subprocess.Popen(SERVE, cwd=tmp_path, env=env, stdout=out, stderr=out)
    try:
        eventually(lambda: "gate: operator token" in log.read_text() or serve.poll() is not None, 120, what="it is up")
    finally:
        serve.terminate()
        serve.wait(60)
    said = log.read_text()
    assert f"gate: config {tmp_path / 'gate.yaml' if named else resources.config('gate.yaml')}\n" in said
    assert ("warning: that is the example that comes with the gate" in said) is not named
