"""Servers under test: started on one core, watched through ``/proc``, ended with everything they started."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
SERVER, LOAD = 0, os.cpu_count() - 1 if os.cpu_count() else 0  # cores: what is measured, and what measures


class DidNotStart(Exception):
    """The server is not answering. The text ends with its log."""


def tree(pid: int) -> list[int]:
    """``pid`` and everything it started that is still its descendant."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree. A child that ended counts while its parent lives (cutime, cstime)."""
    total = 0.0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / _TICKS
    return total


def memory(pid: int) -> float:
    """Resident memory of a process tree, MB. Pages that two of them share count twice."""
    pages = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def busy_seconds() -> float:
    """CPU time that all of the machine used, with what the hypervisor stole."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields)
    return (user + nice + system + irq + soft + steal) / _TICKS


def pin(pid: int, core: int) -> None:
    """Every thread of the tree, and what they start from now on, runs on ``core`` only."""
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})


def end(pid: int, seconds: float = 5.0) -> None:
    """SIGTERM for the root, then SIGKILL for whatever of its tree is left when it is gone, or after ``seconds``."""
    everything = tree(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _lives(pid):
        time.sleep(0.02)
    for one in everything:
        if _lives(one):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def running(name: str, command: list[str], directory: Path, core: int | None = SERVER) -> Iterator[int]:
    """The process id of ``command``, pinned to ``core``; its output goes to ``directory/NAME.log``."""
    words = name.replace(" ", "-").replace("/", "-")
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    clean |= {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    pinned = command if core is None else ["taskset", "-c", str(core), *command]
    with (directory / f"{words}.log").open("wb") as log:
        # a session of its own: Ctrl-C reaches us alone, and we end the servers in order
        process = subprocess.Popen(
            pinned, cwd=directory, env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process.pid
        finally:
            end(process.pid)
            process.wait()
