"""What a run leaves behind: each client's own log, one line per answer, and the faults that were put in its way."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Saw:
    """One answer, as a client saw it. Times are Unix seconds; ``sent`` and ``got`` enclose whatever happened.

    ``ticket`` is the id in the cookie that the client holds afterwards; ``status`` 0: no answer came.
    """

    client: int
    kind: str  # present, racer, sleeper, leaver
    sent: float
    got: float
    status: int
    state: str
    ahead: int | None
    again: float | None  # seconds, as told
    ticket: str | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """``slack``: seconds after ``end`` in which its effects may still be seen."""

    name: str
    begin: float
    end: float
    slack: float


def write(path: Path, records: Iterable[Saw | Fault]) -> None:
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps({"is": type(record).__name__, **asdict(record)}) + "\n")


def read(path: Path) -> tuple[list[Saw], list[Fault]]:
    saws: list[Saw] = []
    faults: list[Fault] = []
    with path.open() as file:
        for line in file:
            found = json.loads(line)
            if found.pop("is") == "Saw":
                saws.append(Saw(**found))
            else:
                faults.append(Fault(**found))
    return saws, faults
