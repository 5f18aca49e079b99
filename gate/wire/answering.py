"""What a visitor's connection says: whole answers, refusals, and its last word.

A connection is closed so that the last answer arrives: bytes that meet a closed socket cause a reset, and a reset may
overtake what was sent before it. An answer that cannot be finished gets that reset on purpose.
"""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol

from gate.core import negotiate
from gate.core.answer import Answer
from gate.core.facts import Refusal
from gate.wire.framing import Chunked, Sized
from gate.wire.heads import BODILESS, answer_bytes
from gate.wire.request import Common, Head

if TYPE_CHECKING:
    from gate.wire.account import Account
    from gate.wire.door import Door

IDLE, BUSY, DRAIN, LINGER, TUNNEL, CLOSED = range(6)
DRAIN_BYTES: Final = 256 << 10  # of an unwanted body that are read to keep the connection
DRAIN_SECONDS: Final = 2.0
_RESET: Final = struct.pack("ii", 1, 0)


class Job(Protocol):
    """What serves the current request. Told in this order: ``body``…, and ``left`` if the visitor goes before the end."""

    @property
    def heard(self) -> float:
        """Changes when something comes for the visitor."""
        ...

    def body(self, data: bytes, ended: bool) -> None: ...
    def writable(self, ready: bool) -> None: ...
    def left(self) -> None: ...


class Answering(asyncio.Protocol):
    """The answering part of a visitor's connection. :class:`~gate.wire.receiving.Receiving` reads bodies,
    :class:`~gate.wire.protocol.VisitorConnection` all the rest.

    ``closing``: no further request is read after the current one.
    """

    __slots__ = (
        "_ahead",
        "_answered",
        "_paused",
        "_promised",
        "_received",
        "_state",
        "_unsent",
        "_upload",
        "_upload_held",
        "account",
        "closing",
        "common",
        "door",
        "due",
        "head",
        "job",
        "lines",
        "look",
        "secure",
        "tls",
        "transport",
    )

    _ahead: bytes  # not yet looked at
    _answered: bool  # the answer to the current request has begun
    job: Job | None  # what serves the current request
    _paused: bool  # the visitor takes no more
    _promised: bool  # the head of the current answer let the visitor believe that the connection stays
    _received: int  # bytes of the body
    _state: int
    _unsent: int  # bytes that waited to be written when it was last looked whether the visitor takes them
    _upload: Sized | Chunked | None  # the body still to come
    _upload_held: bool  # the origin takes no more
    account: "Account | None"
    closing: bool
    common: Common | None  # of the last request on the fast path; `lines` and `secure` follow from it
    door: "Door"
    due: float
    head: Head
    lines: bytes  # what the origin gets of `common`, and of where this visitor comes from
    look: float
    secure: bool  # came by https, by a trusted edge's word
    tls: bool
    transport: asyncio.Transport

    # ------------------------------------------------------------------ the reading half

    def expired(self, now: float) -> None:
        raise NotImplementedError

    def _flow(self) -> None:
        """Read on, or stop, as there is room."""
        raise NotImplementedError

    def _next(self) -> None:
        """Read the next request."""
        raise NotImplementedError

    def _drain_rest(self) -> None:
        """Read the rest of the body, for nobody."""
        raise NotImplementedError

    # ------------------------------------------------------------------ whole answers

    def serves(self, head: Head) -> bool:
        """Is ``head`` still the request that this connection waits to see answered?"""
        return self._state == BUSY and self.head is head and self.job is None and not self._answered

    @property
    def keeps(self) -> bool:
        """Will the connection be kept after this answer?"""
        return not self.closing and not self.door.draining

    def answered(self) -> None:
        """The head of the answer is on its way."""
        self._answered = True
        self._promised = self.keeps

    def respond(self, answer: Answer, *, job: Job | None = None) -> None:
        """Answer the current request, whole, by the gate itself. ``job`` is over with it."""
        if self._state != BUSY or job is not self.job:
            return
        upload, head = self._upload, self.head
        if upload is not None and (head.common.expects or not isinstance(upload, Sized) or upload.left > DRAIN_BYTES):
            self.closing = True
        self._answered = True
        if self.account is not None:
            self.account.status = answer.status
            self.account.sent = 0 if head.method == b"HEAD" or answer.status in BODILESS else len(answer.body)
        self.transport.write(answer_bytes(answer, head.method, head.minor, keep=self.keeps, date=self.door.date))
        self.finish()

    def send_whole(self, answer: bytes) -> None:
        """Answer the current request, which has no body, with these bytes."""
        self._answered = True
        self.transport.write(answer)
        self.finish()

    def refuse(self, refusal: Refusal, head: Head | None = None) -> None:
        """Answer a request that cannot be read, or not any further, and read no more on this connection.

        ``head`` is the request's, where it could be read: it says in which form the answer is wanted.
        """
        self.closing = True
        job, self.job = self.job, None
        if job is not None:
            job.left()
        if self._answered:
            self.cut()
            return
        self._state = BUSY
        self._answered = True
        fields = head.fields() if head is not None else ()
        answer = self.door.engine.refuse(refusal, negotiate.form(fields), negotiate.languages(fields)).plus(*refusal.headers)
        method = head.method if head is not None else b"GET"
        self.transport.write(answer_bytes(answer, method, 1, keep=False, date=self.door.date))
        if self.account is not None:
            self.account.refused(refusal)
            self.account.sent = len(answer.body)
            self._close_account()
        self._linger()

    # ------------------------------------------------------------------ ends

    def finish(self) -> None:
        """The answer is written whole."""
        self.job = None
        if self.account is not None:
            self._close_account()
        if self._state == CLOSED:
            return
        self._upload_held = False
        if self.closing or (self.door.draining and not self._promised):
            self._linger()
        elif self._upload is None:
            self._next()
        else:
            self._drain_rest()

    def _close_account(self) -> None:
        account, self.account = self.account, None
        if account is not None:
            account.close()

    def cut(self) -> None:
        """The answer cannot be finished: make sure that it does not look complete."""
        self.job = None
        self._state = CLOSED
        self._close_account()
        sock = self.transport.get_extra_info("socket")
        if sock is not None:  # a reset: to a visitor of HTTP/1.0 a plain end would be the end of the body
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _linger(self) -> None:
        """Close after the last answer, politely."""
        self.job = None
        self._state = LINGER
        self._received = 0
        self._upload = None
        self._upload_held = False
        self._ahead = b""
        self._flow()
        if self.tls:
            self._close()
            return
        with contextlib.suppress(OSError):  # gone already: connection_lost is on its way
            self.transport.write_eof()
        self.door.wheel.watch(self, DRAIN_SECONDS)

    def _close(self) -> None:
        """Flush, then close; a visitor who does not take the rest in time is cut off."""
        self._state = CLOSED
        self._unsent = self.transport.get_write_buffer_size()
        self.transport.close()  # with TLS this waits for the other side's goodbye, which not everybody says
        self.door.wheel.watch(self, self.door.visitors.stall if self._unsent else DRAIN_SECONDS)

    def hang_up(self, last: bytes = b"") -> None:
        """The tunnel is over: say ``last``, flush, then close."""
        if self._state != TUNNEL:
            return
        if last and not self.transport.is_closing():
            self.transport.write(last)
            self._linger()
        else:
            self._close()
