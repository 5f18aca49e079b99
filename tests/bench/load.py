"""The load: wrk on its own core, with a cookie of its own for every request."""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import LOAD, busy_seconds, cpu_seconds, memory

CONNECTIONS = 64
# wrk.format per request would cost the load generator more than the servers; the requests are made once, up front
ROTATING = """
local requests, count, i = {}, 0, 0
function init(args)
  for line in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("GET", nil, {["Cookie"] = line})
  end
  i = tonumber(args[2]) % count
end
function request()
  i = i % count + 1
  return requests[i]
end
"""


@dataclass(frozen=True)
class Sample:
    """One run of wrk against one server."""

    requests: int
    rate: float  # requests a second
    cpu: float  # microseconds of the server's process tree, per request
    p50: float  # milliseconds
    p99: float
    memory: float  # MB
    errors: int  # socket errors and time-outs
    unusual: int  # answers that are neither 2xx nor 3xx
    foreign: float  # CPU cores that others used meanwhile


def drive(
    server: int,
    url: str,
    others: list[int],
    *,
    seconds: float,
    cookies: Path | None,
    start: int = 0,
    headers: tuple[str, ...] = (),
) -> Sample:
    """Load ``url`` for ``seconds``. ``others``: process trees that are ours too, so not foreign. ``start``: first cookie."""
    command = ["taskset", "-c", str(LOAD), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{int(seconds) + 1}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    if cookies is not None:
        script = cookies.with_name("rotating.lua")
        script.write_text(ROTATING)
        command += ["-s", str(script), url, "--", str(cookies), str(start)]
    else:
        command.append(url)
    before, ours, busy, began = cpu_seconds(server), _ours(others), busy_seconds(), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        try:
            _until_it_listens(wrk.pid)
            time.sleep(seconds)
            wrk.send_signal(signal.SIGINT)  # it stops at once and reports; fractions of a second work too
            said, _ = wrk.communicate(timeout=15)
        finally:
            if wrk.poll() is None:
                wrk.kill()
    took = time.monotonic() - began
    spent = cpu_seconds(server) - before
    foreign = max(0.0, busy_seconds() - busy - (_ours(others) - ours)) / took
    return _read(said, spent, memory(server), foreign)


def _until_it_listens(pid: int) -> None:
    """wrk catches SIGINT only when it has made its requests; before, it would end without a word."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        caught = re.search(r"^SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if caught is None or int(caught[1], 16) >> (signal.SIGINT - 1) & 1:
            return  # or it has ended
        time.sleep(0.01)


def _ours(pids: list[int]) -> float:
    """CPU time of this process, the load it ended, and the servers."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system + sum(map(cpu_seconds, pids))


def _read(said: str, spent: float, resident: float, foreign: float) -> Sample:
    count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    if count is None or rate is None:
        raise RuntimeError(f"wrk said nothing to go by: {said}")
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    unusual = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Sample(
        requests=int(count[1]),
        rate=float(rate[1]),
        cpu=spent / max(1, int(count[1])) * 1e6,
        p50=_milliseconds(said, 50),
        p99=_milliseconds(said, 99),
        memory=resident,
        errors=sum(map(int, sockets.groups())) if sockets else 0,
        unusual=int(unusual[1]) if unusual else 0,
        foreign=foreign,
    )


def _milliseconds(said: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\b", said, re.MULTILINE)
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[found[2]] if found else 0.0
