"""The head of a request, read strictly.

Two readers have to agree on every head: the rules below, which know no leniency, and llhttp (through httptools), which
half the world's servers use. What either refuses is refused. The rules add what llhttp leaves out: exactly one Host, one
framing field alone, no ``_`` in names, no HTTP/1.0 with a transfer coding, limits. Bodies are :mod:`.framing`'s business.

Reading is a pure function of the bytes, so what many visitors send alike is read once and remembered, never what belongs to
one visitor: a request line, a field line, and all of a head but its request line and its Cookie line (:class:`Common`). A head
made of remembered parts needs no reader (:meth:`Parser.recall`): in HTTP/1.1 no rule, ours or llhttp's, looks at a request line
and a field at once, or into a Cookie line for more than control characters; tests/wire/test_parser.py holds llhttp to it.
"""

import re
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gate.core.facts import Refusal
from gate.core.identity import is_claim
from gate.core.words import Reason
from gate.wire.headers import HOP_BY_HOP, OVERRIDES
from gate.wire.memo import Memo
from gate.wire.request import CHUNKED, Common, Head, Start

if TYPE_CHECKING:
    from gate.wire.way import Carried

LINES_REMEMBERED: Final = 4096
LONGEST_REMEMBERED: Final = 256  # bytes
LONGEST_START: Final = 1024
COMMONS_REMEMBERED: Final = 2048
LONGEST_COMMON: Final = 1024
COOKIES_REMEMBERED: Final = 24_576
LONGEST_COOKIE: Final = 512

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.([01])")
_VERSION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ ]+ HTTP/[0-9](?:\.[0-9]+)?")
_NAME = re.compile(rb"[0-9A-Za-z-]+")
_HARMLESS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""})  # in Connection: name nothing that would go on
_CONTROLS = bytes(set(range(32)) - {9}) + b"\x7f"


# What a field line means for the wire. All but PLAIN need a look of their own. Plain numbers: they are compared per line.
PLAIN: Final = 0  # goes to the origin as it came
HOP: Final = 1  # for this connection only, or saying what the gate does not listen to: goes nowhere
HOST: Final = 2
COOKIE: Final = 3
CONNECTION: Final = 4
LENGTH: Final = 5
CODING: Final = 6
UPGRADE: Final = 7
EXPECT: Final = 8
OTHER: Final = 9  # forwarding fields, the gate's own, and whatever else the header rules treat specially


_KINDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"cookie": COOKIE,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
}
_DROPPED: Final = (HOP_BY_HOP | OVERRIDES | {b"proxy"}) - _KINDS.keys()
_PRIVATE_NAMES: Final = frozenset({b"cookie", b"authorization", b"proxy-authorization", b"gate-ticket", b"gate-pass"})


class Limits:
    """Bounds of a head: ``head`` and ``target`` in bytes, ``fields`` in lines."""

    __slots__ = ("fields", "head", "target")

    def __init__(self, head: int = 16 << 10, fields: int = 100, target: int = 8 << 10) -> None:
        self.head, self.fields, self.target = head, fields, target


def _malformed(detail: str, status: int = 400) -> Refusal:
    return Refusal(status, Reason.MALFORMED, detail)


def _has_controls(value: bytes) -> bool:
    return len(value.translate(None, _CONTROLS)) != len(value)


class _Silent:
    """llhttp asks its caller nothing: only its verdict is wanted."""


_SILENT = _Silent()


