"""The shop's own record of what reached it: one JSON line per request, the outside witness of the gate's promises."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Entry:
    """``at`` is the Unix time of arrival in seconds; ``visitor`` and ``room`` are what the gate said in its headers."""

    at: float
    method: str
    path: str
    visitor: str | None
    room: str | None
    cookies: tuple[str, ...]  # names only


class Journal:
    """ASGI middleware that appends to ``path``. Each line is one write, so readers and a killed shop never see half of one."""

    def __init__(self, app: ASGIApp, path: Path) -> None:
        self.app = app
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            os.write(self._file, (json.dumps(_line(scope), separators=(",", ":")) + "\n").encode())
        await self.app(scope, receive, send)


def _line(scope: Scope) -> dict[str, Any]:
    headers: dict[bytes, str] = {}
    cookies: list[str] = []
    for name, value in scope["headers"]:
        headers.setdefault(name, value.decode("latin-1"))
        if name == b"cookie":
            cookies += [pair.partition("=")[0].strip() for pair in value.decode("latin-1").split(";")]
    return {
        "at": time.time(),
        "method": scope["method"],
        "path": scope["path"],
        "visitor": headers.get(b"gate-visitor"),
        "room": headers.get(b"gate-room"),
        "cookies": cookies,
    }


def read(path: Path) -> Iterator[Entry]:
    """The entries in the order of arrival. Raises :class:`OSError` and :class:`ValueError` for a file that is not ours."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            yield Entry(
                float(found["at"]), found["method"], found["path"], found["visitor"], found["room"], tuple(found["cookies"])
            )


def admissions(entries: Iterable[Entry], room: str) -> list[float]:
    """When each visitor was first seen behind the door of ``room``, in order: what the bucket's law is checked on."""
    first: dict[str, float] = {}
    for entry in entries:
        if entry.room == room and entry.visitor is not None:
            first.setdefault(entry.visitor, entry.at)
    return sorted(first.values())


def excess(times: list[float], *, rate: float, burst: int) -> float:
    """By how many visitors the worst window breaks the law ``burst + rate·W``; ``rate`` per second. 0 or less: it holds.

    A window that starts at one admission and ends at another is the worst of all that hold the same ones, so those are
    enough: with a_i the time of admission i, the largest of (j - i + 1) - burst - rate·(a_j - a_i).
    """
    worst = float("-inf")
    lowest = float("inf")
    for index, at in enumerate(times):
        lowest = min(lowest, index - rate * at)
        worst = max(worst, index - rate * at - lowest + 1 - burst)
    return worst
