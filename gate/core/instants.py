"""Points in time as people write them: an instant with its offset, or a local time with its zone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[T ](?P<time>\d{2}:\d{2}(?::\d{2})?)"
    r"\s*(?P<offset>Z|[+-]\d{2}:\d{2})?(?:\s+(?P<zone>[A-Za-z_/+-]+\d*))?"
)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime's go by the locale
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST = 946_684_800  # 2000-01-01; a smaller number is a year or a slip, not Unix seconds
_BEYOND = 253_402_300_800  # 10000-01-01, which no calendar here reaches
_ADVICE = "write 2026-11-27T11:00:00Z, 2026-11-27T12:00:00+01:00 or 2026-11-27 12:00 Europe/Berlin"


def parse_instant(value: Any) -> float:
    """Unix seconds. Raises :class:`ValueError`, also for a local time that a zone skips or has twice.

    Which of two equal wall-clock times was meant cannot be known (PEP 495), and a sale that opens an hour early is a sale that
    is over when its visitors come.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _FIRST <= value < _BEYOND:
        return float(value)
    text = str(value).strip()
    moment = _read(text)
    if not 0 <= moment < _BEYOND:
        raise ValueError(f"{text!r} is no time for a sale; {_ADVICE}")
    return moment


def _read(text: str) -> float:
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a point in time; {_ADVICE}")
    try:
        local = datetime.fromisoformat(f"{found['date']}T{found['time']}")
    except ValueError as error:
        raise ValueError(f"{text!r} is not in the calendar ({error}); {_ADVICE}") from error
    if found["offset"] is not None and found["zone"] is not None:
        raise ValueError(f"{text!r} has both an offset and a zone; keep one of them")
    if found["offset"] is not None:
        return datetime.fromisoformat(f"{local.isoformat()}{found['offset'].replace('Z', '+00:00')}").timestamp()
    if found["zone"] is None:
        raise ValueError(f"{text!r} does not say where on earth; add the offset or the zone: {_ADVICE}")
    return _in_zone(local, found["zone"], text)


def _in_zone(local: datetime, name: str, text: str) -> float:
    if name == "UTC":
        return local.replace(tzinfo=UTC).timestamp()
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone; write one of the IANA names, like Europe/Berlin") from error
    early, late = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() == late.utcoffset():
        return early.timestamp()
    either = " or ".join(_with_offset(local, moment.utcoffset() or timedelta()) for moment in (early, late))
    if early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise ValueError(f"{text!r} does not exist: clocks in {name} skip it; write an hour later, or an instant: {either}")
    raise ValueError(f"{text!r} happens twice: clocks in {name} are set back over it; write which one: {either}")


def _with_offset(local: datetime, offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{local.isoformat()}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def format_instant(seconds: float) -> str:
    """``2026-11-27T11:00:00Z``: what :func:`parse_instant` reads as the same second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_moment(seconds: float) -> str:
    """``Fri 27 Nov 2026 11:00 UTC``, with seconds where there are any: for people who compare it with what they meant."""
    moment = datetime.fromtimestamp(seconds, UTC)
    clock = "%H:%M:%S" if moment.second else "%H:%M"
    return f"{_DAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment.strftime(f'%Y {clock} UTC')}"


def format_relative(moment: float, now: float) -> str:
    """``in 2 h 5 min``, ``3 min ago``."""
    return f"in {format_distance(moment - now)}" if moment > now else f"{format_distance(now - moment)} ago"


def format_distance(seconds: float) -> str:
    """How far away a moment is, as people say it: ``40 s``, ``5 min 20 s``, ``2 h 5 min``, ``3 days 4 h``."""
    whole = max(0, round(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{minutes} min {whole % 60} s" if whole % 60 else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} days {hours % 24} h" if hours % 24 else f"{days} days"
