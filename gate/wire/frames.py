"""The frames of a WebSocket (RFC 6455 section 5), as far as a tunnel must know them: to say goodbye between two of them."""

import secrets
from typing import Final

SERVICE_RESTART: Final = 1012
POLICY: Final = 1008
GOING_AWAY: Final = 1001
_CLOSE: Final = 8
_LONGEST_HEADER: Final = 14  # bytes


class Frames:
    """Follows one direction without looking into the frames."""

    __slots__ = ("_closed", "_header", "_left")

    def __init__(self) -> None:
        self._left = 0  # bytes of the current frame still to come
        self._header = b""  # of a header that is not whole
        self._closed = False

    @property
    def between(self) -> bool:
        """May a frame of ours come next?"""
        return not self._left and not self._header and not self._closed

    def feed(self, data: bytes) -> None:
        """``data`` was passed on."""
        position, end = 0, len(data)
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                position += step
                self._left -= step
                continue
            known = len(self._header)
            header = self._header + data[position : position + _LONGEST_HEADER - known]
            size = _header_size(header)
            if size > len(header):
                self._header = header
                return
            self._header = b""
            position += size - known
            length = header[1] & 0x7F
            if length >= 126:
                length = int.from_bytes(header[2 : 4 if length == 126 else 10], "big")
            self._left = length
            if header[0] & 0x0F == _CLOSE:
                self._closed = True


def _header_size(header: bytes) -> int:
    """Bytes of the header that begins so; at least one more than there are when it cannot be told."""
    if len(header) < 2:
        return 2
    length = header[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if header[1] & 0x80 else 0)


def close_frame(code: int, *, masked: bool) -> bytes:
    """A Close frame; what goes to a server is ``masked``."""
    payload = code.to_bytes(2, "big")
    if not masked:
        return b"\x88\x02" + payload
    key = secrets.token_bytes(4)
    return b"\x88\x82" + key + bytes(byte ^ mask for byte, mask in zip(payload, key, strict=False))
