"""The shared status document of a room: the same for everybody, so that any cache may answer a million polls with it."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gate.core.answer import Answer, Fields
from gate.core.decide import why_over
from gate.core.draw import commitment
from gate.core.settings import Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.wait import at_the_door, free_now, pace_of, poll_policy
from gate.core.words import RoomMode
from gate.web.standing import STATES

# No cookie is read or set and nothing varies. Any origin may read it: it tells nothing about the visitor.
_FIELDS: Fields = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, max-age=1, stale-while-revalidate=5"),
    (b"access-control-allow-origin", b"*"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex"),
)


Said = Callable[[str, RoomView], Mapping[str, tuple[str, str]]]  # heading and sentence of a state, by language


class Tongue(Protocol):
    """What says them; :class:`gate.web.pages.Pages` does."""

    def said(self, state: str, view: RoomView) -> Mapping[str, tuple[str, str]]: ...


class Source(Protocol):
    """What the documents are made from; the engine is one."""

    settings: Settings
    snapshot: Snapshot

    @property
    def pages(self) -> Tongue: ...


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
            body = status_document(room, snapshot, self._source.settings, self._source.pages.said)
            if body is None:
                return None
            tag = f'"{hashlib.blake2s(body, digest_size=9).hexdigest()}"'.encode()
            made = self._made[room] = (snapshot, Answer(200, (*_FIELDS, (b"etag", tag)), body))
        answer = made[1]
        if if_none_match is not None and answer.headers[-1][1] in if_none_match:
            return Answer(304, answer.headers[1:])
        return answer


def status_document(name: str, snapshot: Snapshot, settings: Settings, said: Said) -> bytes | None:
    """The JSON. ``pace`` is seconds per person ahead, at best and at worst; docs/visitor-api.md has every field."""
    room, view = settings.rooms.get(name), snapshot.rooms.get(name)
    if room is None or view is None:
        return None
    state = "open" if room.shadow else state_of(view, snapshot)
    document = {
        "room": name,
        "state": state,
        "epoch": view.epoch,
        "serving": view.serving,
        "last": view.last,
        "base": view.base,
        "at_door": at_the_door(view),
        "free": free_now(view),
        "waiting": view.waiting,
        "full": view.maximum is not None and view.waiting >= view.maximum,
        "left": view.left,
        "rate": {"amount": view.amount, "period": view.period},
        "pace": pace_of(view) if state == "line" else None,
        "now": int(snapshot.taken) if state == "early" else None,
        "opens": view.opens or None,
        "closes": view.closes if view.closes < math.inf else None,
        "draw": draw_of(view),
        "grace": room.grace,
        "message": view.message,
        "said": None if state in ("line", "open") else said(state, view),
        "poll": poll_policy(view.waiting, settings.edge.polls),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def state_of(view: RoomView, snapshot: Snapshot) -> str:
    """The one word for a room, in the order in which :func:`gate.core.decide.decide` asks."""
    if view.mode is RoomMode.OPEN:
        return "open"
    over = why_over(view, snapshot.taken)
    if over is not None:
        return STATES[over]
    if snapshot.fallback_on:
        return "fallback"
    if not snapshot.knows(view):
        return "store"
    if view.mode is RoomMode.HOLD:
        return "hold"
    return "early" if snapshot.taken < view.opens else "line"


def draw_of(view: RoomView) -> dict[str, Any] | None:
    """What anybody may know of the draw: before it what its seed will be recognised by, after it the seed."""
    if not view.draw or not view.seed:
        return None
    drawn = view.drawn or None
    return {"commitment": commitment(view.seed), "drawn": drawn, "seed": view.seed.hex() if drawn else None}
