"""A visitor's place in line, how long it may take, and when to ask again.

The same three sums run in the waiting page's script over the shared status document (``static/waiting.js``; a test holds
the two together), so a page that never talks to the gate about itself still shows what the gate would have said.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from gate.core.credentials import Ticket
from gate.core.line import AWAY, GROUPED, group_turn
from gate.core.snapshot import RoomView
from gate.core.words import RoomMode

# Seconds. Near the front a visitor asks every NEAR seconds, far away every FAR, in between after a SHARE of the wait
# that is left. Every interval is stretched by up to JITTER of itself, so that visitors who came together do not ask together.
NEAR = 2.0
FAR = 30.0
SHARE = 0.15
JITTER = 0.3
PAUSED = 20.0  # while nobody is called: held, closed, or the store is away

# A page that somebody looks at asks for the shared status document at least every SOON seconds, so that the operator's word,
# the end of a sale and the last thing sold are known to everybody in line within 5 s. One look costs the gate 10 µs
# (docs/performance.md), and nothing where an edge keeps the document. When more wait than `edge.polls` has looks for, they ask
# as seldom as it takes.
SOON = 2.5
HIDDEN = 60.0  # a tab that nobody looks at asks at least this often

# The wait is told as a range: from what the rate allows at most, which nothing can be faster than, to what was lately seen, and
# some.
_CAUTION = 1.25


class Place(NamedTuple):
    """Where a ticket stands. ``low`` and ``high`` are seconds, None when nobody can tell."""

    ahead: int  # people who are served before
    called: bool
    low: float | None
    high: float | None


def at_the_door(view: RoomView) -> int:
    """Visitors who were called and have not entered yet. One who comes late, when the line has gone on, is not counted
    again, so that nobody's place grows."""
    return max(0, view.serving - view.through)


def free_now(view: RoomView) -> int:
    """So many may enter this moment, without waiting for a token or a seat."""
    tokens = int(view.tokens)
    return tokens if view.active is None else max(0, min(tokens, view.active - view.inside))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What of a room's picture all places are counted from: those at the door, the pace (:func:`pace_of`), and how many may
    enter this moment (:func:`free_now`)."""

    at_door: int
    pace: tuple[float, float] | None
    free: int

    def wait(self, ahead: int) -> tuple[float, float] | tuple[None, None]:
        """Seconds, at best and at worst, of one with so many ahead. At best, because of the bucket: whoever is ahead and finds
        no token there takes one of those that are still to come, and so does the visitor."""
        if self.pace is None:
            return None, None
        least, most = self.pace
        return max(0, ahead + 1 - self.free) * least, (ahead + 1) * most


def outlook_of(view: RoomView) -> Outlook:
    return Outlook(at_the_door(view), pace_of(view), free_now(view))


def place_of(ticket: Ticket, view: RoomView, outlook: Outlook | None = None) -> Place | None:
    """None when nobody can tell: the ticket was given by time while the store was away, is of an epoch yet unseen, or waits
    for the draw.

    ``serving`` less those at the door is the number up to which everybody is through or gone. It does not move back when
    more visitors are called, so neither does the place. Whoever counts many places in one ``view`` makes its ``outlook`` once.
    """
    number, epoch = ticket.number, ticket.epoch
    if number >= GROUPED:
        return _place_in_group(ticket, view)
    if number >= AWAY or epoch > view.epoch or is_undrawn(ticket, view):
        return None
    forgotten = view.has_forgotten(number, epoch)
    turn = view.base + 1 if forgotten else view.turn_of(number)
    outlook = outlook or outlook_of(view)
    ahead = max(0, turn - 1 - view.serving + outlook.at_door)
    low, high = outlook.wait(ahead)
    return Place(ahead, forgotten or turn <= view.serving, low, high)


def _place_in_group(ticket: Ticket, view: RoomView) -> Place | None:
    """Those ahead in the same group, who are all taken to be there; at best it has the whole rate, at worst its share."""
    tag, turn = group_turn(ticket.number)
    group = view.groups.get(tag)
    if group is None or ticket.epoch > view.epoch:
        return None
    called = turn <= group.serving or (ticket.epoch < view.epoch and turn > group.last)  # this view may be older than the turn
    ahead = 0 if called else turn - 1 - group.serving
    flow = flow_of(view)
    if flow is None or group.share <= 0:
        return Place(ahead, called, None, None)
    low = max(0, ahead + 1 - free_now(view)) / flow[1]
    return Place(ahead, called, low, (ahead + 1) * _CAUTION / (flow[0] * group.share))


def is_undrawn(ticket: Ticket, view: RoomView) -> bool:
    """Is there a draw to come that this ticket takes part in? Nobody is called before it, so whoever was tells that it is over,
    even where nobody came to it."""
    return view.draw and not view.drawn and view.serving == 0 and ticket.joined < 1000 * view.opens


def pace_of(view: RoomView) -> tuple[float, float] | None:
    """Seconds per person ahead, at best and at worst; None while nobody is called.

    Those who have left the line take no time; at worst, half of them come back.
    """
    flow = flow_of(view)
    if flow is None:
        return None
    slow, fast = flow
    low, high = weights_of(view)
    return float(f"{low / fast:.6g}"), float(f"{high / slow:.6g}")


def weights_of(view: RoomView) -> tuple[float, float]:
    """How much of one admission a person in line takes, at best and at worst."""
    present = min(1.0, max(0.0, view.present))
    return present, _CAUTION * (1 + present) / 2


def flow_of(view: RoomView) -> tuple[float, float] | None:
    """Visitors a second, at worst and at best; None while nobody is called.

    A full room moves as fast as visitors leave it, whatever its rate. Otherwise the measured rate counts, but never for
    less than half of the ordered one: in the first minute of a rush there is little to measure.
    """
    if view.mode in (RoomMode.HOLD, RoomMode.CLOSED) or view.amount <= 0:
        return None
    ordered, seen = view.per_second, view.admitted_per_second
    full = view.active is not None and view.inside >= view.active
    if full and seen > 0:
        return min(seen, ordered), min(seen, ordered)
    if seen > 0:
        return min(ordered, max(seen, ordered / 2)), ordered
    return ordered, ordered


def ask_again(low: float | None, draw: float) -> float:
    """Seconds until a visitor whose wait is at least ``low`` seconds should ask again. ``draw`` is in [0, 1)."""
    seconds = PAUSED if low is None else low * SHARE
    seconds = NEAR if seconds < NEAR else FAR if seconds > FAR else seconds
    return seconds * (1 + JITTER * draw)


def poll_policy(waiting: int, polls: int) -> dict[str, float]:
    """For the status document: when its readers should look again, while so many wait and ``polls`` looks a second are fine."""
    far = min(FAR, max(SOON, waiting / polls))
    return {"near": NEAR, "far": round(far, 1), "share": SHARE, "jitter": JITTER, "hidden": HIDDEN}


class Span(NamedTuple):
    """A range of whole minutes or hours to say aloud: ``low`` 0 means "less than ``high``"."""

    low: int
    high: int
    hours: bool


def span_of(low: float, high: float) -> Span:
    """Coarser the longer it is, so that the words stay the same while the estimate wavers."""
    if high <= 5400:
        most = max(1, math.ceil(high / 60))
        step = 1 if most <= 20 else 5 if most <= 60 else 10
        unit = 60 * step
    else:
        step, unit = 1, 3600
    least = math.floor(low / unit) * step
    most = max(math.ceil(high / unit) * step, least + step)
    return Span(least, most, high > 5400)
