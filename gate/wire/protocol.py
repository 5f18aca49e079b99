"""One visitor's connection: one request at a time and in order.

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
import re
from typing import TYPE_CHECKING, Final, cast

from gate.core.facts import Refusal
from gate.core.words import Reason
from gate.wire.answering import BUSY, CLOSED, DRAIN, DRAIN_BYTES, IDLE, LINGER, TUNNEL
from gate.wire.deadlines import NEVER
from gate.wire.framing import Chunked, Sized
from gate.wire.parser import check_unfinished
from gate.wire.receiving import HIGH_WATER, Receiving
from gate.wire.request import CHUNKED, Head

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.tunnel import Tunnel

_EMPTY_LINES = re.compile(rb"\A(?:\r\n)++")
LONGEST_KEPT: Final = 2048  # bytes; a longer head is dropped between requests, or idle connections would be dear
HALF_CLOSED: Final = 2.0  # seconds that an answer may be silent, at its beginning or later, once the visitor has sent FIN


class VisitorConnection(Receiving):
    """What uvicorn makes for every connection of a visitor (:meth:`gate.wire.door.Door.protocol`)."""

    __slots__ = ("_advancing", "_half_closed", "_heading", "_heard", "peer", "tunnel")

    def __init__(self, door: "Door") -> None:
        self.door = door
        self.due = self.look = NEVER
        self.closing = False
        self.peer: str | None = None
        self.tls = False
        self.tunnel: Tunnel | None = None
        self.account = None
        self.common = None
        self._state = IDLE
        self._ahead = b""
        self.job = None
        self._upload = None
        self._received = self._mark = self._unsent = 0
        self._paused = False
        self._stopped = False
        self._upload_held = False
        self._answered = self._promised = False
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
        if self.tls:
            self.door.shaking.discard(self)
        self.door.wheel.watch(self, self.door.visitors.head)
        if self.door.draining:
            self.closing = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self.door.connections.discard(self)
        self.door.wheel.forget(self)
        job, self.job = self.job, None
        if job is not None:
            job.left()
        if self.tunnel is not None:
            self.tunnel.visitor_lost()
        if self.account is not None:
            self._close_account()
        self._ahead = b""

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == IDLE:
            if not self._ahead and not self._paused:
                head = self.door.parser.recall(data)
                if head is not None:  # the usual case: one head and nothing else, made of what is known
                    self._serve(head)
                    return
            self._ahead = self._ahead + data if self._ahead else data
            if self._paused:
                self._flow()
            else:
                self._advance()
        elif state == BUSY:
            if self._upload is not None and self.job is not None:
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
        """FIN. A visitor who is gone sends the same as one who has only nothing more to say; the difference shows when bytes
        reach a closed socket and a reset comes back. So an answer that comes at once is delivered, and goes on as long as it
        flows; one that is silent for long is taken for unwanted, and the origin is spared it.
        """
        if self._state == TUNNEL and self.tunnel is not None:
            return self.tunnel.visitor_ended()
        if self._state == BUSY and self._upload is None and not self.tls:
            self.closing = self._half_closed = True
            self._heard = 0.0
            if not self._paused:  # else there is an answer, and it is timed how fast it is taken
                self.door.wheel.watch(self, HALF_CLOSED)
            return True
        return False

    def pause_writing(self) -> None:
        self._paused = True
        self._unsent = self.transport.get_write_buffer_size()
        self.door.wheel.watch(self, self.door.visitors.stall)
        if self._state == TUNNEL and self.tunnel is not None:
            self.tunnel.visitor_writable(False)
        elif self.job is not None:
            self.job.writable(False)

    def resume_writing(self) -> None:
        self._paused = False
        if self._state == TUNNEL and self.tunnel is not None:
            self.due = NEVER
            self.tunnel.visitor_writable(True)
        elif self.job is not None:
            if self._upload is not None and not self._upload_held:
                self._time_body()
            self.job.writable(True)
        elif self._state == IDLE:
            self.door.wheel.watch(self, self.door.keep_alive)
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
                if ahead[:2] in (b"\r\n", b"\r"):  # RFC 9112 section 2.2
                    if len(ahead) < 2:
                        return
                    self._ahead = _EMPTY_LINES.sub(b"", ahead)  # all at once: one by one, a flood of them costs its square
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
        self._heading = False
        try:
            head = self.door.parser.read(block)
        except Refusal as refusal:
            self.refuse(refusal)
        else:
            self._serve(head)

    def _serve(self, head: Head) -> None:
        self.head = head
        self._heading = False
        self._state = BUSY
        self.due = NEVER
        common = head.common
        if common.length:
            self._upload = Chunked() if common.length == CHUNKED else Sized(common.length)
            self._received = self._mark = 0
        if not common.keep_alive:
            self.closing = True
        self.door.serve(self, head)

    # ------------------------------------------------------------------ what follows

    def _next(self) -> None:
        self._state = IDLE
        self._answered = self._promised = False
        if len(self.head.block) > LONGEST_KEPT:
            self.common, self.lines = None, b""
            del self.head
        if not self._paused:
            due = self.due = self.door.wheel.soon + self.door.keep_alive
            if due < self.look:
                self.door.wheel.put(self)
        if self._stopped:
            self._flow()
        if self._ahead:
            self._advance()

    # ------------------------------------------------------------------ upgrades

    def become(self, tunnel: "Tunnel") -> None:
        """From now on the connection is a tunnel."""
        self.job = None
        self._state = TUNNEL
        self.tunnel = tunnel
        ahead, self._ahead = self._ahead, b""
        self.door.wheel.forget(self)
        if self._paused:
            self.door.wheel.watch(self, self.door.visitors.stall)
            tunnel.visitor_writable(False)
        self._flow()
        if ahead:
            tunnel.from_visitor(ahead)
        if self._half_closed and not tunnel.visitor_ended():
            self._close()

    # ------------------------------------------------------------------ time

    def expired(self, now: float) -> None:
        state = self._state
        if state == IDLE:
            if self._ahead:
                self.refuse(Refusal(408, Reason.MALFORMED, "the request did not come in time"))
            else:
                self._close()
        elif state in (BUSY, TUNNEL):
            self._overdue()
        elif state == CLOSED:
            size = self.transport.get_write_buffer_size()
            if 0 < size < self._unsent:
                self._unsent = size
                self.door.wheel.watch(self, self.door.visitors.stall)
            else:
                self.transport.abort()
        else:
            self._close()

    def _overdue(self) -> None:
        visitors = self.door.visitors
        if self._half_closed and not self._paused:
            heard = self.job.heard if self.job is not None and self._answered else self._heard
            if heard == self._heard:
                self._leave()
            else:
                self._heard = heard
                self.door.wheel.watch(self, HALF_CLOSED)
        elif self._paused:
            size = self.transport.get_write_buffer_size()
            if size >= self._unsent:
                self._leave()
            else:
                self._unsent = size
                self.door.wheel.watch(self, visitors.stall)
        elif self._upload is not None and not self._upload_held:
            self._check_pace()

    def _leave(self) -> None:
        job, self.job = self.job, None
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
        elif not self._promised:  # else the visitor may already have sent the next one: that one is the last
            self.closing = True
