"""The head of a request, read strictly.

Two readers have to agree on every head: the rules below, which know no leniency, and llhttp (through httptools), which
half the world's servers use. What either refuses is refused. The rules add what llhttp leaves out: exactly one Host, one
framing field alone, no ``_`` in names, no HTTP/1.0 with a transfer coding, limits. Bodies are :mod:`.framing`'s business.

Reading a field line is a pure function of the line, so lines that many visitors send alike are read once and remembered;
never those that belong to one visitor (cookies, credentials).
"""

import re
from enum import IntEnum
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gate.core.facts import Refusal
from gate.core.identity import is_claim
from gate.core.words import Reason
from gate.wire.headers import HOP_BY_HOP, OVERRIDES
from gate.wire.http1.memo import Memo

CHUNKED: Final = -1  # Head.length of a chunked body
LINES_REMEMBERED: Final = 4096
LONGEST_REMEMBERED: Final = 256  # bytes

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.([01])")
_VERSION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ ]+ HTTP/[0-9](?:\.[0-9]+)?")
_NAME = re.compile(rb"[0-9A-Za-z-]+")
_HARMLESS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""})  # in Connection: name nothing that would go on
_CONTROLS = bytes(set(range(32)) - {9}) + b"\x7f"


class Kind(IntEnum):
    """What a field line means for the wire. All but ``PLAIN`` need a look of their own."""

    PLAIN = 0  # goes to the origin as it came
    HOP = 1  # for this connection only (RFC 9110 section 7.6.1): goes nowhere
    HOST = 2
    COOKIE = 3
    CONNECTION = 4
    LENGTH = 5
    CODING = 6
    UPGRADE = 7
    EXPECT = 8
    OTHER = 9  # forwarding fields, the gate's own, and whatever else the header rules treat specially


_KINDS: Final[dict[bytes, Kind]] = {
    b"host": Kind.HOST,
    b"cookie": Kind.COOKIE,
    b"connection": Kind.CONNECTION,
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"upgrade": Kind.UPGRADE,
    b"expect": Kind.EXPECT,
}
_DROPPED: Final = (HOP_BY_HOP | OVERRIDES | {b"proxy"}) - _KINDS.keys()
_PRIVATE_NAMES: Final = frozenset({b"cookie", b"authorization", b"proxy-authorization", b"gate-ticket", b"gate-pass"})


class Limits:
    """Bounds of a head: ``head`` and ``target`` in bytes, ``fields`` in lines."""

    __slots__ = ("fields", "head", "target")

    def __init__(self, head: int = 16 << 10, fields: int = 100, target: int = 8 << 10) -> None:
        self.head, self.fields, self.target = head, fields, target


class Head:
    """One request head.

    ``plain`` are the field lines that go to the origin unchanged, ``special`` the others with their kind, ``others`` those
    of :attr:`Kind.OTHER`. ``length``: bytes of body to come, or :data:`CHUNKED`. ``named``: Connection names further fields.
    """

    __slots__ = (
        "cookies",
        "expects",
        "host",
        "keep_alive",
        "length",
        "line",
        "lines",
        "minor",
        "named",
        "others",
        "plain",
        "special",
        "upgrade",
    )

    line: bytes
    lines: list[bytes]
    plain: list[bytes]
    special: list[tuple[int, bytes]]
    others: list[bytes]
    cookies: list[bytes]
    named: bool
    host: bytes
    length: int
    minor: int
    keep_alive: bool
    upgrade: bool
    expects: bool

    @property
    def method(self) -> bytes:
        return self.line.partition(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ", 2)[1]

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """All fields in order, names in lower case."""
        pairs = (line.partition(b":") for line in self.lines)
        return tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)


def _malformed(detail: str, status: int = 400) -> Refusal:
    return Refusal(status, Reason.MALFORMED, detail)


class _Silent:
    """llhttp asks its caller nothing: only its verdict is wanted."""


_SILENT = _Silent()


