"""What each worker says once a second in ``run/worker-N.json``, and how the operator process reads it.

A file, because it outlives the worker that wrote it by exactly what one wants to know: when it was last alive. During a
reload two workers have the same number; the younger one has the file.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

EVERY = 1.0  # seconds between two beats
STALE = 5.0  # seconds; a worker silent for longer is shown as gone
FORGET = 600.0  # seconds; after this it is not shown any more


class Condition(StrEnum):
    """The one sentence about a worker. The worst that holds."""

    NORMAL = "normal"
    STORE_AWAY = "store-away"  # passes work, nobody new enters
    LOCAL_SHARE = "local-share"  # the store is away, and this worker admits from its declared share
    ORIGIN_DOWN = "origin-down"  # the fallback page is served
    ORDERED = "ordered"  # the operator ordered the fallback


@dataclass(frozen=True, slots=True)
class RoomBeat:
    """A room as this worker's snapshot has it (the counters are the store's, shared by all workers)."""

    epoch: int = 1
    serving: int = 0
    last: int = 0
    waiting: int = 0
    inside: int = 0
    tokens: float = 0.0
    admitted_per_second: float = 0.0  # while a line stands: what a wait is told from
    through: int = 0
    present: float = 1.0
    drawn: int = 0
    commitment: str = ""  # of the draw: SHA-256 of the seed, hex
    seed: str = ""  # hex, and only once drawn: until then it is a secret
    left: int | None = None  # as the shop said: an operator's word stands in the orders
    told: bool = True  # by the store a moment ago
    groups: dict[str, int] = field(default_factory=dict)  # how many of each priority group wait to be called
    admitted: int = 0  # since the line began


@dataclass(frozen=True, slots=True)
class Beat:
    """Times are Unix seconds. ``worker`` is the number of the process, from 0."""

    worker: int
    pid: int
    time: float
    started: float
    condition: Condition = Condition.NORMAL
    since: float = 0.0  # when the condition began
    orders: int = 0  # version of the orders in force
    config: str = ""  # digest of the config in force
    key: str = ""  # id of the key that signs
    taken: float = 0.0  # when the rooms' counters were read from the store
    store_up: bool = False
    origin_up: bool = True
    servers: dict[str, bool] = field(default_factory=dict)  # origin servers by URL
    in_flight: int = 0  # requests at the origin
    connections: int = 0  # visitors' connections
    overload: int = 0  # measured: 0, 1, 2
    breakers: dict[str, str] = field(default_factory=dict)  # route name: closed, open, half-open
    unlisted: list[str] = field(default_factory=list)  # addresses that asked about requests lately, and may not
    rooms: dict[str, RoomBeat] = field(default_factory=dict)

    def age(self, now: float) -> float:
        """Seconds since it was written; a clock that was set back counts as no time."""
        return max(0.0, now - self.time)

    def fresh(self, now: float) -> bool:
        return self.age(now) <= STALE


_NAMES = {entry.name for entry in fields(Beat)}
_ROOM_NAMES = {entry.name for entry in fields(RoomBeat)}


def write(directory: Path, beat: Beat) -> None:
    """Replaces this worker's file in one step; not durable, it is only about now. Raises :class:`OSError`.

    A file in which a younger worker of the same number is alive stays: that is the successor.
    """
    path = directory / f"worker-{beat.worker}.json"
    found = _read(path)
    if found is not None and found.pid != beat.pid and found.started > beat.started and found.fresh(beat.time):
        return
    fresh = directory / f".worker-{beat.worker}.{os.getpid()}"
    fresh.write_text(json.dumps(asdict(beat)), encoding="utf-8")
    fresh.replace(path)


def remove(directory: Path, worker: int, pid: int) -> None:
    """Takes the file of a worker that drains or has ended in order, unless its successor has written there already."""
    path = directory / f"worker-{worker}.json"
    found = _read(path)
    if found is not None and found.pid == pid:
        path.unlink(missing_ok=True)


def wipe(directory: Path) -> None:
    """Starts from nothing. For the supervisor, before it starts the first worker."""
    for path in directory.glob("*worker-*"):
        path.unlink(missing_ok=True)


def read(directory: Path, now: float) -> list[Beat]:
    """The last beat of every worker, by number. Leaves out files that are unreadable or older than :data:`FORGET`."""
    found = (_read(path) for path in directory.glob("worker-*.json"))
    return sorted((beat for beat in found if beat is not None and beat.age(now) <= FORGET), key=lambda beat: beat.worker)


def _read(path: Path) -> Beat | None:
    try:
        return _from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _from_json(data: dict[str, Any]) -> Beat:
    known = {name: value for name, value in data.items() if name in _NAMES}
    known["condition"] = Condition(known.get("condition", Condition.NORMAL))
    known["rooms"] = {
        name: RoomBeat(**{key: value for key, value in room.items() if key in _ROOM_NAMES})
        for name, room in known.get("rooms", {}).items()
    }
    return Beat(**known)
