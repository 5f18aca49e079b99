"""One visitor's connection: heads in, answers out, one request at a time and in order.

=========  =============================================================================
state      what comes in is
=========  =============================================================================
IDLE       the head of a request (or the beginning of one)
BUSY       the body of the request being served; behind it, requests that wait their turn
DRAIN      the rest of a body that nobody wants any more; then IDLE
LINGER     thrown away: our last answer is sent, and a reset must not overtake it
TUNNEL     the origin's business
CLOSED     nothing
=========  =============================================================================
"""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from gate.core.answer import Answer
from gate.core.facts import Refusal
from gate.core.words import Reason
from gate.wire.deadlines import NEVER
from gate.wire.framing import BadFraming, Chunked, Sized
from gate.wire.heads import CONTINUE, answer_bytes
from gate.wire.parser import CHUNKED, Head, check_unfinished

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.tunnel import Tunnel

IDLE, BUSY, DRAIN, LINGER, TUNNEL, CLOSED = range(6)
HIGH_WATER: Final = 64 << 10  # bytes read ahead, or waiting to be written, before the other side is paused
DRAIN_BYTES: Final = 256 << 10  # of an unwanted body that are read to keep the connection
DRAIN_SECONDS: Final = 2.0
BODY_WINDOW: Final = 10.0  # seconds over which the minimum rate of a body is measured
_RESET: Final = struct.pack("ii", 1, 0)
HALF_CLOSED: Final = 1.0  # seconds; a visitor who has sent FIN may still wait this long for the answer to begin


class Job(Protocol):
    """What serves the current request. Told in this order: ``body``…, and ``left`` if the visitor goes before the end."""

    def body(self, data: bytes, ended: bool) -> None: ...
    def writable(self, ready: bool) -> None: ...
    def left(self) -> None: ...


