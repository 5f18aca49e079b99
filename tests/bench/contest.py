"""Interleaved runs: A B C … A B C …, medians, and the ratio of the first case to each of the others."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import Sample, drive
from tests.bench.processes import DidNotStart, running
from tests.processes import Reply, fetch

QUIET = 0.25  # cores; when others used more, the run is made again, once


@dataclass
class Case:
    """One server and one URL. ``right`` says what is wrong with an answer, or nothing."""

    name: str
    server: int
    url: str
    right: Callable[[], str]
    cookies: Path | None = None
    headers: tuple[str, ...] = ()
    least: float | None = None  # the ratio to reach against this case
    aim: float | None = None
    refusals: bool = False  # every answer is one: the waiting page says 503
    samples: list[Sample] = field(default_factory=list)
    problem: str = ""
    handled: int = 0  # requests, with those of warm-ups and discarded runs

    def median(self, of: Callable[[Sample], float]) -> float:
        return statistics.median(map(of, self.samples))


@contextlib.contextmanager
def started(name: str, command: list[str], directory: Path, up: Callable[[], bool], seconds: float = 20.0) -> Iterator[int]:
    """A server that answers. Raises :class:`DidNotStart`."""
    with running(name, command, directory) as pid:
        deadline = time.monotonic() + seconds
        while not up():
            if time.monotonic() > deadline or not Path(f"/proc/{pid}/exe").exists():
                logs = "".join(path.read_text(errors="replace")[-600:] for path in directory.glob("*.log"))
                raise DidNotStart(f"{name} did not start: {logs.strip()}")
            time.sleep(0.05)
        yield pid


def answer(url: str, headers: dict[str, str] | None = None) -> Reply | None:
    """One answer, or None while nobody listens."""
    with contextlib.suppress(OSError):
        return fetch(url, headers=headers, timeout=5)
    return None


def compete(
    cases: list[Case], *, rounds: int, seconds: float, warm: float, passes: int = 0, say: Callable[[str], None]
) -> None:
    """Fills in the samples. A case whose answers are wrong is dropped and says why."""
    ours = [case.server for case in cases]
    for case in cases:
        case.problem = case.right()
        _warm_up(case, ours, warm, passes)
    for turn in range(rounds):
        for case in cases:
            if case.problem:
                continue
            case.samples.append(_quietest(case, ours, seconds))
            last = case.samples[-1]
            say(f"  {turn + 1}  {case.name:32} {last.rate:9,.0f}/s {last.cpu:8.1f} µs  others {last.foreign:.2f} cores")
    for case in cases:
        case.problem = case.problem or case.right() or _unexpected(case)
        if case.problem:
            say(f"left out: {case.name}: {case.problem}")
            case.samples.clear()


def _warm_up(case: Case, ours: list[int], seconds: float, passes: int) -> None:
    """Until the server has seen every pass once, unless that would take it long: it has no cache of them then."""
    began = time.monotonic()
    while seconds and not case.problem:
        sample = _once(case, ours, seconds)
        left = 15.0 - (time.monotonic() - began)
        if case.cookies is None or case.handled >= passes or sample.rate * left < passes - case.handled:
            return


def _once(case: Case, ours: list[int], seconds: float) -> Sample:
    sample = drive(case.server, case.url, ours, seconds=seconds, cookies=case.cookies, start=case.handled, headers=case.headers)
    case.handled += sample.requests
    return sample


def _quietest(case: Case, ours: list[int], seconds: float) -> Sample:
    first = _once(case, ours, seconds)
    if first.foreign <= QUIET or seconds < 1:
        return first
    return min(first, _once(case, ours, seconds), key=lambda sample: sample.foreign)


def _unexpected(case: Case) -> str:
    """Not one wrong status under load, of whatever side it is."""
    wrong = sum((sample.requests - sample.unusual) if case.refusals else sample.unusual for sample in case.samples)
    return f"{wrong} answers of the wrong status under load" if wrong else ""
