"""Metrics: each worker counts in its own memory and flushes to a mapped file; the operator process adds the files up.

Counting on the request's path is one dictionary increment; the flush, once a second with the heartbeat, is what costs. A
worker that is killed loses at most that second. Each process takes the lowest free slot and keeps it by a file lock, so a
restarted worker goes on with the file of the dead one: counters never fall, and files never pile up.

Label values come from the closed enums and from the config's names, from nowhere else.
"""

import fcntl
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from prometheus_client.values import MultiProcessValue

from gate import __version__
from gate.core.decision import Decision
from gate.core.settle import Result
from gate.core.words import Outcome, Reason, RoomMode, Shedding, Switch
from gate.status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, float("inf"))  # seconds

REQUESTS = "Requests decided, by outcome, reason and room."
ORIGIN = "Seconds from the request to the head of the origin's answer, or to the failure."
ADMITTED = "Passes given to visitors who had none."
_NEW = (Reason.ADMITTED, Reason.LOCAL)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def wipe(directory: Path) -> None:
    """Starts from nothing. For the supervisor, before it starts the first worker."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.suffix in (".db", ".lock"):
            path.unlink()


@dataclass(slots=True)
class Tally:
    """How many requests were decided alike since the last flush."""

    count: int = 0


class Meter:
    """One process's counters. Raises :class:`OSError` when the directory cannot be used."""

    def __init__(self, directory: Path, rooms: Iterable[str]) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.slot, self._lock = _take_slot(directory)
        _drop_broken(directory, self.slot)
        self._requests: dict[tuple[str, str, str], Tally] = {}
        self._admitted: Counter[str] = Counter()
        self._origin = [0] * len(BUCKETS)
        self._origin_sum = 0.0
        self._values: dict[tuple[str, ...], Any] = {}
        slot = str(self.slot)
        self._Value = MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]  # the library has no types
        with _folder(directory):  # the library looks at the environment when the first value of a kind is made
            self._origin_values = [
                self._Value("histogram", "gate_origin_seconds", "gate_origin_seconds_bucket", ("le",), (le,), ORIGIN)
                for le in map(floatToGoString, BUCKETS)
            ]
            self._origin_sum_value = self._Value("histogram", "gate_origin_seconds", "gate_origin_seconds_sum", (), (), ORIGIN)
        for room in rooms:  # so that a rate over the first admission is not lost
            self._value("gate_admitted", ADMITTED, ("room",), (room,))

    def decided(self, decision: Decision) -> None:
        """One request was decided."""
        self.tally(decision).count += 1
        # once per pass: not again for what is answered instead, nor for a ticket that asks for its pass once more
        if decision.granted is not None and decision.outcome is Outcome.FORWARD and decision.reason in _NEW:
            self._admitted[decision.granted.room] += 1

    def tally(self, decision: Decision) -> Tally:
        """Where requests decided like this one are counted, for as long as this worker lives."""
        labels = decision.outcome, decision.reason, decision.room or ""
        found = self._requests.get(labels)
        if found is None:
            found = self._requests[labels] = Tally()
        return found

    def origin(self, result: Result) -> None:
        """An exchange with the origin came to its head, or failed."""
        self.answered(result.seconds)

    def answered(self, seconds: float) -> None:
        """The same for one that came to its head."""
        self._origin[0 if seconds <= BUCKETS[0] else bisect_left(BUCKETS, seconds)] += 1
        self._origin_sum += seconds

    def flush(self) -> None:
        """Writes what was counted since the last time to the file."""
        for labels, tally in self._requests.items():
            if tally.count:
                self._value("gate_requests", REQUESTS, ("outcome", "reason", "room"), labels).inc(tally.count)
                tally.count = 0
        admitted, self._admitted = self._admitted, Counter()
        for room, more in admitted.items():
            self._value("gate_admitted", ADMITTED, ("room",), (room,)).inc(more)
        counts, self._origin = self._origin, [0] * len(BUCKETS)
        for value, more in zip(self._origin_values, counts, strict=True):
            if more:
                value.inc(more)
        if self._origin_sum:
            self._origin_sum_value.inc(self._origin_sum)
            self._origin_sum = 0.0

    def close(self) -> None:
        """The last flush. The slot is free for the next process."""
        self.flush()
        os.close(self._lock)

    def _value(self, name: str, text: str, names: tuple[str, ...], labels: tuple[str, ...]) -> Any:
        value = self._values.get((name, *labels))
        if value is None:
            with _folder(self._directory):
                value = self._Value("counter", name, name + "_total", names, tuple(map(str, labels)), text)
            self._values[name, *labels] = value
        return value


