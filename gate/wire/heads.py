"""Heads as bytes, for both directions, always framed by the gate itself."""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

from gate.core.answer import Answer, Fields
from gate.core.facts import PSEUDONYM
from gate.core.visit import Headers
from gate.wire.framing import LAST_CHUNK, chunk
from gate.wire.request import CHUNKED

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
VIA: Final = b"via: 1.1 %b\r\n" % PSEUDONYM
RETRY_LATER: Final[Fields] = ((b"retry-after", b"5"),)  # with a 503 for which nobody knows better
BODILESS: Final = frozenset({204, 304})
BODIED: Final = frozenset({"POST", "PUT", "PATCH"})


@lru_cache(1024)
def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def lines(fields: Headers | Fields) -> bytes:
    """``name: value`` lines, each with its end."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def connection_line(minor: int, *, keep: bool) -> bytes:
    """What a visitor of HTTP/1.``minor`` must be told about the connection."""
    if not keep:
        return b"connection: close\r\n"
    return b"" if minor else b"connection: keep-alive\r\n"


def answer_bytes(answer: Answer, method: bytes, minor: int, *, keep: bool, date: bytes) -> bytes:
    """A whole response of the gate's own. ``date`` is the Date line of this second."""
    status, body = answer.status, answer.body
    framing = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
    if method == b"HEAD" or status in BODILESS:
        body = b""
    return b"%b%b%b%b%b\r\n%b" % (
        status_line(status),
        date,
        lines(answer.headers),
        framing,
        connection_line(minor, keep=keep),
        body,
    )


def request_framing(length: int, *, bodied: bool) -> bytes:
    """The framing lines of a forwarded request. A length of 0 is said where a body is expected (RFC 9110 section 8.6).

    Where none is expected (``bodied`` is False), an origin may leave it unread and take it for the next request: behind such
    a body there is none on that connection (RFC 9110 section 9.3.1).
    """
    if not length:
        return b"content-length: 0\r\n" if bodied else b""
    framing = b"transfer-encoding: chunked\r\n" if length == CHUNKED else b"content-length: %d\r\n" % length
    return framing if bodied else framing + b"connection: close\r\n"


def body_bytes(data: bytes, *, chunked: bool, ended: bool) -> bytes:
    """A piece of a body, framed."""
    if not chunked:
        return data
    if not data:
        return LAST_CHUNK if ended else b""
    return chunk(data) + LAST_CHUNK if ended else chunk(data)
