"""Numbers, times and curves as the console shows them."""

from datetime import UTC, datetime
from typing import Any

PAST = 600.0  # seconds in a curve


def curve(history: list[tuple[float, int]], now: float) -> dict[str, Any] | None:
    """How many waited, as an SVG line in a field of 600 by 40, and in words. None when there is nothing to tell yet."""
    points = [(moment, waiting) for moment, waiting in history if now - PAST <= moment <= now]
    most = max((waiting for _, waiting in points), default=0)
    if len(points) < 2 or most == 0:
        return None
    begin = points[0][0]
    span = max(1.0, points[-1][0] - begin)
    line = " ".join(f"{600 * (moment - begin) / span:.0f},{39 - 38 * waiting / most:.1f}" for moment, waiting in points)
    before, last = points[0][1], points[-1][1]
    minutes = max(1, round((now - begin) / 60))
    text = f"Waiting, last {minutes} min: from {number(before)} to {number(last)}, at most {number(most)}"
    return {"line": line, "area": f"0,40 {line} 600,40", "text": text}


def number(value: float, digits: int = 0) -> str:
    """1284 → ``1\u202f284``; a narrow space reads the same in every language."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 129600 else f"{seconds / 86400:.0f} days"


def clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %H:%M:%S UTC")
