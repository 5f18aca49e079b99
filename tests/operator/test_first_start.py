"""The first operator's token of a real gate: whoever has it was shown it, and a start that fails makes none."""

import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from gate.operators import Operators
from tests.processes import Gate, Process, eventually

pytestmark = pytest.mark.slow
SHOWN = re.compile(r"operator token, shown only this once: (\S+)")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path, {"workers": 1, "origin": {"servers": ["http://127.0.0.1:9"]}})


def serve(gate: Gate) -> Process:
    gate.write()
    return Process("gate", [sys.executable, "-m", "gate", "serve", "--config", str(gate.config)], gate.directory)


def test_a_start_that_fails_leaves_the_token_to_the_next_one(gate: Gate) -> None:
    with socket.create_server(("127.0.0.1", gate.operator_port)):
        failed = serve(gate)
        failed.popen.wait(60)
        assert failed.stop() == 1
        assert "cannot listen on" in failed.tail()
        assert not SHOWN.search(failed.tail())
    gate.start()
    try:
        shown = eventually(lambda: SHOWN.search(gate.process.log.read_text() if gate.process else ""), what="a token is shown")
        who = Operators(gate.state).who(shown[1])
        assert who is not None
        assert who.name == "admin"
    finally:
        gate.stop()


def test_ctrl_c_while_it_starts_uses_up_no_token_unseen(gate: Gate) -> None:
    process = serve(gate)
    eventually(lambda: any("spawn_main" in text for text in process.command_lines().values()), 60, what="a child starts")
    for pid in (process.pid, *process.children()):  # as a terminal does: to all of them
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    process.popen.wait(60)
    process.stop()
    assert bool(Operators(gate.state).list()) == bool(SHOWN.search(process.log.read_text()))