class Parser:
    """Reads heads; one per worker. ``special_names`` are field names (lower case) that header rules outside look at."""

    def __init__(self, limits: Limits, special_names: frozenset[bytes] = frozenset()) -> None:
        self.limits = limits
        self._special_names = special_names
        self._kinds: Memo[bytes, int] = Memo(LINES_REMEMBERED)
        self._starts: Memo[bytes, int] = Memo(LINES_REMEMBERED)

    def read(self, block: bytes) -> Head:
        """The head in ``block``, which ends with the empty line. Raises :class:`~gate.core.facts.Refusal`."""
        lines = block[:-4].split(b"\r\n")
        if len(lines) > self.limits.fields + 1:
            raise Refusal(431, Reason.TOO_LARGE, f"more than {self.limits.fields} header fields")
        head = Head()
        line = head.line = lines.pop(0)
        minor = self._starts.young.get(line)
        head.minor = self._read_request_line(line) if minor is None else minor
        known = self._kinds.young
        plain: list[bytes] = []
        special: list[tuple[int, bytes]] = []
        for line in lines:
            kind = known.get(line)
            if kind is None:
                kind = self._learn(line)
            if kind:
                special.append((kind, line))
            else:
                plain.append(line)
        head.lines, head.plain, head.special = lines, plain, special
        self._weigh(head)
        try:
            HttpRequestParser(_SILENT).feed_data(block)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise self._second_opinion(head, error) from None
        return head

    # -- one line

    def _read_request_line(self, line: bytes) -> int:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            if _VERSION.fullmatch(line) is not None and not line.endswith((b" HTTP/1.0", b" HTTP/1.1")):
                raise _malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
            raise _malformed("not a request line")
        if len(match[2]) > self.limits.target:
            raise Refusal(414, Reason.TOO_LARGE, f"the target is longer than {self.limits.target} bytes")
        minor = match[3][0] - 0x30
        if len(line) <= LONGEST_REMEMBERED:
            self._starts.put(line, minor)
        return minor

    def _learn(self, line: bytes) -> int:
        if line[:7] == b"Cookie:" and len(line.translate(None, _CONTROLS)) == len(line):
            return Kind.COOKIE
        found = self._kinds.find(line)
        if found is not None:
            return found
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            if b"_" in name:
                raise _malformed("a header name with an underscore reads like another one to some servers")
            if line[:1] in (b" ", b"\t"):
                raise _malformed("a folded header line (RFC 9112 section 5.2)")
            raise _malformed("not a header line")
        if len(value.translate(None, _CONTROLS)) != len(value):
            raise _malformed("a control character in a header value")
        lower = name.lower()
        kind = _KINDS.get(lower)
        if kind is None:
            kind = self._kind_of(lower)
        if len(line) <= LONGEST_REMEMBERED and lower not in _PRIVATE_NAMES:
            self._kinds.put(line, kind)
        return kind

    def _kind_of(self, name: bytes) -> Kind:
        if name in _DROPPED:
            return Kind.HOP
        if name in self._special_names or name == b"via" or name.startswith(b"gate-") or is_claim(name):
            return Kind.OTHER
        return Kind.PLAIN

    # -- what the special lines say together

    def _weigh(self, head: Head) -> None:
        host: bytes | None = None
        length: bytes | None = None
        coding: bytes | None = None
        cookies: list[bytes] = []
        others: list[bytes] = []
        keep_alive = head.minor == 1
        tokens: list[bytes] = []
        upgrade = expects = False
        for kind, line in head.special:
            if kind == Kind.HOST:
                if host is not None:
                    raise _malformed("more than one Host")
                host = line[5:].strip(b" \t")
            elif kind == Kind.COOKIE:
                cookies.append(line[7:].strip(b" \t"))
            elif kind == Kind.CONNECTION:
                tokens += [token.strip(b" \t").lower() for token in line[11:].split(b",")]
            elif kind == Kind.LENGTH:
                if length is not None:
                    raise _malformed("more than one Content-Length")
                length = line[15:].strip(b" \t")
            elif kind == Kind.CODING:
                if coding is not None:
                    raise _malformed("more than one Transfer-Encoding")
                coding = line[18:].strip(b" \t").lower()
            elif kind == Kind.UPGRADE:
                upgrade = True
            elif kind == Kind.EXPECT:
                if line[7:].strip(b" \t").lower() != b"100-continue":
                    raise _malformed("only 100-continue can be expected (RFC 9110 section 10.1.1)", 417)
                expects = head.minor == 1
            elif kind == Kind.OTHER:
                others.append(line)
        if host is None:
            raise _malformed("no Host")
        head.host, head.cookies, head.others, head.expects = host, cookies, others, expects
        head.length = self._body_length(head, length, coding)
        if tokens:
            if b"close" in tokens:
                keep_alive = False
            elif b"keep-alive" in tokens:
                keep_alive = True
        head.keep_alive = keep_alive
        head.named = any(token not in _HARMLESS for token in tokens)
        # RFC 9110 section 7.8 lets us ignore an Upgrade; one with a body is, or the body could be read as a request
        head.upgrade = upgrade and b"upgrade" in tokens and head.minor == 1 and head.length == 0

    def _body_length(self, head: Head, length: bytes | None, coding: bytes | None) -> int:
        if coding is not None:
            if length is not None:
                raise _malformed("both Content-Length and Transfer-Encoding (RFC 9112 section 6.3)")
            if head.minor == 0:
                raise _malformed("Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)")
            if coding != b"chunked":
                raise _malformed("a transfer coding other than chunked")
            return CHUNKED
        if length is None:
            return 0
        if not length.isdigit() or len(length) > 18:
            raise _malformed("Content-Length is not a number")
        return int(length)

    def _second_opinion(self, head: Head, error: HttpParserError) -> Refusal:
        if type(error).__name__ == "HttpParserInvalidMethodError":
            return Refusal(501, Reason.METHOD, "not a method known here")
        return _malformed("not HTTP/1.1")


def upgrade_of(head: Head) -> bytes | None:
    """What the visitor wants to speak instead, when that may be passed on; h2c never is (it would hide requests from us)."""
    if not head.upgrade:
        return None
    values = [value for name, value in head.fields() if name == b"upgrade"]
    if len(values) != 1 or b"," in values[0] or values[0].lower().startswith((b"h2", b"http")):
        return None
    return values[0]


# --------------------------------------------------------------------------- collecting a head

_TOO_EARLY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")


def check_unfinished(part: bytes | bytearray, limits: Limits) -> None:
    """``part`` begins a head that has not ended. Raises :class:`~gate.core.facts.Refusal` when it never can, or must not."""
    if _TOO_EARLY.search(part) is not None:
        raise _malformed("a control character, or a line that does not end with CR LF")
    if len(part) > limits.head or (b"\r\n" not in part and len(part) > limits.target + 64):
        first_line = part.find(b"\r\n")
        if first_line < 0 or first_line > limits.target + 64:
            raise Refusal(414, Reason.TOO_LARGE, f"the target is longer than {limits.target} bytes")
        raise Refusal(431, Reason.TOO_LARGE, f"the head is larger than {limits.head} bytes")
