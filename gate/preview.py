"""The effect of a change in words and figures: for the API, ``gate room --dry-run`` and the console."""

from collections.abc import Iterator
from datetime import UTC, datetime

from gate.core.effect import Prospect, Wait, effect_of, people_in_line
from gate.core.snapshot import RoomView
from gate.core.wait import span_of
from gate.core.words import Reason, RoomMode
from gate.status import Part

SOON = 60.0  # seconds; less is not told in figures

BARRED = {
    Reason.ROOM_CLOSED: "no entry, and no place in line: closed",
    Reason.HOLD: "no entry while the room is held",
    Reason.SOLD_OUT: "no entry: sold out",
    Reason.SALE_OVER: "no entry: the sale is over",
    Reason.LINE_FULL: "no place: the line is full",
    Reason.STORE: "unknown while the store is away",
    Reason.ORIGIN_DOWN: "no entry while the shop is down",
    Reason.ORDERED: "no entry while the fallback page is ordered",
}


class Expected(Part):
    """A wait. ``low`` and ``high`` in seconds, at best and at worst; null where nobody can tell."""

    low: float | None
    high: float | None
    reason: str | None
    """Why nobody enters, or not in time: a label like `hold`, `sold-out` or `sale-over`."""
    text: str


class Empty(Part):
    """When the line would be empty if nobody else came; Unix seconds. ``latest`` null: nobody can tell."""

    earliest: float
    latest: float | None


class Outlook(Part):
    newcomer: Expected
    """Somebody who came now."""
    last: Expected | None
    """The last in line; null when nobody is."""
    empty: Empty | None


class Preview(Part):
    """What a change would do. Nothing has been changed."""

    room: str
    time: float
    """Unix seconds."""
    changes: list[str]
    """As the audit would say it; empty when all is so already."""
    before: Outlook
    after: Outlook
    text: list[str]
    """The same in sentences."""


def preview_of(before: RoomView, after: RoomView, now: float, changes: list[str], paused: Reason | None) -> Preview:
    """``paused``: why nobody is called whatever the room's settings are."""
    found = effect_of(before, after, now, paused)
    outlooks = [_outlook(prospect, view, now) for prospect, view in zip(found, (before, after), strict=True)]
    return Preview(
        room=before.name,
        time=now,
        changes=changes,
        before=outlooks[0],
        after=outlooks[1],
        text=[*_sentences(*outlooks), *_remarks(before, after)],
    )


def _outlook(prospect: Prospect, view: RoomView, now: float) -> Outlook:
    last = prospect.last
    empty = None
    if last is not None and last.low is not None and last.reason is None:
        empty = Empty(earliest=now + last.low, latest=None if last.high is None else now + last.high)
    return Outlook(
        newcomer=_expected(prospect.newcomer, view, now),
        last=None if last is None else _expected(last, view, now),
        empty=empty,
    )


def _expected(wait: Wait, view: RoomView, now: float) -> Expected:
    text = _in_words(wait)
    if wait.reason is None and wait.high is not None and now + wait.high >= view.closes:
        text += ", unless the sale closes before"
    return Expected(
        low=None if wait.low is None else round(wait.low, 1),
        high=None if wait.high is None else round(wait.high, 1),
        reason=None if wait.reason is None else wait.reason.value,
        text=text,
    )


def _in_words(wait: Wait) -> str:
    if wait.reason is Reason.SALE_OVER and wait.low is not None:
        return "not in time: the sale closes before"
    if wait.reason is not None:
        return BARRED.get(wait.reason, "unknown")
    if wait.low is None or (wait.low < SOON and wait.high is None):
        return "unknown as yet"
    if wait.high is None:
        least = span_of(wait.low, wait.low)
        return f"at least {max(1, least.low)} {'hour' if least.hours else 'minute'}{'' if least.low <= 1 else 's'}"
    if wait.high == 0:
        return "at once"
    return _span(wait.low, wait.high)


def _span(low: float, high: float) -> str:
    """``less than 1 minute``, ``20 to 25 minutes``, ``2 to 3 hours``."""
    span = span_of(low, high)
    unit = "hour" if span.hours else "minute"
    if span.low == 0:
        return f"less than {span.high} {unit}{'' if span.high == 1 else 's'}"
    return f"{span.low} to {span.high} {unit}s"


def _sentences(before: Outlook, after: Outlook) -> Iterator[str]:
    yield _compared("Wait of a newcomer", before.newcomer.text, after.newcomer.text)
    if before.last is not None and after.last is not None:
        yield _compared("Wait of the last in line", before.last.text, after.last.text)
        if after.empty is not None:
            then, now = _when(after.empty), _when(before.empty)
            without = "" if then == now else f" (without the change: {now})"
            yield f"If nobody else came, the line would be empty {then}{without}."
    else:
        yield "Nobody is in line."


def _compared(what: str, now: str, then: str) -> str:
    return f"{what}: {now}, with or without the change." if now == then else f"{what}: {then} (without the change: {now})."


def _when(empty: Empty | None) -> str:
    if empty is None:
        return "nobody can tell when"
    first = _clock(empty.earliest, empty.earliest)
    if empty.latest is None:
        return f"at {first} UTC at the earliest"
    last = _clock(empty.latest, empty.earliest)
    return f"at about {first} UTC" if first == last else f"between {first} and {last} UTC"


def _clock(moment: float, today: float) -> str:
    at = datetime.fromtimestamp(moment, UTC)
    same_day = at.date() == datetime.fromtimestamp(today, UTC).date()
    return f"{at:%H:%M}" if same_day else f"{at:%H:%M (%d %b)}"


def _remarks(before: RoomView, after: RoomView) -> Iterator[str]:
    """What the figures alone would not tell."""
    people = people_in_line(before)
    full = before.active is not None and before.inside >= before.active
    if full and after.active == before.active and after.per_second > before.per_second:
        yield f"{before.inside} of {before.active} seats are taken: seats, not the rate, say how fast the line moves."
    if after.active is not None and after.active < before.inside:
        yield f"{before.inside} are inside: nobody new enters until fewer than {after.active} are."
    if before.active is not None and people and before.admitted_per_second <= 0:
        yield "Nobody has been measured to leave yet: once the room is full, the wait may be longer."
    if not full and before.active is not None and after.session < before.session:
        yield "The room is not full: how long a pass lives does not matter to the line."
    if after.burst != before.burst and people:
        yield "A burst counts after a quiet time; while a line stands it makes no difference."
    if after.left is not None and 0 < after.left < people:
        yield f"{people} are in line, and only {after.left} left to sell."
    if after.mode is RoomMode.OPEN and before.mode is not RoomMode.OPEN and people:
        yield f"All {people} in line go through with their next look, within a minute, past the rate and the cap."
