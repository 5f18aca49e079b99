"""``python -m tests.bench``: the gate beside its peers, on this machine, one core each. ``make bench`` runs it."""

import argparse
import datetime
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

from tests.bench import cases, memory, peers, report
from tests.bench.rush import calmest

NEEDED = ("wrk", "nginx", "taskset")
PARTS: dict[str, Callable[[cases.Bench, str], str]] = {
    "forward": lambda bench, peer: report.contest(cases.forward(bench, peer), bench.peers),
    "large": lambda bench, peer: report.contest(cases.large(bench, peer), bench.peers),
    "line": lambda bench, peer: report.contest(cases.line(bench), bench.peers),
    "status": lambda bench, peer: report.contest(cases.status(bench), bench.peers),
    "memory": lambda bench, peer: report.memory(memory.measure(bench)),
    "storm": lambda bench, peer: report.storms([calmest(bench, seconds) for seconds in (6, 2)]),
}


class TimeUp(Exception):
    """The run took longer than ``--limit``."""


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of every case, in turns")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--peer", default="", help="only peers with this in their name")
    parser.add_argument("--no-install", action="store_true", help="take what is here already")
    parser.add_argument("--limit", type=int, default=30, help="minutes, then everything is stopped")
    parser.add_argument("--write", type=Path, help="also put the tables into this file, between its <!-- table --> marks")
    return parser.parse_args(words)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    raise TimeUp if number == signal.SIGALRM else KeyboardInterrupt


def main(words: list[str] | None = None) -> int:
    options = _arguments(words)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not options.no_install:
        peers.fetch_all(say)
    found = peers.find()
    if absent := [name for name in NEEDED if name not in found]:
        say(f"nothing to measure with: {', '.join(absent)} not found")
        return 1
    # every way to end runs the exits: what was started is stopped, by its id
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(options.limit * 60)
    tables: list[str] = []
    directory = Path(tempfile.mkdtemp(prefix="floodgate-bench-"))
    bench = cases.Bench(directory, found, options.rounds, options.seconds, min(1.0, options.seconds), say)
    code, stopped = 0, False
    try:
        for name in options.only or PARTS:
            if name == "storm" and "cc" not in found:
                bench.leave_out("storm", "no C compiler here")
                continue
            try:
                tables.append(PARTS[name](bench, options.peer))
            except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
                bench.leave_out(name, f"{type(error).__name__}: {error}")  # the other parts are still worth having
                code = 1
    except TimeUp:
        say(f"stopped after {options.limit} minutes")
        code, stopped = 1, True
    except KeyboardInterrupt:
        say("stopped")
        code, stopped = 130, True
    finally:
        signal.alarm(0)
        shutil.rmtree(directory, ignore_errors=True)
    text = "\n\n".join([_heading(options), *tables, *[f"Left out: {line}." for line in bench.missing]])
    print(text)
    if options.write and not stopped:
        before, _, rest = options.write.read_text().partition("<!-- table -->")
        after = rest.partition("<!-- /table -->")[2]
        options.write.write_text(f"{before}<!-- table -->\n\n{text}\n\n<!-- /table -->{after}")
    return code


def _heading(options: argparse.Namespace) -> str:
    words = f"--seconds {options.seconds:g} --rounds {options.rounds}"
    words += "".join(f" --only {name}" for name in options.only or [])
    today = datetime.datetime.now(datetime.UTC).date()
    return f'{peers.gate()}, `make bench ARGS="{words}"`, {today}, on {peers.machine()}.'


if __name__ == "__main__":
    sys.exit(main())
