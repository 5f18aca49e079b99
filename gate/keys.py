"""The key ring on disk: ``keys.json`` in the state directory, read by every worker, changed by ``gate keys rotate``.

A new key is listed at once and signs a little later, so that no worker ever meets a ticket signed by a key it has not
read yet: that visitor would lose the place in line. An old key verifies for as long as anything that it signed may count, and
however often the ring is rotated, none leaves it before that: a ring that is full takes no new key.
"""

import json
import math
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from pathlib import Path
from typing import Any

from gate import private
from gate.core.credentials import KEY_BYTES, Key, KeyRing, WeakKey
from gate.core.instants import format_distance
from gate.core.line import TICKET_MOST

FILE = "keys.json"
RETIRE = TICKET_MOST + 86400.0  # seconds a key verifies after it has stopped signing: a ticket's longest life, and a day for
# a gate that got the new key late. Passes (notation.check_session), invitations and kept forms are over sooner
LEAD = 60.0  # seconds between listing a key and signing with it, to get it to every worker of every gate
MOST = 64  # keys: one a day while RETIRE lasts, and as many again; a forged ticket is checked against each (60 us)


class BadKeyFile(Exception):
    """``keys.json`` is not a key ring of ours, or too weak to use. The text says what to do."""


class FullRing(Exception):
    """Every key in the ring may still have signed somebody's ticket, and there are :data:`MOST`. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One key in the file. ``signs_from`` is Unix time in seconds."""

    key: Key
    made: float
    signs_from: float


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What ``keys.json`` holds, oldest first."""

    listed: tuple[Listed, ...]

    def ends(self) -> dict[str, float]:
        """When each key stops to verify, by its id; infinite for the one that no other follows."""
        found, next_signs = {}, math.inf
        for entry in reversed(self.listed):
            found[entry.key.id] = next_signs + RETIRE
            next_signs = min(next_signs, entry.signs_from)
        return found

    def living(self, now: float) -> tuple[Listed, ...]:
        """Those that verify."""
        ends = self.ends()
        return tuple(entry for entry in self.listed if ends[entry.key.id] > now)

    def ring(self, now: float) -> KeyRing:
        """The ring at this moment. A key that may not sign yet verifies already, so it is put before those that may."""
        living = self.living(now)
        signing = [entry.key for entry in living if entry.signs_from <= now]
        coming = [entry.key for entry in living if entry.signs_from > now]
        return KeyRing(tuple(coming + signing))

    def signed(self, now: float) -> list[Key]:
        """The keys that everybody has to know: those that have signed, but for one that is over within :data:`LEAD`, so that
        clocks may differ."""
        return [entry.key for entry in self.living(now + LEAD) if entry.signs_from <= now]

    def next_change(self, now: float) -> float:
        """When a listed key begins to sign or stops to verify; infinite: never."""
        moments = [*(entry.signs_from for entry in self.listed), *self.ends().values()]
        return min((moment for moment in moments if moment > now), default=math.inf)

    def to_json(self) -> bytes:
        keys = [
            {
                "id": entry.key.id,
                "secret": urlsafe_b64encode(entry.key.secret).decode(),
                "made": entry.made,
                "signs_from": entry.signs_from,
            }
            for entry in self.listed
        ]
        return json.dumps({"keys": keys}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, name: str) -> "KeyFile":
        """Raises :class:`BadKeyFile`."""
        try:
            entries: Any = json.loads(data)["keys"]
            listed = tuple(
                Listed(Key(str(e["id"]), urlsafe_b64decode(e["secret"])), float(e["made"]), float(e["signs_from"]))
                for e in entries
            )
        except WeakKey as error:
            raise BadKeyFile(f"{name}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, BadBase64) as error:
            raise BadKeyFile(f"{name} is not a key ring; put the backup back, or move it away and start the gate") from error
        if not listed:
            raise BadKeyFile(f"{name} lists no key; move it away, and the gate makes a new ring when it starts")
        if len({entry.key.id for entry in listed}) != len(listed):
            raise BadKeyFile(f"{name} lists two keys with the same id")
        return cls(listed)


def ensure_keyring(state: Path, *, clock: Callable[[], float] = time.time, random: Callable[[int], bytes] = urandom) -> KeyRing:
    """The gate's key ring; made, with one key, at the first start, by exactly one of the processes that start at once.

    Raises :class:`BadKeyFile`, :class:`gate.private.Unsafe` and :class:`OSError`: the gate must not start then.
    """
    directory, now = private.make_directory(state), clock()
    if not (directory / FILE).exists():
        private.create(directory / FILE, KeyFile((_fresh(now, now, random),)).to_json())
    return load(directory).ring(now)


def load(state: Path) -> KeyFile:
    """Raises as :func:`ensure_keyring`."""
    path = state.expanduser() / FILE
    return KeyFile.from_json(private.read(path), str(path))


def rotate(
    state: Path,
    *,
    lead: float = LEAD,
    compromised: bool = False,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = urandom,
) -> Listed:
    """Lists a new key, which signs ``lead`` seconds from now. Raises as :func:`ensure_keyring`, and :class:`FullRing`;
    nothing is changed then.

    ``compromised``: the new key signs at once and is the only one; everybody in line joins anew.
    """
    path = private.make_directory(state) / FILE
    with private.locked(path):
        now = clock()
        new = _fresh(now, now if compromised else now + lead, random)
        old = KeyFile(() if compromised else load(state).listed)
        living = old.living(now)
        if len(living) >= MOST:
            first = min(end for end in old.ends().values() if end > now)
            raise FullRing(
                f"{path} holds {len(living)} keys, and every one of them may have signed a ticket that still counts: none can "
                f"make room for another. The first one can in {format_distance(first - now)}: rotate then, and not more than "
                "once a day. If a key is known to others, `gate keys rotate --compromised` drops all of them now."
            )
        private.write(path, KeyFile((*living, new)).to_json())
    return new


def _fresh(now: float, signs_from: float, random: Callable[[int], bytes]) -> Listed:
    while True:
        try:
            return Listed(Key(random(4).hex(), random(KEY_BYTES)), now, signs_from)
        except WeakKey:  # about once in 10^20 draws
            continue


class Keys:
    """The ring as one worker follows it. A file that cannot be used changes nothing: the last good ring stays."""

    def __init__(self, state: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises as :func:`ensure_keyring`."""
        self._state = state.expanduser()
        self._clock = clock
        self._stamp = private.stamp(self._state / FILE)
        self._file = load(self._state)
        self.problem: str | None = None
        """Why the file on disk is not in force, for the log."""
        self.ring: KeyRing
        self._build()

    def reload(self) -> bool:
        """True when ``ring`` is a new one. One ``stat`` when it is not; meant to be called every second."""
        stamp = private.stamp(self._state / FILE)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._file = load(self._state)
            except (BadKeyFile, private.Unsafe, OSError) as error:
                self.problem = str(error)
                return False
            self.problem = None
        elif self._built <= self._clock() < self._due:  # before it was built: the clock was ahead, and has been set back
            return False
        self._build()
        return True

    def _build(self) -> None:
        self._built = now = self._clock()
        self._due = self._file.next_change(now)
        self.ring = self._file.ring(now)