def _take_slot(directory: Path) -> tuple[int, int]:
    """The lowest number that no living process has, and the descriptor that holds it until this process ends."""
    number = 0
    while True:
        descriptor = os.open(directory / f"slot-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            number += 1
        else:
            return number, descriptor


def _drop_broken(directory: Path, slot: int) -> None:
    """A file cut short by a crash of the machine would make every scrape fail."""
    for path in (directory / f"counter_{slot}.db", directory / f"histogram_{slot}.db"):
        try:
            list(MmapedDict.read_all_values_from_file(str(path)))  # type: ignore[no-untyped-call]  # the same
        except FileNotFoundError:
            continue
        except Exception:  # the library raises RuntimeError, struct.error, UnicodeDecodeError, …
            path.unlink(missing_ok=True)


@contextmanager
def _folder(directory: Path) -> Iterator[None]:
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FOLDER]
        else:
            os.environ[_FOLDER] = before


# --------------------------------------------------------------------------- the operator process


def exposition(directory: Path, status: Status) -> bytes:
    """Everything, in the Prometheus text format: the workers' counters and the state of ``status``."""
    registry = CollectorRegistry()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]  # the same
    registry.register(_State(status))
    return generate_latest(registry)


class _State(Collector):
    """What is, as opposed to what has happened."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status
        yield InfoMetricFamily("gate_build", "The version that runs.", {"version": __version__})
        yield _gauge("gate_store_up", "1 when the store answers at least one worker.", status.store.up)
        yield _gauge("gate_origin_up", "1 when the origin is held to be up.", status.origin.up)
        yield _gauge("gate_fallback_on", "1 when everybody gets the static page.", status.fallback.on)
        yield _gauge("gate_shed_level", "0 none, 1 sheddable routes, 2 normal ones too.", status.shedding.level)
        yield _gauge("gate_in_flight", "Requests at the origin, all workers.", status.in_flight)
        yield _gauge("gate_connections", "Visitors' connections, all workers.", status.connections)
        yield _gauge("gate_orders_version", "Version of the operators' orders.", status.version)
        yield _gauge("gate_config_refused", "1 while the config file on disk is not in force.", status.config_refused)
        yield _states("gate_fallback_mode", "What is ordered for the fallback.", Switch, status.fallback.mode)
        yield _states("gate_shedding_mode", "What is ordered for shedding.", Shedding, status.shedding.mode)

        text = "1 from when the route's breaker opens on any worker until a probe has closed it on all."
        breakers = GaugeMetricFamily("gate_breaker_open", text, labels=["route"])
        for breaker in status.breakers:
            breakers.add_metric([breaker.route], breaker.state != "closed")
        yield breakers

        workers = GaugeMetricFamily("gate_worker_age_seconds", "Seconds since the worker's last heartbeat.", labels=["worker"])
        for worker in status.workers:
            workers.add_metric([str(worker.number)], worker.age)
        yield workers
        yield from self._rooms()

    def _rooms(self) -> Iterable[Metric]:
        rooms = self._status.rooms
        numbers = (
            ("gate_waiting", "Visitors in line.", "waiting"),
            ("gate_inside", "Visitors inside: seats taken.", "inside"),
            ("gate_serving", "The highest number called.", "serving"),
            ("gate_tokens", "Tokens in the bucket.", "tokens"),
            ("gate_epoch", "Grows when the store has lost the room's state.", "epoch"),
            ("gate_rate_per_second", "The rate in force, visitors per second.", "per_second"),
            ("gate_burst", "The burst in force.", "burst"),
        )
        for name, text, attribute in numbers:
            family = GaugeMetricFamily(name, text, labels=["room"])
            for room in rooms:
                family.add_metric([room.name], getattr(room, attribute))
            yield family
        for name, text, attribute in (
            ("gate_admitted_per_second", "Visitors admitted per second, over the last minute.", "admitted_per_second"),
            ("gate_room_left", "So much is left to sell, where somebody has said.", "left"),
            ("gate_room_opens_seconds", "Unix time at which the room opens, where it has one.", "opens"),
            ("gate_room_closes_seconds", "Unix time at which the room closes, where it has one.", "closes"),
            ("gate_line_maximum", "The longest line, where it has one.", "maximum"),
        ):
            known = GaugeMetricFamily(name, text, labels=["room"])
            for room in rooms:
                if getattr(room, attribute) is not None:
                    known.add_metric([room.name], getattr(room, attribute))
            yield known
        waiting = GaugeMetricFamily("gate_group_waiting", "Members of a priority group in line.", labels=["room", "group"])
        for room in rooms:
            for group in room.groups:
                waiting.add_metric([room.name, group.name], group.waiting)
        yield waiting
        drawn = GaugeMetricFamily("gate_drawn", "Visitors who were drawn at the opening; 0: not yet.", labels=["room"])
        for room in rooms:
            if room.draw is not None:
                drawn.add_metric([room.name], room.draw.drawn or 0)
        yield drawn
        modes = GaugeMetricFamily("gate_room_mode", "1 for the mode the room is in.", labels=["room", "mode"])
        for room in rooms:
            for mode in RoomMode:
                modes.add_metric([room.name, mode.value], room.mode is mode)
        yield modes


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _states(name: str, text: str, words: type[Switch] | type[Shedding], now: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["mode"])
    for word in words:
        family.add_metric([word.value], word == now)
    return family
