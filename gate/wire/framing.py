"""Where a message body ends (RFC 9112 section 6 and 7), read strictly, written plainly.

Nothing of the sender's framing is passed on: chunk extensions and trailers are dropped, and the other side gets chunks
or a length of our own making.
"""

import re

MAX_SIZE_LINE = 256  # bytes of one chunk-size line with its extensions
MAX_TRAILERS = 8192  # bytes of trailers, all dropped
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")

LAST_CHUNK = b"0\r\n\r\n"


class BadFraming(Exception):
    """The body cannot be delimited, or two programs could delimit it differently. The text says why."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Sized:
    """A body with a Content-Length. ``left`` is what is still to come, in bytes."""

    __slots__ = ("left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        self.rest = b""

    @property
    def done(self) -> bool:
        return self.left == 0

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``; what follows the body is in ``rest``."""
        size = len(data)
        if size <= self.left:
            self.left -= size
            return data
        self.rest = data[self.left :]
        data = data[: self.left]
        self.left = 0
        return data


class UntilClose:
    """A response body that ends with the connection (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        return data


class Chunked:
    """A chunked body, decoded step by step however the bytes are cut."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "done", "rest")

    _SIZE_LINE, _DATA, _DATA_END, _TRAILER_LINE = range(4)

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = self._SIZE_LINE
        self._trailers = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``; what follows the body is in ``rest``. Raises :class:`BadFraming`."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        payload: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            state = self._state
            if state == self._DATA:
                piece = data[position : position + self._left]
                payload.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = self._DATA_END
            elif state == self._DATA_END:
                if end - position < 2:
                    if data[position] != 0x0D:
                        raise BadFraming("a chunk is longer than its size says")
                    break
                if data[position : position + 2] != b"\r\n":
                    raise BadFraming("a chunk is longer than its size says")
                position += 2
                self._state = self._SIZE_LINE
            else:
                stop = data.find(b"\r\n", position, position + MAX_TRAILERS + 2)
                if stop < 0:
                    self._check_partial(data[position:])
                    break
                self._line(data[position:stop])
                position = stop + 2
                if self.done:
                    self.rest = data[position:]
                    return b"".join(payload)
        self._buffer = data[position:]
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _check_partial(self, part: bytes) -> None:
        limit = MAX_SIZE_LINE if self._state == self._SIZE_LINE else MAX_TRAILERS
        if len(part) > limit:
            raise BadFraming("a line of the chunked coding is too long")
        body = part.removesuffix(b"\r")
        if b"\n" in body or b"\r" in body or b"\0" in body:
            raise BadFraming("a line of the chunked coding ends without CR LF")

    def _line(self, line: bytes) -> None:
        if self._state == self._SIZE_LINE:
            match = _SIZE.fullmatch(line) if len(line) <= MAX_SIZE_LINE else None
            if match is None:
                raise BadFraming("not a chunk size")
            self._left = int(match[1], 16)
            self._state = self._DATA if self._left else self._TRAILER_LINE
            return
        if not line:
            self.done = True
            return
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS or _TRAILER.fullmatch(line) is None:
            raise BadFraming("not a trailer field")


Body = Sized | Chunked | UntilClose