class Parser:
    """Reads heads; one per worker. ``special_names`` are field names (lower case) that header rules outside look at."""

    def __init__(self, limits: Limits, special_names: frozenset[bytes] = frozenset()) -> None:
        self.limits = limits
        self._special_names = special_names
        self._kinds: Memo[bytes, int] = Memo(LINES_REMEMBERED)
        self._starts: Memo[bytes, Start] = Memo(LINES_REMEMBERED)
        self._commons: Memo[tuple[bytes, bytes, bytes], Common] = Memo(COMMONS_REMEMBERED)  # what is before and after a cookie
        self._cookies: Memo[bytes, Carried] = Memo(COOKIES_REMEMBERED)

    def recall(self, block: bytes) -> Head | None:
        """What :meth:`read` would say of ``block``, if it is one head whose parts have all been read before. None: read it."""
        if len(block) > self.limits.head:
            return None
        before, found, after = block.partition(b"\r\nCookie: ")
        if not found:
            before, found, after = block.partition(b"\r\ncookie: ")
        line, _, before = before.partition(b"\r\n")
        start = self._starts.young.get(line)
        if start is None or not before:  # with no field before the cookie, it may stand behind the end of the head
            return None
        if found:
            cookie, _, after = after.partition(b"\r\n")
            carried = self._cookies.young.get(cookie)
            if carried is None and _has_controls(cookie):
                return None
        else:
            cookie, carried = b"", None
        common = self._commons.young.get((before, found, after))
        if common is None:
            return None
        head = Head()
        head.block, head.start, head.common, head.cookie, head.carried = block, start, common, cookie, carried
        return head

    def read(self, block: bytes) -> Head:
        """The head in ``block``, which ends with its first empty line. Raises :class:`~gate.core.facts.Refusal`."""
        before, found, after = block.partition(b"\r\nCookie: ")
        if not found:  # as HTTP/2 edges write it; in another way it is a line like all others
            before, found, after = block.partition(b"\r\ncookie: ")
        line, _, before = before.partition(b"\r\n")
        known = self._starts.find(line)
        start = known or self._read_request_line(line)
        head = Head()
        head.block, head.start, head.cookie, head.carried = block, start, b"", None
        if found:
            head.cookie, _, after = after.partition(b"\r\n")
            if _has_controls(head.cookie):
                raise _malformed("a control character in a header value")
            head.carried = self._cookies.find(head.cookie)
        rest = before, found, after
        common = self._commons.find(rest) if start.minor else None
        if known is not None and common is not None:
            head.common = common
            return head
        lasting = False
        if common is None:
            common, lasting = self._read_common(before, after, start.minor, cookie=bool(found))
        try:
            HttpRequestParser(_SILENT).feed_data(block)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise self._second_opinion(error) from None
        if start.minor and len(line) <= LONGEST_START:  # only what both readers have taken
            self._starts.put(line, start)
        if lasting:
            self._commons.put(rest, common)
        head.common = common
        return head

    def remember(self, head: Head, carried: "Carried") -> None:
        """``carried`` follows from the cookie of ``head`` alone."""
        if len(head.cookie) <= LONGEST_COOKIE:
            self._cookies.put(head.cookie, carried)

    def forget_cookies(self) -> None:
        """What was made of them holds no longer."""
        self._cookies.clear()

    def _read_common(self, before: bytes, after: bytes, minor: int, *, cookie: bool) -> tuple[Common, bool]:
        """The lines before and after the ``cookie``, if there was one, and may they be remembered?"""
        rest = b"%b\r\n%b" % (before, after) if cookie and before else before + after
        lines = rest[:-4].split(b"\r\n") if len(rest) > 4 else []
        if len(lines) + cookie > self.limits.fields:
            raise Refusal(431, Reason.TOO_LARGE, f"more than {self.limits.fields} header fields")
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
        common = Common()
        common.plain = b"\r\n".join(plain) + b"\r\n" if plain else b""
        common.accepted, common.reads = False, None
        self._weigh(common, special, minor)
        common.usual = not (common.named or common.upgrade or common.cookies)
        lasting = minor == 1 and len(rest) <= LONGEST_COMMON and len(lines) < self.limits.fields
        return common, lasting and not self._private(lines)

    def _private(self, lines: list[bytes]) -> bool:
        return any(line.partition(b":")[0].lower() in _PRIVATE_NAMES for line in lines)

    # -- one line

    def _read_request_line(self, line: bytes) -> Start:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            if _VERSION.fullmatch(line) is not None and not line.endswith((b" HTTP/1.0", b" HTTP/1.1")):
                raise _malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
            raise _malformed("not a request line")
        if len(match[2]) > self.limits.target:
            raise Refusal(414, Reason.TOO_LARGE, f"the target is longer than {self.limits.target} bytes")
        return Start(line, match[1], match[2], match[3][0] - 0x30)

    def _learn(self, line: bytes) -> int:
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
        if _has_controls(value):
            raise _malformed("a control character in a header value")
        lower = name.lower()
        kind = _KINDS.get(lower)
        if kind is None:
            kind = self._kind_of(lower)
        if len(line) <= LONGEST_REMEMBERED and lower not in _PRIVATE_NAMES:
            self._kinds.put(line, kind)
        return kind

    def _kind_of(self, name: bytes) -> int:
        if name in _DROPPED:
            return HOP
        if name in self._special_names or name == b"via" or name.startswith(b"gate-") or is_claim(name):
            return OTHER
        return PLAIN

    # -- what the special lines say together

    def _weigh(self, head: Common, special: list[tuple[int, bytes]], minor: int) -> None:
        host: bytes | None = None
        length: bytes | None = None
        coding: bytes | None = None
        cookies: list[bytes] = []
        others: list[bytes] = []
        keep_alive = minor == 1
        tokens: list[bytes] = []
        upgrade = expects = False
        for kind, line in special:
            if kind == HOST:
                if host is not None:
                    raise _malformed("more than one Host")
                host = line[5:].strip(b" \t")
            elif kind == COOKIE:
                cookies.append(line[7:].strip(b" \t"))
            elif kind == CONNECTION:
                tokens += [token.strip(b" \t").lower() for token in line[11:].split(b",")]
            elif kind == LENGTH:
                if length is not None:
                    raise _malformed("more than one Content-Length")
                length = line[15:].strip(b" \t")
            elif kind == CODING:
                if coding is not None:
                    raise _malformed("more than one Transfer-Encoding")
                coding = line[18:].strip(b" \t").lower()
            elif kind == UPGRADE:
                upgrade = True
            elif kind == EXPECT:
                if line[7:].strip(b" \t").lower() != b"100-continue":
                    raise _malformed("only 100-continue can be expected (RFC 9110 section 10.1.1)", 417)
                expects = minor == 1
            elif kind == OTHER:
                others.append(line)
        if host is None:
            raise _malformed("no Host")
        head.host, head.cookies, head.others, head.expects = host, cookies, others, expects
        head.length = self._body_length(minor, length, coding)
        if tokens:
            if b"close" in tokens:
                keep_alive = False
            elif b"keep-alive" in tokens:
                keep_alive = True
        head.keep_alive = keep_alive
        head.named = any(token not in _HARMLESS for token in tokens)
        # RFC 9110 section 7.8 lets us ignore an Upgrade; one with a body is, or the body could be read as a request
        head.upgrade = upgrade and b"upgrade" in tokens and minor == 1 and head.length == 0

    def _body_length(self, minor: int, length: bytes | None, coding: bytes | None) -> int:
        if coding is not None:
            if length is not None:
                raise _malformed("both Content-Length and Transfer-Encoding (RFC 9112 section 6.3)")
            if minor == 0:
                raise _malformed("Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)")
            if coding != b"chunked":
                raise _malformed("a transfer coding other than chunked")
            return CHUNKED
        if length is None:
            return 0
        if not length.isdigit() or len(length) > 18:
            raise _malformed("Content-Length is not a number")
        return int(length)

    def _second_opinion(self, error: HttpParserError) -> Refusal:
        if type(error).__name__ == "HttpParserInvalidMethodError":
            return Refusal(501, Reason.METHOD, "not a method known here")
        return _malformed("not HTTP/1.1")


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
