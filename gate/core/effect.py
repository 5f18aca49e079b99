"""What a change of a room does to the wait: the figures to look at before the button that makes it.

How fast a full room moves is how fast visitors leave it. By Little's law (Operations Research 9, 1961) the mean stay is those
inside divided by those who enter a second, so another cap moves the line by ``active / stay``. All is told as a range, and
what nobody can know is None: better no figure than one that an operator trusts and should not.
"""

import math
from dataclasses import dataclass, replace

from gate.core.decide import why_over
from gate.core.snapshot import RoomView
from gate.core.wait import FAR, JITTER, at_the_door, flow_of, free_now, weights_of
from gate.core.words import Reason, RoomMode


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds, at best and at worst; None: nobody can tell. With a ``reason`` nobody enters, or not in time."""

    low: float | None
    high: float | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one who came now, and the last in line, would wait. ``last`` None: nobody is in line."""

    newcomer: Wait
    last: Wait | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Visitors a second, at worst (None: unknown) and at best. The first ``free`` take the seats that are free now, at the
    ``rate``. Before anybody enters, ``pause`` seconds pass until the room is less full than the cap."""

    slow: float | None
    fast: float
    rate: float
    free: int = 0
    pause: tuple[float, float] = (0.0, 0.0)


def people_in_line(view: RoomView) -> int:
    return max(0, view.last - view.serving) + at_the_door(view)


def effect_of(before: RoomView, after: RoomView, now: float, paused: Reason | None = None) -> tuple[Prospect, Prospect]:
    """The prospects as things are, and after the change. ``now``: Unix time, seconds. ``paused``: why nobody is called whatever
    the room's settings are: the store or the shop is away."""
    same = all(getattr(before, name) == getattr(after, name) for name in ("amount", "period", "active", "session"))
    now_flow = _flow_now(before)
    then_flow = now_flow if same and before.mode is after.mode else _flow_then(before, after)
    return _prospect(before, now_flow, now, paused), _prospect(after, then_flow, now, paused)


def _prospect(view: RoomView, flow: Flow | None, now: float, paused: Reason | None) -> Prospect:
    people = people_in_line(view)
    barred = _barred(view, now, paused)
    if barred is not None:
        wait = Wait(None, None, barred)
        return Prospect(wait, wait if people else None)
    if view.mode is RoomMode.OPEN or flow is None:
        return Prospect(Wait(0.0, 0.0), Wait(0.0, FAR * (1 + JITTER)) if people else None)
    lead = max(0.0, view.opens - now)
    if people == 0 and lead == 0 and view.tokens >= 1 and not _is_full(view):
        newcomer = Wait(0.0, 0.0)
    else:
        newcomer = _wait(view, flow, people + 1, now)
    if view.maximum is not None and view.waiting >= view.maximum:
        newcomer = Wait(None, None, Reason.LINE_FULL)
    return Prospect(newcomer, _wait(view, flow, people, now) if people else None)


def _barred(view: RoomView, now: float, paused: Reason | None) -> Reason | None:
    if view.mode is RoomMode.OPEN:
        return None
    return why_over(view, now) or (Reason.HOLD if view.mode is RoomMode.HOLD else paused)


def _wait(view: RoomView, flow: Flow, place: int, now: float) -> Wait:
    """Of the ``place``-th from now on. Before a draw any place is possible."""
    lead = max(0.0, view.opens - now)
    undrawn = view.draw and not view.drawn and lead > 0
    light, heavy = weights_of(view)
    owed = max(0, place - free_now(view))  # at best those before find a token now
    at_rate = min(owed, flow.free)
    low = lead + flow.pause[0] + (0.0 if undrawn else light * (at_rate / flow.rate + (owed - at_rate) / flow.fast))
    at_rate = min(place, flow.free)
    high = None
    if flow.slow is not None:
        high = lead + flow.pause[1] + heavy * (at_rate / flow.rate + (place - at_rate) / flow.slow)
    return Wait(low, high, Reason.SALE_OVER if now + low >= view.closes else None)


def _is_full(view: RoomView) -> bool:
    return view.active is not None and view.inside >= view.active


def _flow_now(view: RoomView) -> Flow | None:
    """As the pages tell it, but that a full room which nobody has been seen to leave may stay so."""
    found = flow_of(view)
    if found is None:
        return None
    slow, fast = found
    return Flow(None if _is_full(view) and view.admitted_per_second <= 0 else slow, fast, view.per_second)


def _flow_then(before: RoomView, after: RoomView) -> Flow | None:
    held = before.mode in (RoomMode.HOLD, RoomMode.CLOSED)
    if held or before.admitted_per_second <= 0 or before.inside == 0:  # nothing was measured that could be carried over
        return _flow_now(replace(after, admitted_per_second=0.0))
    rate, seen = after.per_second, before.admitted_per_second
    stay = min(before.inside, before.active or before.inside) / seen
    longer = after.session - before.session  # it counts for those who do not say when they are done
    stays = max(min(1.0, stay), stay + min(0.0, longer)), stay + max(0.0, longer)
    if not _is_full(before):
        used = seen * rate / before.per_second  # the same share of the rate
        slow, fast = min(rate, max(used, rate / 2)), rate
    else:
        slow, fast = min(rate, max(seen, rate / 2)), rate
    if after.active is None:
        return Flow(slow, fast, rate)
    leaving = after.active / stays[1], after.active / stays[0]  # a second, once the room is full
    if before.inside > after.active != before.active:
        # Stays of one length empty a room evenly, stays by chance ever more slowly.
        share = after.active / before.inside
        return Flow(
            min(rate, leaving[0]), min(rate, leaving[1]), rate, pause=((1 - share) * stays[0], -math.log(share) * stays[1])
        )
    if _is_full(before):
        slow, fast = min(rate, leaving[0]), min(rate, leaving[1])
        return Flow(slow, fast, rate, free=max(0, after.active - before.inside))
    slow, fast = min(slow, leaving[0]), max(min(fast, leaving[1]), min(slow, leaving[0]))
    now = flow_of(before)
    tighter = before.active is None or after.active < before.active or after.session > before.session
    if now is not None and rate >= before.per_second and not tighter:  # then nothing gets slower
        slow, fast = max(slow, now[0]), max(fast, now[1])
    return Flow(slow, fast, rate)