class VisitorConnection(asyncio.Protocol):
    """``served`` counts requests. ``closing``: no further request is read after the current one."""

    __slots__ = (
        "_advancing",
        "_ahead",
        "_answered",
        "_half_closed",
        "_heading",
        "_job",
        "_mark",
        "_paused",
        "_received",
        "_state",
        "_stopped",
        "_upload",
        "_upload_held",
        "closing",
        "door",
        "due",
        "head",
        "peer",
        "served",
        "slot",
        "tls",
        "transport",
        "tunnel",
    )

    transport: asyncio.Transport
    head: Head

    def __init__(self, door: "Door") -> None:
        self.door = door
        self.due, self.slot = NEVER, 0
        self.served = 0
        self.closing = False
        self.peer: str | None = None
        self.tls = False
        self.tunnel: Tunnel | None = None
        self._state = IDLE
        self._ahead = b""  # bytes not yet looked at
        self._job: Job | None = None
        self._upload: Sized | Chunked | None = None  # the body still to come
        self._received = 0  # bytes of it, for the minimum rate
        self._mark = 0
        self._paused = False  # the visitor takes no more
        self._stopped = False  # we read no more
        self._upload_held = False  # the origin takes no more
        self._answered = False  # the answer to the current request has begun
        self._advancing = False
        self._half_closed = False
        self._heading = True  # the clock of a head is running

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's has no common base with asyncio's
        transport.set_write_buffer_limits(HIGH_WATER)
        self.door.connections.add(self)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else None
        self.tls = transport.get_extra_info("sslcontext") is not None
        self.door.wheel.watch(self, self.door.visitors.head)
        if self.door.draining:
            self.closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self.door.connections.discard(self)
        self.door.wheel.forget(self)
        job, self._job = self._job, None
        if job is not None:
            job.left()
        if self.tunnel is not None:
            self.tunnel.visitor_lost()
        self._ahead = b""

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == IDLE:
            size = len(data)
            if not self._ahead and not self._paused and 4 < size <= self.door.limits.head and data[0] > 0x20:
                whole = data.find(b"\r\n\r\n") == size - 4
                if whole:  # the usual case: one head and nothing else
                    self._begin(data)
                    return
            self._ahead = self._ahead + data if self._ahead else data
            if self._paused:
                self._flow()
            else:
                self._advance()
        elif state == BUSY:
            if self._upload is not None and self._job is not None:
                self._feed(data)
            else:
                self._ahead += data
                self._flow()
        elif state == TUNNEL and self.tunnel is not None:
            self.tunnel.from_visitor(data)
        elif state == DRAIN:
            self._drain(data)
        elif state == LINGER:
            self._received += len(data)
            if self._received > DRAIN_BYTES:
                self._close()

    def eof_received(self) -> bool:
        if self._state == TUNNEL and self.tunnel is not None:
            return self.tunnel.visitor_ended()
        if self._state == BUSY and self._upload is None and not self.tls:
            self.closing = self._half_closed = True
            if not self._answered:
                self.door.wheel.watch(self, HALF_CLOSED)
            return True
        return False

    def pause_writing(self) -> None:
        self._paused = True
        if self._state == TUNNEL and self.tunnel is not None:
            self.tunnel.visitor_writable(False)
            return
        self._mark = self.transport.get_write_buffer_size()
        self.door.wheel.watch(self, self.door.visitors.stall)
        if self._job is not None:
            self._job.writable(False)

    def resume_writing(self) -> None:
        self._paused = False
        if self._state == TUNNEL and self.tunnel is not None:
            self.tunnel.visitor_writable(True)
        elif self._job is not None:
            self._job.writable(True)
        elif self._state == IDLE:
            self.door.wheel.watch(self, self.door.visitors.keep_alive)
            self._advance()

    # ------------------------------------------------------------------ reading requests

    def _advance(self) -> None:
        """Serve what has come, as far as it is complete; one request at a time."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._state == IDLE and self._ahead and not self._paused:
                ahead = self._ahead
                if ahead[:1] in (b"\r", b"\n") and ahead[:2] in (b"\r\n", b"\r"):  # RFC 9112 section 2.2
                    if len(ahead) < 2:
                        return
                    self._ahead = ahead[2:]
                    continue
                end = ahead.find(b"\r\n\r\n", 0, self.door.limits.head) + 4
                if end < 4:
                    if not self._unfinished(ahead):
                        return
                    continue
                self._ahead = ahead[end:] if len(ahead) > end else b""
                self._begin(ahead[:end] if len(ahead) > end else ahead)
        finally:
            self._advancing = False

    def _unfinished(self, ahead: bytes) -> bool:
        """Wait for the rest of a head, for so long. True: it was refused."""
        try:
            check_unfinished(ahead, self.door.limits)
        except Refusal as refusal:
            self.refuse(refusal)
            return True
        if not self._heading:  # its time runs from its first byte; that of the first head from the connection
            self._heading = True
            self.door.wheel.watch(self, self.door.visitors.head)
        return False

    def _begin(self, block: bytes) -> None:
        door = self.door
        door.state.total_requests += 1
        self._heading = False
        self._state = BUSY
        self.due = NEVER
        try:
            head = self.head = door.parser.read(block)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        length = head.length
        if length:
            self._upload = Chunked() if length == CHUNKED else Sized(length)
            self._received = self._mark = 0
        if not head.keep_alive:
            self.closing = True
        door.serve(self, head)

    # ------------------------------------------------------------------ reading a body

    def adopt(self, job: Job) -> None:
        """``job`` serves the current request, which has no body."""
        self._job = job

    def take(self, job: Job) -> None:
        """``job`` serves the current request from here on, and gets its body."""
        self._job = job
        if self._upload is not None:
            if self._ahead:
                ahead, self._ahead = self._ahead, b""
                self._feed(ahead)
            elif self.head.common.expects:
                self.transport.write(CONTINUE)
            if self._upload is not None:
                self.door.wheel.watch(self, BODY_WINDOW)
        self._flow()

    def _feed(self, data: bytes) -> None:
        upload, job = self._upload, self._job
        if upload is None or job is None:
            self._ahead += data
            return
        try:
            payload = upload.feed(data)
        except BadFraming as error:
            self.refuse(Refusal(400, Reason.MALFORMED, str(error)))
            return
        self._received += len(data)
        ended = upload.done
        if ended:
            self._ahead = upload.rest
            self._upload = None
            self.due = NEVER
        if payload or ended:
            job.body(payload, ended)
        self._flow()

    def hold_upload(self, held: bool) -> None:
        """The origin takes no more of the body for now; or it does again."""
        self._upload_held = held
        self._mark = self._received
        if not held and self._upload is not None:
            self.door.wheel.watch(self, BODY_WINDOW)
        self._flow()

    def _flow(self) -> None:
        stop = (self._upload_held and self._upload is not None) or len(self._ahead) > HIGH_WATER
        if stop != self._stopped and self._state != CLOSED:
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _drain(self, data: bytes) -> None:
        upload = self._upload
        assert upload is not None  # noqa: S101 - DRAIN means that there is a rest
        self._received += len(data)
        try:
            upload.feed(data)
        except BadFraming:
            self._close()
            return
        if upload.done:
            self._ahead, self._upload = upload.rest, None
            self._next()
        elif self._received > DRAIN_BYTES:
            self._close()

    # ------------------------------------------------------------------ answering

    def serves(self, head: Head) -> bool:
        """Is ``head`` still the request that this connection waits to see answered?"""
        return self._state == BUSY and self.head is head and self._job is None and not self._answered

    @property
    def keeps(self) -> bool:
        """Will the connection be kept after this answer?"""
        return not self.closing and not self.door.draining

    def answered(self) -> None:
        """The head of the answer is on its way."""
        self._answered = True

    def respond(self, answer: Answer, *, job: Job | None = None) -> None:
        """Answer the current request, whole, by the gate itself. ``job`` is over with it."""
        if self._state != BUSY or job is not self._job:
            return
        upload = self._upload
        if upload is not None and (self.head.common.expects or not isinstance(upload, Sized) or upload.left > DRAIN_BYTES):
            self.closing = True
        self._answered = True
        self.transport.write(answer_bytes(answer, self.head.method, self.head.minor, keep=self.keeps, date=self.door.date))
        self.finish()

    def send_whole(self, answer: bytes) -> None:
        """Answer the current request, which has no body, with these bytes."""
        self._answered = True
        self.transport.write(answer)
        self.finish()

    def refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be read, or not any further, and read no more on this connection."""
        self.closing = True
        job, self._job = self._job, None
        if job is not None:
            job.left()
        if self._answered:
            self.cut()
            return
        self._state = BUSY
        self._answered = True
        answer = self.door.engine.refuse(refusal)
        self.transport.write(answer_bytes(answer, b"GET", 1, keep=False, date=self.door.date))
        self._linger()

    def finish(self) -> None:
        """The answer is written whole."""
        self._job = None
        self.served += 1
        if self._state == CLOSED:
            return
        if self._upload_held:
            self._upload_held = False
        if self.closing or self.door.draining:
            self._linger()
        elif self._upload is None:
            self._next()
        else:
            self._state = DRAIN
            self._received = 0
            self.door.wheel.watch(self, DRAIN_SECONDS)
            ahead, self._ahead = self._ahead, b""
            self._flow()
            if ahead:
                self._drain(ahead)

    def _next(self) -> None:
        self._state = IDLE
        self._answered = False
        if not self._paused:
            self.door.wheel.watch(self, self.door.visitors.keep_alive)
        if self._stopped:
            self._flow()
        if self._ahead:
            self._advance()

    def cut(self) -> None:
        """The answer cannot be finished: make sure that it does not look complete."""
        self._job = None
        self._state = CLOSED
        sock = self.transport.get_extra_info("socket")
        if sock is not None:  # a reset: to a visitor of HTTP/1.0 a plain end would be the end of the body
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _linger(self) -> None:
        """Close after the last answer, politely: bytes that meet a closed socket cause a reset, which may overtake it."""
        self._job = None
        self._state = LINGER
        self._received = 0
        self._upload = None
        self._upload_held = False
        self._ahead = b""
        self._flow()
        if self.tls:
            self._close()
            return
        self.transport.write_eof()
        self.door.wheel.watch(self, DRAIN_SECONDS)

    def _close(self) -> None:
        """Flush, then close; a visitor who does not take the rest in time is cut off."""
        self._state = CLOSED
        self._mark = self.transport.get_write_buffer_size()
        self.transport.close()
        self.door.wheel.watch(self, self.door.visitors.stall)

    # ------------------------------------------------------------------ upgrades

    def become(self, tunnel: "Tunnel") -> None:
        """From now on the connection is a tunnel."""
        self._job = None
        self._state = TUNNEL
        self.tunnel = tunnel
        self.door.wheel.forget(self)
        ahead, self._ahead = self._ahead, b""
        if self._paused:
            tunnel.visitor_writable(False)
        if ahead:
            tunnel.from_visitor(ahead)

    def hang_up(self) -> None:
        """The tunnel is over: flush, then close."""
        if self._state == TUNNEL:
            self._close()

    # ------------------------------------------------------------------ time

    def expired(self, now: float) -> None:
        state = self._state
        if state == IDLE:
            if self._ahead:
                self.refuse(Refusal(408, Reason.MALFORMED, "the request did not come in time"))
            else:
                self._close()
        elif state == BUSY:
            self._overdue()
        elif state == CLOSED:
            size = self.transport.get_write_buffer_size()
            if 0 < size < self._mark:
                self._mark = size
                self.door.wheel.watch(self, self.door.visitors.stall)
            else:
                self.transport.abort()
        else:
            self._close()

    def _overdue(self) -> None:
        visitors = self.door.visitors
        if self._half_closed and not self._answered:
            self._leave()
        elif self._paused:
            size = self.transport.get_write_buffer_size()
            if size >= self._mark:
                self._leave()
            else:
                self._mark = size
                self.door.wheel.watch(self, visitors.stall)
        elif self._upload is not None and not self._upload_held:
            if self._received - self._mark < visitors.body_rate * BODY_WINDOW:
                self.refuse(Refusal(408, Reason.MALFORMED, "the body came too slowly"))
            else:
                self._mark = self._received
                self.door.wheel.watch(self, BODY_WINDOW)

    def _leave(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.left()
        self.cut()

    def shutdown(self) -> None:
        """The worker ends: the current request is the last one (called by uvicorn's server)."""
        self.door.drain()
        if self._state == IDLE and not self._ahead:
            self.closing = True
            self.door.wheel.watch(self, self.door.last_call)
        elif self._state == TUNNEL and self.tunnel is not None:
            self.tunnel.shutdown()
        else:
            self.closing = True
