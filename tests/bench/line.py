"""Waiting answers against bare uvicorn: the line page with a new signed ticket each, and the shared status document.

``python -m tests.bench.line [rounds] [seconds]`` from the repository. wrk sends no cookies, so every request is a new visitor.
"""

import sys
import tempfile
from pathlib import Path

from tests.bench.measure import Case, interleave, pin, table
from tests.processes import Gate, Process, eventually, fetch, free_port, running

# One visitor a minute: whatever comes after the first one stands in line.
SETTINGS = {
    "workers": 1,
    "origin": {"servers": ["http://127.0.0.1:9"], "health": None},
    "rooms": {"checkout": {"match": ["/checkout/**"], "rate": "1/minute", "burst": 1}},
}
SERVER, LOAD = 0, 1  # cores


class Hello:
    """Bare uvicorn."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory

    def start(self) -> None:
        self.process = Process(
            "hello", [sys.executable, str(Path(__file__).parent / "hello.py"), str(self.port)], self._directory
        )
        eventually(self._up, 10, what="uvicorn is up")
        pin(self.process.pid, SERVER)

    def _up(self) -> bool:
        try:
            return fetch(f"http://127.0.0.1:{self.port}/").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.stop()


def stand_in_line(gate: Gate) -> int:
    """Fill the room, so that the next visitor waits; the worker's process id."""
    for process in gate.status()["workers"]:
        pin(process["pid"], SERVER)
    eventually(lambda: fetch(gate.url + "/checkout/pay").decision.startswith("wait"), 10, what="a line stands")
    return int(gate.status()["workers"][0]["pid"])


def main(rounds: int = 3, seconds: float = 2.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        gate, hello = Gate(directory, SETTINGS), Hello(directory)
        with running(gate, hello):
            worker = stand_in_line(gate)
            cases = [
                Case("uvicorn, hello world", hello.process.pid, f"http://127.0.0.1:{hello.port}/"),
                Case("line page", worker, gate.url + "/checkout/pay", ("Accept: text/html",)),
                Case("line page as JSON", worker, gate.url + "/checkout/pay", ("Accept: application/json",)),
                Case("status document", worker, gate.url + "/__gate/rooms/checkout/status", ("Accept: application/json",)),
            ]
            interleave(cases, rounds=rounds, seconds=seconds, core=LOAD)
            page = fetch(gate.url + "/checkout/pay", headers={"Accept": "text/html"})
            print(f"page: {len(page.body)} bytes, {page.decision}; {page.headers['set-cookie']}")
            print(table(cases))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]), *(float(word) for word in sys.argv[2:3]))
