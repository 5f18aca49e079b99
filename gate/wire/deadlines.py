"""One timer wheel per worker for all the deadlines of all connections.

A call_later per request would cost more than reading its head. Here, moving a deadline further away is one attribute
store: an entry sits in one slot of the wheel, and only when the wheel reaches that slot is it asked whether it is really due.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Protocol

NEVER = math.inf
log = logging.getLogger("gate.wire")


class Timed(Protocol):
    """Something with a deadline. ``due``: loop time in seconds. ``look``: when the tick begins at whose end the wheel will ask
    for it, which is the wheel's business; :data:`NEVER` when it will not."""

    due: float
    look: float

    def expired(self, now: float) -> None:
        """The deadline has passed. It may set a new one."""


class Wheel:
    """Deadlines are kept to within one ``tick`` (seconds), never early.

    ``now`` is loop time as of the last tick: precise enough for deadlines of seconds, and free. ``soon`` is one tick later:
    the earliest that a deadline set now may fall due. What follows is :meth:`watch`, and may stand where a call is too dear::

        due = entry.due = wheel.soon + seconds
        if due < entry.look:
            wheel.put(entry)
    """

    def __init__(self, tick: float = 0.25) -> None:
        self.tick = tick
        self.now = 0.0
        self.soon = tick
        self._slots: dict[int, set[Timed]] = {}
        self._reached = 0
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._each_tick: list[Callable[[float], None]] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            return
        self._loop = loop
        self.now = loop.time()
        self.soon = self.now + self.tick
        self._reached = int(self.now / self.tick)
        self._handle = loop.call_later(self.tick, self._turn)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop = None

    def each_tick(self, call: Callable[[float], None]) -> None:
        """``call(now)`` on every tick."""
        self._each_tick.append(call)

    def watch(self, entry: Timed, seconds: float) -> None:
        """Let ``entry`` expire in ``seconds``, unless it is moved before."""
        due = entry.due = self.soon + seconds
        if due < entry.look:
            self.put(entry)

    def put(self, entry: Timed) -> None:
        """See to it that ``entry`` is asked for when it is due, and not only long after."""
        slot = int(entry.due / self.tick) + 1
        look = (slot - 1) * self.tick  # whatever falls due in that tick need not be put again
        if look >= entry.look:
            return
        self._take_out(entry)
        entry.look = look
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = {entry}
        else:
            waiting.add(entry)

    def forget(self, entry: Timed) -> None:
        """``entry`` is gone; the wheel holds no reference to it any more."""
        entry.due = NEVER
        self._take_out(entry)

    def _take_out(self, entry: Timed) -> None:
        if entry.look != NEVER:
            waiting = self._slots.get(round(entry.look / self.tick) + 1)
            if waiting is not None:
                waiting.discard(entry)
            entry.look = NEVER

    def _turn(self) -> None:
        if self._loop is None:
            return
        self._handle = self._loop.call_later(self.tick, self._turn)
        self.turn(self._loop.time())

    def turn(self, now: float) -> None:
        """Expire what is due at ``now``."""
        self.now = now
        self.soon = now + self.tick
        reached = int(now / self.tick)
        if reached - self._reached > len(self._slots):
            slots = sorted(slot for slot in self._slots if slot <= reached)
        else:
            slots = [slot for slot in range(self._reached, reached + 1) if slot in self._slots]
        self._reached = reached + 1
        for slot in slots:
            for entry in self._slots.pop(slot):
                entry.look = NEVER
                if entry.due <= now:
                    entry.due = NEVER
                    try:
                        entry.expired(now)
                    except Exception:  # a fault of one connection is not to take the deadlines of others with it
                        log.exception("deadline_failed")
                elif entry.due != NEVER:
                    self.put(entry)
        for call in self._each_tick:
            call(now)
