"""CPU time per request: the one figure that other work on the machine hardly moves.

A server runs on one core, the load on another; user and system time of the server's process, from ``/proc``, is divided by the
requests that wrk counted. Peers take turns, round by round, and medians are compared.
"""

import os
import re
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Case:
    """One thing to measure: ``pid`` answers ``url``. ``most``: the worst share of answers that may not be 2xx or 3xx."""

    name: str
    pid: int
    url: str
    headers: tuple[str, ...] = ()
    cpu: list[float] = field(default_factory=list)  # microseconds a request, one per round
    rate: list[float] = field(default_factory=list)  # requests a second
    p99: list[float] = field(default_factory=list)  # milliseconds
    errors: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.cpu)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def pin(pid: int, core: int) -> None:
    """Every thread of ``pid``, and its children from now on, run on ``core`` only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def wrk(url: str, *, seconds: float, connections: int, headers: Iterable[str] = (), core: int = 1) -> dict[str, float]:
    """Requests, requests a second, 99th percentile in milliseconds, socket errors."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    said = done.stdout
    count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    slowest = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)", said, re.MULTILINE)
    if count is None or rate is None or slowest is None:
        raise RuntimeError(f"wrk said nothing to go by: {said}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {
        "requests": float(count[1]),
        "rate": float(rate[1]),
        "p99": float(slowest[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[slowest[2]],
        "errors": float(sum(map(int, errors.groups()))) if errors else 0.0,
    }


def interleave(cases: list[Case], *, rounds: int = 3, seconds: float = 2.0, connections: int = 64, core: int = 1) -> None:
    """Measure all cases in turns, after one short run each to warm up."""
    for case in cases:
        wrk(case.url, seconds=1, connections=connections, headers=case.headers, core=core)
    for _ in range(rounds):
        for case in cases:
            before = cpu_seconds(case.pid)
            said = wrk(case.url, seconds=seconds, connections=connections, headers=case.headers, core=core)
            case.cpu.append((cpu_seconds(case.pid) - before) / max(1.0, said["requests"]) * 1e6)
            case.rate.append(said["rate"])
            case.p99.append(said["p99"])
            case.errors += int(said["errors"])


def table(cases: list[Case]) -> str:
    """Markdown. The first case is the measure of the others: 1.0 costs as much CPU as it, 2.0 half as much."""
    lines = ["| case | CPU µs a request | ratio | requests/s | p99 ms | errors |", "|---|---|---|---|---|---|"]
    for case in cases:
        lines.append(
            f"| {case.name} | {case.median:.1f} | {cases[0].median / case.median:.2f} | {statistics.median(case.rate):,.0f}"
            f" | {statistics.median(case.p99):.1f} | {case.errors} |"
        )
    return "\n".join(lines)
