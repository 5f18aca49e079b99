"""The way into one room at one worker: through the store, and while that is away for long, by the worker's own share.

A worker that let visitors in by itself tells the store so before it asks the store for anything. A worker that let nobody in
does the same after an outage that was long enough for others to have begun, because the store's bucket is full by then, and
what the others let in must not come on top of it. What was let in is noted on disk until it is told: a worker that dies leaves
its note to the others.
"""

import asyncio
import fcntl
import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from io import FileIO
from itertools import count
from pathlib import Path

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.decision import Entry
from gate.core.line import RoomState, Terms
from gate.core.snapshot import RoomView
from gate.core.standin import Admission, Share, StandIn, Taken
from gate.core.words import Reason
from gate.store.line import HOLD, HOLD_MOST, LINE_RETRY, Line
from gate.store.link import StoreUnavailable

SETTLE = 2.0  # seconds after the first worker's return in which the others notice that the store is back
LEAST = 1.5  # seconds without a word from the store, at least, before a worker goes by its share
BATCH = 1000  # admissions told at once
_TURNS = count()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a worker does without the store: from ``closed`` seconds on it lets visitors in by its ``share``. ``directory``: for
    the notes. ``changed`` is told of each room whether the share begins to be used (or ends), and how many it let in."""

    closed: float
    share: Share
    directory: Path
    changed: Callable[[str, bool, int], None]

    @property
    def begins(self) -> float:
        """Seconds without a word from the store."""
        return max(self.closed, LEAST)

    @property
    def owes(self) -> float:
        """Seconds without a word after which another worker, which lost the store a little earlier, may have begun."""
        return max(self.begins - SETTLE, LEAST / 2)


class Entrance:
    """Fits :class:`gate.store.line.Line` where visitors ask. ``policy`` None: nobody enters without the store.

    ``now``: Unix time, seconds; ``ticks``: a clock that never steps, the same for all workers of the machine.
    """

    def __init__(self, line: Line, policy: Policy | None, *, now: Callable[[], float], ticks: Callable[[], float]) -> None:
        self._line = line
        self._policy = policy
        self._now = now
        self._ticks = ticks
        self._heard = ticks()
        self._met = False  # the store has answered since this worker began
        self._quiet = math.inf if policy is None else policy.owes  # seconds after which others may have let visitors in
        self._owes = policy is not None and bool(notes(policy.directory, line.name))
        self._stand_in: StandIn | None = None
        self._note: Note | None = None
        self._leaving = False

    @property
    def local(self) -> bool:
        """Visitors enter by this worker's share."""
        return self._stand_in is not None

    def leave(self) -> None:
        """The worker drains: its share is its successor's, and its note is there for whoever meets the store first."""
        self._leaving = True
        if self._note is not None:
            self._note.leave()
            self._note = None

    async def join(self, terms: Terms, view: RoomView | None = None) -> Entry:
        """As :meth:`Line.join`; without the store a place by time, which may enter at once by the share."""
        if self._stand_in is not None:
            ticket = self._line.ticket_without_store()
            try:
                return await self._knock(ticket, terms, patience=0.0)
            except StoreUnavailable:
                return Entry("waiting", ticket, retry_after=LINE_RETRY, reason=Reason.STORE)
        if self._must_tell():
            return Entry("waiting", self._line.ticket_without_store(), retry_after=LINE_RETRY, reason=Reason.STORE)
        return await self._line.join(terms, view)

    def join_at_once(self, terms: Terms, view: RoomView | None = None) -> Entry | None:
        """As :meth:`Line.join_at_once`."""
        return None if self._must_tell() else self._line.join_at_once(terms, view)

    async def claim(self, ticket: Ticket, terms: Terms) -> Entry:
        """As :meth:`Line.claim`. Raises :class:`StoreUnavailable`."""
        if self._stand_in is not None:
            return await self._knock(ticket, terms, patience=HOLD_MOST)
        if self._must_tell():
            raise StoreUnavailable("it has not been told yet who was let in without it")
        return await self._line.claim(ticket, terms)

    async def tick(self, terms: Terms) -> RoomState:
        """As :meth:`Line.tick`; begins and ends the use of the share. Raises :class:`StoreUnavailable` while nobody enters."""
        try:
            if self._must_tell():
                await self._tell(terms)
            state = await self._line.tick(terms)
        except StoreUnavailable:
            if self._policy is None:
                raise
            self._owes |= not self._met  # it was away before: nobody here knows for how long
            if self._stand_in is None and self._ticks() - self._heard >= self._policy.begins and not self._draws(terms):
                self._begin(self._policy)
            if self._stand_in is None:
                raise
            return self._stand_in.tick(self._now(), self._ticks(), terms)
        self._heard, self._met = self._ticks(), True
        return state

    # -- without the store

    def _must_tell(self) -> bool:
        return self._owes or self._stand_in is not None or self._ticks() - self._heard >= self._quiet

    def _draws(self, terms: Terms) -> bool:
        """The draw is still to come, and only the store can draw."""
        return terms.draw and self._line.state.now < terms.opens

    def _begin(self, policy: Policy) -> None:
        if self._leaving:
            return
        taken = taken_before(policy.directory, self._line.name, policy.share.worker)
        self._stand_in = StandIn(policy.share, self._line.memory.of(self._line.name), self._line.state, taken)
        with suppress(OSError):  # a full disk: it is remembered in memory
            self._note = Note(policy.directory, self._line.name, policy.share.worker)
        policy.changed(self._line.name, True, 0)

    async def _knock(self, ticket: Ticket, terms: Terms, *, patience: float) -> Entry:
        """At the door for as long as a token may come, ``patience`` seconds at most."""
        until = self._ticks() + patience
        try:
            while self._stand_in is not None and not self._leaving:
                known = ticket.id in self._stand_in.admitted
                word = self._stand_in.claim(self._now(), self._ticks(), terms, ticket, self._line.turn_of(ticket.number))
                if word.status == "spent":
                    return Entry("spent", ticket)
                if word.status == "entered":
                    if not known and self._note is not None:
                        self._note.add(self._stand_in.admitted[ticket.id])
                    return Entry(
                        "entered", ticket, expires=word.expires / SECOND, reason=Reason.PASS if known else Reason.LOCAL
                    )
                wait = word.due / SECOND + 0.001
                if word.reason is not Reason.RATE or wait > HOLD or self._ticks() + wait > until:
                    return Entry("waiting", ticket, retry_after=word.ask / SECOND, reason=word.reason)
                await asyncio.sleep(wait)
        finally:
            if self._stand_in is not None:
                self._stand_in.leave(ticket)
        raise StoreUnavailable("the store is back, or another worker takes over")

    async def _tell(self, terms: Terms) -> None:
        """Raises :class:`StoreUnavailable`; what was told is told again then."""
        if self._policy is None:
            return
        for path in notes(self._policy.directory, self._line.name):
            left = left_behind(path)
            if left is not None:
                for start in range(0, len(left), BATCH):
                    await self._line.adopt(left[start : start + BATCH], 0, SETTLE, terms)
                path.unlink(missing_ok=True)
        told = 0
        while True:  # visitors go on entering by the share while the store is told
            called, through = (self._stand_in.serving, self._stand_in.through) if self._stand_in is not None else (0, 0)
            mine = list(self._stand_in.admitted.values()) if self._stand_in is not None else []
            batch = mine[told : told + BATCH]
            await self._line.adopt(batch, called, SETTLE, terms, through)
            told += len(batch)
            if self._stand_in is None or told == len(self._stand_in.admitted):
                break
        was_local, self._stand_in, self._owes, self._heard = self.local, None, False, self._ticks()
        if self._note is not None:
            self._note.close()
            self._note = None
        if was_local:
            self._policy.changed(self._line.name, False, told)


