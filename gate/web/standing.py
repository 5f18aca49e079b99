"""Where one visitor stands in a room: the facts that the page and the JSON document share."""

from typing import Any, NamedTuple

from gate.core.credentials import Ticket
from gate.core.decision import Decision
from gate.core.line import AWAY, GROUPED
from gate.core.snapshot import RoomView
from gate.core.wait import Outlook, Place, ask_again, place_of
from gate.core.words import Reason
from gate.web import sentences

RETRY = {"closed": 30.0, "sold-out": 30.0, "over": 300.0}  # seconds
JITTER = 0.3  # a time to come back is stretched by up to this share, so that nobody comes back together
DUE = frozenset({Reason.RATE, Reason.ACTIVE})  # the reasons for which the store says when a token is due


class Standing(NamedTuple):
    """What both forms tell of one visitor. ``wait`` (at best and at worst) and ``retry_after`` in seconds, rounded.

    ``turn`` is the place in the order: the number, or what was drawn for it; None before the draw. ``invited``: the ticket's
    turn is one in a group, which no draw touches.
    """

    state: str
    number: int | None
    turn: int | None
    epoch: int | None
    ahead: int | None
    wait: tuple[int, int] | None
    retry_after: float
    invited: bool = False


def standing(
    decision: Decision, view: RoomView, draw: float, ticket: Ticket | None = None, outlook: Outlook | None = None
) -> Standing:
    """Where ``ticket`` (that of the decision, if none is given) stands. ``draw`` is in [0, 1)."""
    ticket = ticket or decision.ticket
    if ticket is None:
        state = state_of(decision, None)
        return Standing(state, None, None, None, None, None, hundredths(retry_after(decision, None, state, draw)))
    place = place_of(ticket, view, outlook)
    state = state_of(decision, place)
    number = ticket.number if ticket.number < AWAY else None
    again = hundredths(retry_after(decision, place, state, draw))
    invited = ticket.number >= GROUPED
    if place is None:
        return Standing(state, number, None, ticket.epoch, None, None, again, invited)
    ahead, _, low, high = place
    wait = (round(low), round(high)) if low is not None and high is not None and state in ("line", "called") else None
    turn = None if number is None else view.turn_of(number)
    return Standing(state, number, turn, ticket.epoch, ahead, wait, again, invited)


def document(seen: Standing, decision: Decision, view: RoomView, grace: float, heading: str, detail: str) -> dict[str, Any]:
    """The JSON document. ``grace`` in seconds; ``heading`` and ``detail`` (of :func:`why`) in the visitor's language."""
    return {
        "state": seen.state,
        "reason": decision.reason.value,
        "room": view.name,
        "number": seen.number,
        "turn": seen.turn,
        "epoch": seen.epoch,
        "ahead": seen.ahead,
        "wait": {"low": seen.wait[0], "high": seen.wait[1]} if seen.wait is not None else None,
        "opens": view.opens or None,
        "left": view.left,
        "grace": grace,
        "retry_after": seen.retry_after,
        "heading": heading,
        "detail": detail,
        "message": view.message,
        "status_url": f"/__gate/rooms/{view.name}/status",
        "ticket_url": f"/__gate/rooms/{view.name}/ticket",
        "pass_url": f"/__gate/rooms/{view.name}/pass",
    }


def retry_after(decision: Decision, place: Place | None, state: str, draw: float) -> float:
    """Seconds. What the store says is when a token is due, so that is kept; all else is spread out."""
    if decision.retry_after is not None and (state == "called" or decision.reason in DUE):
        return decision.retry_after
    low = place.low if place is not None else None
    if state == "line" and low is not None:  # the store speaks of the token after this one's, not of this place in line
        return ask_again(low, draw)
    wanted = RETRY.get(state, decision.retry_after)
    return ask_again(low, draw) if wanted is None else wanted * (1 + JITTER * draw)


def hundredths(seconds: float) -> float:
    """Rounded to them, in half the time of ``round``, which is exact where two are equally near."""
    return int(100 * seconds + 0.5) / 100


def state_of(decision: Decision, place: Place | None) -> str:
    """The one word for where a visitor stands."""
    state = STATES.get(decision.reason)
    return state or ("called" if place is not None and place.called else "line")


STATES = {
    Reason.NOT_OPEN: "early",
    Reason.HOLD: "hold",
    Reason.STORE: "store",
    Reason.ROOM_CLOSED: "closed",
    Reason.LINE_FULL: "full",
    Reason.SOLD_OUT: "sold-out",
    Reason.SALE_OVER: "over",
}


def why(state: str, reason: Reason, *, placed: bool, draw: bool, invited: bool = False) -> str:
    """The sentence that is true of this state and its cause. ``placed``: there is a ticket. ``draw``: one decides the order,
    but not of those ``invited``."""
    if state == "early" and draw:
        return sentences.BESIDE_DRAW if invited else sentences.DRAW
    if state == "store" and not placed:
        return sentences.NO_PLACE_YET
    if state == "line" or (state == "called" and reason is Reason.ACTIVE):
        return sentences.BY_REASON.get(reason, sentences.WHYS[state])
    return sentences.WHYS[state]
