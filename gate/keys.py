"""The key ring on disk: ``keys.json`` in the state directory, read by every worker, changed by ``gate keys rotate``.

A new key is listed at once and signs a little later, so that no worker ever meets a ticket signed by a key it has not
read yet: that visitor would lose the place in line. An old key leaves the ring only when it has not signed for a day.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import urandom
from pathlib import Path
from typing import Any

from gate import private
from gate.core.credentials import KEY_BYTES, Key, KeyRing, WeakKey

FILE = "keys.json"
KEEP = 4  # keys that stay in the ring, however old
RETIRE = 86400.0  # seconds a key verifies after it has stopped signing; longer than anybody stands in line
LEAD = 60.0  # seconds between listing a key and signing with it, to get it to every worker of every gate
MOST = 32  # keys; a visitor's forged ticket is checked against each


class BadKeyFile(Exception):
    """``keys.json`` is not a key ring of ours, or too weak to use. The text says what to do."""


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

    def ring(self, now: float) -> KeyRing:
        """The ring at this moment. A key that may not sign yet verifies already, so it is put before those that may."""
        signing = [entry.key for entry in self.listed if entry.signs_from <= now]
        coming = [entry.key for entry in self.listed if entry.signs_from > now]
        return KeyRing(tuple(coming + signing) if signing else tuple(coming))

    def next_change(self, now: float) -> float | None:
        """When the next listed key begins to sign, or None."""
        return min((entry.signs_from for entry in self.listed if entry.signs_from > now), default=None)

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
    keep: int = KEEP,
    lead: float = LEAD,
    compromised: bool = False,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = urandom,
) -> Listed:
    """Lists a new key, which signs ``lead`` seconds from now. Raises as :func:`ensure_keyring`.

    ``compromised``: the new key signs at once and is the only one; everybody in line joins anew.
    """
    path = private.make_directory(state) / FILE
    with private.locked(path):
        now = clock()
        new = _fresh(now, now if compromised else now + lead, random)
        old = () if compromised else load(state).listed
        private.write(path, KeyFile((*_still_needed(old, now, keep - 1), new)).to_json())
    return new


def _still_needed(listed: tuple[Listed, ...], now: float, keep: int) -> Iterable[Listed]:
    kept = []
    for place, entry in enumerate(listed):
        newer = listed[place + 1 :]
        signed_lately = not newer or newer[0].signs_from > now - RETIRE
        if len(newer) < keep or (signed_lately and len(newer) < MOST - 1):
            kept.append(entry)
    return kept


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
        elif self._due is None or self._clock() < self._due:
            return False
        self._build()
        return True

    def _build(self) -> None:
        now = self._clock()
        self._due = self._file.next_change(now)
        self.ring = self._file.ring(now)
