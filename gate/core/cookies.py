"""Names and attributes of the gate's cookies (RFC 6265bis)."""

from typing import Literal

Kind = Literal["ticket", "pass"]
TICKET_AGE = 86_400  # seconds; a closed tab keeps its place for a day


def cookie_name(kind: Kind, room: str, *, secure: bool) -> str:
    """``gate_pass_checkout``; over https with the ``__Host-`` prefix, so that no sibling domain can set it."""
    return f"{'__Host-' if secure else ''}gate_{kind}_{room}"


def set_cookie(kind: Kind, room: str, token: str, max_age: int, *, secure: bool) -> tuple[bytes, bytes]:
    """The Set-Cookie field. ``max_age`` in seconds; 0 deletes."""
    text = f"{cookie_name(kind, room, secure=secure)}={token}; Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax"
    return b"set-cookie", (text + ("; Secure" if secure else "")).encode()
