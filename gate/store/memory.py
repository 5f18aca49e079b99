"""What this machine remembers of each room, so that a store that comes back empty can be put right.

Several workers share the file; each writes the highest of what it knows and what it finds there. It holds the seeds of draws
that are still to come, so only the gate's own user may read it.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gate import private
from gate.core.line import Remembered, RoomState

ROOMS_FILE = "rooms.json"  # in the state directory


class Memory:
    """Rooms by name. ``path`` None: only in this process."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rooms: dict[str, Remembered] = {}
        self._saved: dict[str, Remembered] = {}
        self.load()

    def of(self, room: str) -> Remembered:
        return self.rooms.get(room, Remembered())

    def saw(self, room: str, state: RoomState) -> None:
        """An answer of the store. Answers may arrive in another order than they were given."""
        known = self.of(room)
        if (state.epoch, state.last) >= (known.epoch, known.last):
            serving = max(state.serving, known.serving)
            drawn, seed = (known.drawn, known.seed) if known.drawn > 0 or not state.seed else (state.drawn, state.seed)
            left = known.left if state.left is None else state.left
            same = (state.epoch, state.birth) == (known.epoch, known.birth)
            self.rooms[room] = Remembered(
                state.epoch,
                state.last,
                serving,
                state.inside,
                state.birth,
                known.least,
                admitted=max(state.admitted, known.admitted) if same else state.admitted,
                drawn=drawn,
                seed=seed,
                left=left,
            )

    def saw_ticket(self, room: str, epoch: int, number: int) -> None:
        """A signed ticket is proof of what the store once said, even when this process has forgotten."""
        known = self.of(room)
        if epoch > known.epoch or (epoch == known.epoch and number > known.last):
            birth, admitted = (known.birth, known.admitted) if epoch == known.epoch else ("", 0)
            self.rooms[room] = replace(known, epoch=epoch, last=max(known.last, number), birth=birth, admitted=admitted)

    def gave_without_store(self, room: str, epoch: int) -> None:
        """A ticket was given in ``epoch`` while the store was away: that epoch is over, once it is back."""
        known = self.of(room)
        if known.least <= epoch:
            self.rooms[room] = replace(known, least=epoch + 1)

    def load(self) -> None:
        """Takes over what the file knows better. A missing or broken file is no memory, not an error."""
        for name, room in self._stored().items():
            self.rooms[name] = _highest(self.of(name), room)

    @property
    def has_news(self) -> bool:
        """Is there anything to save?"""
        return self.path is not None and self.rooms != self._saved

    def save(self) -> bool:
        """Writes the file if there is news; whole or not at all. Raises :class:`OSError`.

        May run in another thread: it looks at ``rooms`` once and changes nothing in it.
        """
        mine = dict(self.rooms)
        if self.path is None or mine == self._saved:
            return False
        stored = self._stored()
        best = {name: _highest(mine.get(name, Remembered()), stored.get(name, Remembered())) for name in mine | stored}
        private.write(self.path, json.dumps({name: _kept(room) for name, room in best.items()}, indent=1).encode())
        self._saved = mine
        return True

    def _stored(self) -> dict[str, Remembered]:
        if self.path is None:
            return {}
        try:
            return {str(name): Remembered(**room) for name, room in json.loads(self.path.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _kept(room: Remembered) -> dict[str, Any]:
    """What outlives the process."""
    return {name: value for name, value in asdict(room).items() if name not in ("quiet", "server")}


def _highest(one: Remembered, other: Remembered) -> Remembered:
    best = max(one, other, key=lambda room: (room.epoch, room.last, room.admitted))
    drawn = max((best, one, other), key=lambda room: (room.drawn > 0, room is best and room.seed != "", room.seed != ""))
    left = next((room.left for room in (best, one, other) if room.left is not None), None)
    serving, least = max(one.serving, other.serving), max(one.least, other.least)
    return replace(best, serving=serving, least=least, drawn=drawn.drawn, seed=drawn.seed, left=left)
