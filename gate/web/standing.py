"""Where one visitor stands in a room: the facts that the page and the JSON document share."""

from typing import Any

from gate.core.credentials import Ticket
from gate.core.decision import Decision
from gate.core.line import AWAY
from gate.core.snapshot import RoomView
from gate.core.wait import Place, ask_again, place_of
from gate.core.words import Reason
from gate.web import sentences
from gate.web.languages import Language

CLOSED_RETRY = 30.0  # seconds
JITTER = 0.3  # a time to come back is stretched by up to this share, so that nobody comes back together


def standing(decision: Decision, view: RoomView, language: Language, draw: float) -> dict[str, Any]:
    """The facts, as they are in the JSON document. ``wait`` and ``retry_after`` in seconds; ``draw`` in [0, 1)."""
    ticket = decision.ticket
    place = place_of(ticket, view) if ticket is not None else None
    state = state_of(decision, place)
    wait = None
    if state in ("line", "called") and place is not None and place.low is not None and place.high is not None:
        wait = {"low": round(place.low), "high": round(place.high)}
    return {
        "state": state,
        "reason": decision.reason.value,
        "room": view.name,
        "number": ticket.number if ticket and ticket.number < AWAY else None,
        "epoch": ticket.epoch if ticket else None,
        "ahead": place.ahead if place else None,
        "wait": wait,
        "retry_after": round(retry_after(decision, place, state, draw), 2),
        "detail": language.text(why(state, decision.reason, ticket)),
        "message": view.message,
        "status_url": f"/__gate/rooms/{view.name}/status",
        "ticket_url": f"/__gate/rooms/{view.name}/ticket",
        "pass_url": f"/__gate/rooms/{view.name}/pass",
    }


def retry_after(decision: Decision, place: Place | None, state: str, draw: float) -> float:
    """Seconds. What the store says is when a token is due, so that is kept; all else is spread out."""
    if state == "called" and decision.retry_after is not None:
        return decision.retry_after
    if (
        state == "line" and place is not None and place.low is not None
    ):  # the store speaks of the token after this one's, not of this place in line
        return ask_again(place.low, draw)
    wanted = CLOSED_RETRY if state == "closed" else decision.retry_after
    return ask_again(place.low if place else None, draw) if wanted is None else wanted * (1 + JITTER * draw)


def state_of(decision: Decision, place: Place | None) -> str:
    """The one word for where a visitor stands: line, called, hold, store or closed."""
    match decision.reason:
        case Reason.HOLD:
            return "hold"
        case Reason.STORE:
            return "store"
        case Reason.ROOM_CLOSED:
            return "closed"
        case _:
            return "called" if place is not None and place.called else "line"


def why(state: str, reason: Reason, ticket: Ticket | None) -> str:
    """The sentence that is true of this state and its cause."""
    if state == "store" and ticket is None:
        return sentences.NO_PLACE_YET
    if state == "line" or (state == "called" and reason is Reason.ACTIVE):
        return sentences.BY_REASON.get(reason, sentences.WHYS[state])
    return sentences.WHYS[state]
