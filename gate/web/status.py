"""The shared status document of a room: the same for everybody, so that any cache may answer a million polls with it."""

import hashlib
import json
from typing import Protocol

from gate.core.answer import Answer, Fields
from gate.core.settings import Settings
from gate.core.snapshot import Snapshot
from gate.core.wait import at_the_door, pace_of, poll_policy
from gate.core.words import RoomMode

# No cookie is read or set and nothing varies. Any origin may read it: it tells nothing about the visitor.
_FIELDS: Fields = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, max-age=1, stale-while-revalidate=5"),
    (b"access-control-allow-origin", b"*"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex"),
)


class Source(Protocol):
    """What the documents are made from; the engine is one."""

    settings: Settings
    snapshot: Snapshot


class StatusBoard:
    """The documents of all rooms. Each is made once per snapshot, so a poll costs a dictionary look-up."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._made: dict[str, tuple[Snapshot, Answer]] = {}

    def answer(self, room: str, if_none_match: bytes | None = None) -> Answer | None:
        """The document of ``room`` (304 when the caller has it), or None when there is no such room."""
        snapshot = self._source.snapshot
        made = self._made.get(room)
        if made is None or made[0] is not snapshot:
            body = status_document(room, snapshot, self._source.settings)
            if body is None:
                return None
            tag = f'"{hashlib.blake2s(body, digest_size=9).hexdigest()}"'.encode()
            made = self._made[room] = (snapshot, Answer(200, (*_FIELDS, (b"etag", tag)), body))
        answer = made[1]
        if if_none_match is not None and answer.headers[-1][1] in if_none_match:
            return Answer(304, answer.headers[1:])
        return answer


def status_document(name: str, snapshot: Snapshot, settings: Settings) -> bytes | None:
    """The JSON. ``pace`` is seconds per person ahead, at best and at worst; docs/visitor-api.md has every field."""
    room, view = settings.rooms.get(name), snapshot.rooms.get(name)
    if room is None or view is None:
        return None
    if view.mode is RoomMode.OPEN or room.shadow:
        state = "open"
    elif view.mode is RoomMode.CLOSED:
        state = "closed"
    elif snapshot.fallback_on:
        state = "fallback"
    elif not snapshot.store_up:
        state = "store"
    else:
        state = "hold" if view.mode is RoomMode.HOLD else "line"
    document = {
        "room": name,
        "state": state,
        "epoch": view.epoch,
        "serving": view.serving,
        "at_door": at_the_door(view),
        "waiting": view.waiting,
        "rate": {"amount": view.amount, "period": view.period},
        "pace": pace_of(view) if state == "line" else None,
        "message": view.message,
        "poll": poll_policy(),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
