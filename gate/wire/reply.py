"""The head of an origin's response, read strictly, and how its body is delimited (RFC 9112 section 6.3).

What an origin may get wrong, and a visitor would suffer from (two lengths, a length beside a coding, line noise), makes
the whole response garbage: it is not passed on, and its connection is not used again.
"""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gate.core.cookies import is_our_cookie
from gate.wire import headers
from gate.wire.framing import Body, Chunked, Sized, UntilClose
from gate.wire.memo import Memo

MAX_HEAD: Final = 64 << 10  # bytes
MAX_FIELDS: Final = 256
# above 599 is invalid (RFC 9110 section 15), yet every client knows what to do with it, so it is the origin's own business
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HARMLESS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""})  # in Connection: name nothing that would go on
_CONTROLS = bytes(set(range(32)) - {9}) + b"\x7f"
LINES_REMEMBERED: Final = 4096
LONGEST_REMEMBERED: Final = 128  # bytes
REPLIES_REMEMBERED: Final = 1024
LONGEST_REPLY: Final = 1024  # bytes


class Garbage(Exception):
    """Not an HTTP/1.1 response, or not one that reads the same to everybody. The text says why."""


# What a field line means for the wire. Plain numbers: they are compared per line.
PLAIN: Final = 0  # to the visitor as it came
HOP: Final = 1  # goes nowhere: for this connection, or imitating the gate
LENGTH: Final = 2
CODING: Final = 3
CONNECTION: Final = 4
CACHE: Final = 5  # replaced where the gate says how the answer may be stored
COMMAND: Final = 6  # the origin's word to the gate
UPGRADE: Final = 7
PERSONAL: Final = 8  # plain, and never remembered
DATE: Final = 9

_KINDS: Final[dict[bytes, int]] = {
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"gate-command": COMMAND,
    b"upgrade": UPGRADE,
    b"date": DATE,
    **dict.fromkeys(headers.CACHE_FIELDS, CACHE),
    **dict.fromkeys(headers.HOP_BY_HOP - {b"connection", b"transfer-encoding", b"upgrade"}, HOP),
}


class Reply:
    """One response head; may be shared by many responses, so nothing in it changes.

    ``plain`` are the lines that go to the visitor unchanged, ``cached`` its cache fields, each with its end. ``length``: the
    Content-Length, also where no body follows (HEAD, 304), or None. ``delimited``: how the body ends. ``dated``: it has a
    Date. ``block``: all of it, if it is remembered, else b"". ``heads``: what was made of it for visitors who stay connected,
    by the way it went back.
    """

    __slots__ = (
        "block",
        "cached",
        "commands",
        "dated",
        "delimited",
        "heads",
        "keep_alive",
        "length",
        "plain",
        "start",
        "status",
        "upgrade",
    )

    block: bytes
    cached: bytes
    commands: list[bytes]
    dated: bool
    delimited: int
    heads: dict[object, bytes]
    keep_alive: bool
    length: int | None
    plain: bytes
    start: bytes
    status: int
    upgrade: bytes | None

    def body(self) -> Body | None:
        """A reader of this response's body; None: it has none."""
        if self.delimited == SIZED:
            return Sized(self.length or 0)
        if self.delimited == CHUNKED:
            return Chunked()
        return UntilClose() if self.delimited == UNTIL_CLOSE else None


BODILESS, SIZED, CHUNKED, UNTIL_CLOSE = range(4)
_kinds: Memo[bytes, int] = Memo(LINES_REMEMBERED)
_starts: Memo[bytes, tuple[int, int]] = Memo(256)
_replies: Memo[bytes, Reply] = Memo(REPLIES_REMEMBERED)


class _Silent:
    """llhttp asks its caller nothing: only its verdict is wanted."""


_SILENT = _Silent()


