"""The head of an origin's response, read strictly, and how its body is delimited (RFC 9112 section 6.3).

What an origin may get wrong, and a visitor would suffer from (two lengths, a length beside a coding, line noise), makes
the whole response garbage: it is not passed on, and its connection is not used again.
"""

import re
from enum import IntEnum
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gate.wire import headers
from gate.wire.http1.framing import BadFraming, Body, Chunked, Sized, UntilClose
from gate.wire.http1.memo import Memo

MAX_HEAD: Final = 64 << 10  # bytes
MAX_FIELDS: Final = 256
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HARMLESS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""})  # in Connection: name nothing that would go on
_CONTROLS = bytes(set(range(32)) - {9}) + b"\x7f"
_OUR_COOKIE = re.compile(rb"\s*(?:__Host-)?gate_(?:ticket|pass)_", re.IGNORECASE)
LINES_REMEMBERED: Final = 4096
LONGEST_REMEMBERED: Final = 128  # bytes


class Garbage(Exception):
    """Not an HTTP/1.1 response, or not one that reads the same to everybody. The text says why."""


class Kind(IntEnum):
    PLAIN = 0  # to the visitor as it came
    HOP = 1  # goes nowhere: for this connection, or imitating the gate
    LENGTH = 2
    CODING = 3
    CONNECTION = 4
    CACHE = 5  # replaced where the gate says how the answer may be stored
    COMMAND = 6  # the origin's word to the gate
    UPGRADE = 7


_KINDS: Final[dict[bytes, Kind]] = {
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    b"gate-command": Kind.COMMAND,
    b"upgrade": Kind.UPGRADE,
    **dict.fromkeys(headers.CACHE_FIELDS, Kind.CACHE),
    **dict.fromkeys(headers.HOP_BY_HOP - {b"connection", b"transfer-encoding", b"upgrade"}, Kind.HOP),
}


class Reply:
    """One response head. ``plain`` are the lines that go to the visitor unchanged, ``cached`` its cache fields.

    ``length``: the Content-Length, also where no body follows (HEAD, 304), or None. ``body``: its reader; None: no body.
    """

    __slots__ = ("body", "cached", "commands", "keep_alive", "length", "plain", "start", "status", "upgrade")

    start: bytes
    status: int
    plain: list[bytes]
    cached: list[bytes]
    commands: list[bytes]
    length: int | None
    body: Body | None
    keep_alive: bool
    upgrade: bytes | None


_kinds: Memo[bytes, int] = Memo(LINES_REMEMBERED)
_starts: Memo[bytes, tuple[int, int]] = Memo(256)


class _Silent:
    """llhttp asks its caller nothing: only its verdict is wanted."""


_SILENT = _Silent()


def read_reply(block: bytes, method: bytes) -> Reply:
    """The head in ``block``, which ends with the empty line, as the answer to ``method``. Raises :class:`Garbage`."""
    lines = block[:-4].split(b"\r\n")
    reply = Reply()
    start = reply.start = lines.pop(0)
    known_start = _starts.young.get(start) or _read_status_line(start)
    minor, status = known_start
    reply.status = status
    known = _kinds.young
    plain: list[bytes] = []
    cached: list[bytes] = []
    commands: list[bytes] = []
    length: bytes | None = None
    coding: bytes | None = None
    tokens: list[bytes] | None = None
    reply.upgrade = None
    for line in lines:
        kind = known.get(line)
        if kind is None:
            kind = _learn(line)
        if kind == 0:
            plain.append(line)
        elif kind == 2:
            if length is not None:
                raise Garbage("more than one Content-Length")
            length = line[15:].strip(b" \t")
        elif kind == 3:
            if coding is not None:
                raise Garbage("more than one Transfer-Encoding")
            coding = line[18:].strip(b" \t").lower()
        elif kind == 4:
            tokens = (tokens or []) + [token.strip(b" \t").lower() for token in line[11:].split(b",")]
        elif kind == 5:
            cached.append(line)
        elif kind == 6:
            commands.append(line[13:].strip(b" \t"))
        elif kind == 7:
            reply.upgrade = line[8:].strip(b" \t")
    if len(lines) > MAX_FIELDS:
        raise Garbage("too many header fields")
    keep_alive = minor == 1
    if tokens is not None:
        if b"close" in tokens:
            keep_alive = False
        elif b"keep-alive" in tokens:
            keep_alive = True
        if any(token not in _HARMLESS for token in tokens):
            named = headers.named_by_connection(((b"connection", b",".join(tokens)),))
            plain = [line for line in plain if line.partition(b":")[0].lower() not in named]
            cached = [line for line in cached if line.partition(b":")[0].lower() not in named]
    reply.plain, reply.cached, reply.commands, reply.keep_alive = plain, cached, commands, keep_alive
    _delimit(reply, minor, method, length, coding)
    try:
        HttpResponseParser(_SILENT).feed_data(block)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise Garbage(str(error)) from None
    return reply


def _delimit(reply: Reply, minor: int, method: bytes, length: bytes | None, coding: bytes | None) -> None:
    status = reply.status
    reply.length = None
    if length is not None:
        if coding is not None:
            raise Garbage("both Content-Length and Transfer-Encoding")
        if not length.isdigit() or len(length) > 18:
            raise Garbage("Content-Length is not a number")
        reply.length = int(length)
    elif coding is not None and (coding != b"chunked" or minor == 0):
        raise Garbage("a transfer coding other than chunked")
    if status < 200 or status == 204:
        reply.length = None
        reply.body = None
    elif method == b"HEAD" or status == 304:
        reply.body = None
    elif coding is not None:
        reply.body = Chunked()
    elif reply.length is not None:
        reply.body = Sized(reply.length) if reply.length else None
    else:
        reply.body = UntilClose()
        reply.keep_alive = False


def _read_status_line(line: bytes) -> tuple[int, int]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Garbage("not a status line")
    found = match[1][0] - 0x30, int(match[2])
    if len(line) <= 64:
        _starts.put(line, found)
    return found


def _learn(line: bytes) -> int:
    found = _kinds.find(line)
    if found is not None:
        return found
    name, colon, value = line.partition(b":")
    if not colon or _NAME.fullmatch(name) is None:
        raise Garbage("not a header line")
    if len(value.translate(None, _CONTROLS)) != len(value):
        raise Garbage("a control character in a header value")
    lower = name.lower()
    if lower == b"set-cookie":
        return Kind.HOP if _OUR_COOKIE.match(value) else Kind.PLAIN
    kind = _KINDS.get(lower)
    if kind is None:
        kind = Kind.HOP if lower.startswith(b"gate-") else Kind.PLAIN
    if len(line) <= LONGEST_REMEMBERED:
        _kinds.put(line, kind)
    return kind


__all__ = ["MAX_HEAD", "BadFraming", "Garbage", "Reply", "read_reply"]