# --------------------------------------------------------------------------- notes on disk


class Note:
    """Whom this process has let into one room and not told the store. The lock says that the process lives.

    Raises :class:`OSError` when it cannot be begun; a line that does not fit on the disk is left out.
    """

    def __init__(self, directory: Path, room: str, worker: int = 0) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"{room}.{os.getpid()}-{next(_TURNS)}.{worker}.jsonl"
        self._file = FileIO(self.path, "a")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def add(self, admission: Admission) -> None:
        with suppress(OSError):
            self._file.write(json.dumps(astuple(admission)).encode() + b"\n")

    def leave(self) -> None:
        """Nothing more will be noted."""
        self._file.close()

    def close(self) -> None:
        """All of it has been told."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._file.close()


def notes(directory: Path, room: str) -> list[Path]:
    """Those about ``room``, of living and dead processes."""
    return sorted(directory.glob(f"{room}.*.jsonl"))


def taken_before(directory: Path, room: str, worker: int) -> Taken:
    """The seats that are noted here. All of them count, however old: passes are renewed, and only the store knows which are
    over. A note that does not say whose it is, as older gates left them, is taken for one of ``worker``'s."""
    mine = here = 0
    for path in notes(directory, room):
        with suppress(OSError), FileIO(path) as file:
            seats = len({one.id for one in _read(file)})
            whose = path.suffixes[-2].lstrip(".")
            here += seats
            mine += seats if not whose.isdecimal() or int(whose) == worker else 0
    return Taken(mine, here)


def left_behind(path: Path) -> list[Admission] | None:
    """What is in the note of a dead process; None if it lives."""
    try:
        with FileIO(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _read(file)
    except OSError:
        return None


def _read(file: FileIO) -> list[Admission]:
    """A line cut off by a process's death is no admission."""
    found: list[Admission] = []
    for line in file.readall().splitlines():
        with suppress(ValueError, TypeError):
            found.append(Admission(*json.loads(line)))
    return found