def read_reply(block: bytes, method: bytes) -> Reply:
    """The head in ``block``, which ends with the empty line, as the answer to ``method``. Raises :class:`Garbage`.

    An origin says the same to many within a second; what was read once is remembered, unless it sets a cookie.
    """
    if method != b"HEAD":
        found = _replies.young.get(block)
        if found is not None:
            return found
    lines = block[:-4].split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        raise Garbage("too many header fields")
    reply = Reply()
    start = lines.pop(0)
    reply.start = start if start[:8] == b"HTTP/1.1" else b"HTTP/1.1" + start[8:]
    minor, reply.status = _starts.young.get(start) or _read_status_line(start)
    known = _kinds.young
    plain: list[bytes] = []
    special: list[tuple[int, bytes]] = []
    personal = method == b"HEAD" or len(block) > LONGEST_REPLY
    for line in lines:
        kind = known.get(line)
        if kind is None:
            kind = _learn(line)
            if kind == PERSONAL:
                personal, kind = True, PLAIN
        if kind:
            special.append((kind, line))
        else:
            plain.append(line)
    _weigh(reply, special, plain, minor=minor, method=method)
    try:
        HttpResponseParser(_SILENT).feed_data(block)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise Garbage(str(error)) from None
    reply.heads = {}
    reply.block = b"" if personal or reply.commands else block
    if reply.block:
        _replies.put(block, reply)
    return reply


def _weigh(reply: Reply, special: list[tuple[int, bytes]], plain: list[bytes], *, minor: int, method: bytes) -> None:
    """What the special lines say together."""
    length: bytes | None = None
    coding: bytes | None = None
    cached: list[bytes] = []
    commands: list[bytes] = []
    tokens: list[bytes] = []
    reply.upgrade = None
    reply.dated = False
    for kind, line in special:
        if kind == LENGTH:
            if length is not None:
                raise Garbage("more than one Content-Length")
            length = line[15:].strip(b" \t")
        elif kind == CODING:
            if coding is not None:
                raise Garbage("more than one Transfer-Encoding")
            coding = line[18:].strip(b" \t").lower()
        elif kind == CONNECTION:
            tokens += [token.strip(b" \t").lower() for token in line[11:].split(b",")]
        elif kind == CACHE:
            cached.append(line)
        elif kind == COMMAND:
            commands.append(line[13:].strip(b" \t"))
        elif kind == UPGRADE:
            reply.upgrade = line[8:].strip(b" \t")
        elif kind == DATE:
            reply.dated = True
            plain.append(line)
    reply.keep_alive = minor == 1
    if b"close" in tokens:
        reply.keep_alive = False
    elif b"keep-alive" in tokens:
        reply.keep_alive = True
    if any(token not in _HARMLESS for token in tokens):
        named = headers.named_by_connection(((b"connection", b",".join(tokens)),))
        plain = [line for line in plain if line.partition(b":")[0].lower() not in named]
        cached = [line for line in cached if line.partition(b":")[0].lower() not in named]
    reply.plain = b"".join([line + b"\r\n" for line in plain])
    reply.cached = b"".join([line + b"\r\n" for line in cached])
    reply.commands = commands
    _delimit(reply, minor, method, length=length, coding=coding)


def _delimit(reply: Reply, minor: int, method: bytes, *, length: bytes | None, coding: bytes | None) -> None:
    """RFC 9112 section 6.3, with no mercy for two answers to the same question."""
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
        reply.delimited = BODILESS
    elif method == b"HEAD" or status == 304 or reply.length == 0:
        reply.delimited = BODILESS
    elif coding is not None:
        reply.delimited = CHUNKED
    elif reply.length is not None:
        reply.delimited = SIZED
    else:
        reply.delimited = UNTIL_CLOSE
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
        return HOP if is_our_cookie(value) else PERSONAL
    kind = _KINDS.get(lower)
    if kind is None:
        kind = HOP if lower.startswith(b"gate-") else PLAIN
    if len(line) <= LONGEST_REMEMBERED:
        _kinds.put(line, kind)
    return kind
