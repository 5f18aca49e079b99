"""Where visitors are sent: always a path on the host they came to (no open redirect, nothing reflected unchecked)."""

from urllib.parse import quote, urlsplit

from gate.core.visit import Visit

MAX_BACK = 2048  # characters of a path that we send a visitor back to


def checked_path(target: str) -> str | None:
    """``target`` if it is a path on this very host that the gate may send a visitor to, else None.

    One slash and no backslash after it, for browsers read ``/\\host`` as ``//host``; printable ASCII, so that nothing can
    break out of a header; and not one of the gate's own endpoints, which would send the visitor in circles.
    """
    if not target.startswith("/") or target[1:2] in ("/", "\\") or len(target) > MAX_BACK:
        return None
    if any(not "!" <= letter <= "~" or letter == "\\" for letter in target):
        return None
    return None if target.lower().startswith("/__gate") else target


def way_back(visit: Visit) -> str:
    """Where a visitor goes on: here, or for what cannot be repeated by a link, the page that the form was on."""
    if visit.method in ("GET", "HEAD"):
        here = visit.path.raw.decode("latin-1") + (f"?{visit.query.decode('latin-1')}" if visit.query else "")
        return checked_path(here) or "/"
    try:
        referer = urlsplit((visit.header(b"referer") or b"").decode("latin-1"))
    except ValueError:
        return "/"
    if referer.netloc.lower() != visit.host:
        return "/"
    return checked_path(referer.path + (f"?{referer.query}" if referer.query else "")) or "/"


def again_link(room: str, back: str) -> str:
    """Our own address that asks again, and goes on to ``back`` where what was sent with a form must be sent once more."""
    return f"/__gate/rooms/{room}/ticket?to={quote(back, safe='')}"
