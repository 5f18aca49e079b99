"""Names and attributes of the gate's cookies (RFC 6265bis)."""

import math
import re
from typing import Literal

Kind = Literal["ticket", "pass"]
TICKET_AGE = 86_400  # seconds; a closed tab keeps its place for a day, from the opening if that is still to come
TICKET_AGE_MOST = 30 * 86_400
_OURS = re.compile(rb"(?:__(?:host|secure)-)?gate_(?:ticket|pass)_", re.IGNORECASE)


def cookie_name(kind: Kind, room: str, *, secure: bool) -> str:
    """``gate_pass_checkout``; over https with the ``__Host-`` prefix, so that no sibling domain can set it."""
    return f"{'__Host-' if secure else ''}gate_{kind}_{room}"


def ticket_age(now: float, opens: float) -> int:
    """Max-Age, seconds, of a ticket for a room that opens at ``opens`` (Unix time)."""
    return min(TICKET_AGE_MOST, TICKET_AGE + max(0, math.ceil(opens - now)))


def set_cookie(kind: Kind, room: str, token: str, max_age: int, *, secure: bool) -> tuple[bytes, bytes]:
    """The Set-Cookie field. ``max_age`` in seconds; 0 deletes."""
    text = f"{cookie_name(kind, room, secure=secure)}={token}; Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax"
    return b"set-cookie", (text + ("; Secure" if secure else "")).encode()


def is_our_cookie(pair: bytes) -> bool:
    """Is ``name=value`` a ticket or a pass, or called like one?"""
    return _OURS.match(pair.strip()) is not None


def without_our_cookies(value: bytes) -> bytes:
    """A Cookie field without tickets and passes; the rest byte for byte, b"" when nothing is left."""
    if b"gate_" not in value.lower():
        return value
    return b"; ".join(pair for part in value.split(b";") if (pair := part.strip()) and not is_our_cookie(pair))
