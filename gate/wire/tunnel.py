"""After a 101: bytes both ways, until either side ends, or the pass that let the visitor in is over.

A tunnel outlives its request, so the decision is looked at again while it lasts: every :data:`LOOK` seconds. A WebSocket
that the gate ends is told why, where a frame of the gate's own can be put between the others.

What tunnels may cost is bounded apart from requests (``origin.tunnels``): they last, and a pool they counted in would soon be
theirs alone. One over which nothing comes for long is ended; so is one whose visitor does not take what comes.
"""

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, Final

from gate.core.decision import Decision
from gate.wire.deadlines import NEVER
from gate.wire.frames import GOING_AWAY, POLICY, SERVICE_RESTART, Frames, close_frame

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.protocol import VisitorConnection
    from gate.wire.upstream import OriginConnection

LOOK: Final = 15.0  # seconds between two looks at the pass
LAST_WORDS: Final = 10.0  # seconds a tunnel gets when the worker ends
ASK_AFTER: Final = 60  # seconds of silence after which the kernel asks whether the other side is still there …
ASK_EVERY: Final = 20  # … and again; after as many questions as it may ask without an answer the connection is lost
ASK_TIMES: Final = 3


class Tunnel:
    """Both ends' connections call it; it lives until both are closed."""

    __slots__ = (
        "_closed",
        "_decision",
        "_door",
        "_down",
        "_ended",
        "_ending",
        "_heard",
        "_origin",
        "_until",
        "_up",
        "_visitor",
        "due",
        "look",
    )

    def __init__(
        self,
        door: "Door",
        visitor: "VisitorConnection",
        origin: "OriginConnection",
        decision: Decision,
        *,
        websocket: bool,
    ) -> None:
        self._door = door
        self._visitor = visitor
        self._origin = origin
        self._decision = decision
        self._ending = self._closed = False
        self._ended: asyncio.Transport | None = None  # to whom we sent FIN; when the other direction ends, so does the tunnel
        self._until = 0.0  # Unix time to which the pass was renewed meanwhile
        self._heard = door.wheel.now  # loop time when something last came from either side
        self._up = Frames() if websocket else None  # from the visitor
        self._down = Frames() if websocket else None
        self.due = self.look = NEVER

    def open(self, rest: bytes) -> None:
        """Start; ``rest`` came from the origin behind its 101."""
        self._origin.user = None
        self._origin.tunnel = self
        self._origin.server.switched()
        self._door.tunnels.add(self)
        _keep_asking(self._origin.transport)
        _keep_asking(self._visitor.transport)
        held = self._decision.granted or self._decision.held
        if held is not None:
            self._door.plans.follow(held.id)
        if self._door.draining:
            self._door.wheel.watch(self, LAST_WORDS)
        else:
            self._look_later()
        if rest:
            self.from_origin(rest)
        self._visitor.become(self)

    # -- the visitor's end

    def from_visitor(self, data: bytes) -> None:
        self._heard = self._door.wheel.now
        if self._up is not None:
            self._up.feed(data)
        self._origin.transport.write(data)

    def visitor_writable(self, ready: bool) -> None:
        transport = self._origin.transport
        if not transport.is_closing():
            if ready:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def visitor_ended(self) -> bool:
        """FIN: pass it on. True keeps the other direction open."""
        return self._pass_end_on(self._origin.transport)

    def visitor_lost(self) -> None:
        self._end()
        if not self._origin.transport.is_closing():
            self._origin.transport.close()

    # -- the origin's end

    def from_origin(self, data: bytes) -> None:
        self._heard = self._door.wheel.now
        if self._down is not None:
            self._down.feed(data)
        self._visitor.transport.write(data)

    def origin_writable(self, ready: bool) -> None:
        transport = self._visitor.transport
        if not transport.is_closing():
            if ready:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def origin_ended(self) -> bool:
        return self._pass_end_on(self._visitor.transport)

    def _pass_end_on(self, transport: asyncio.Transport) -> bool:
        """False: it cannot be, or it is the second end, so the tunnel is over."""
        if self._ended is not None or self._visitor.tls or not transport.can_write_eof():
            return False
        self._ended = transport
        try:
            transport.write_eof()
        except OSError:  # gone already
            return False
        return True

    def origin_lost(self) -> None:
        self._end()
        self._visitor.hang_up()

    # -- time

    def expired(self, now: float) -> None:
        if self._ending:
            self._close(SERVICE_RESTART)
        elif self.over():
            self._close(POLICY)
        elif now - self._heard >= self._door.origin.tunnel_idle:
            self._close(GOING_AWAY)
        else:
            self._look_later()

    def _look_later(self) -> None:
        self._door.wheel.watch(self, min(LOOK, self._door.origin.tunnel_idle))

    def over(self) -> bool:
        """Is the pass that opened this tunnel over, or given back?"""
        held = self._decision.granted or self._decision.held
        if held is None:
            return False
        engine = self._door.engine
        view = engine.snapshot.rooms.get(held.room)
        if view is not None and held.id in view.revoked:
            return True
        self._until = max(self._until, self._door.plans.latest(held.id), engine.renewed_until(held.id))
        return max(held.expires, self._until) <= engine.now()

    def shutdown(self) -> None:
        """The worker ends."""
        self._ending = True
        self._door.wheel.watch(self, LAST_WORDS)

    def _close(self, code: int) -> None:
        """End it; ``code`` says why to the visitor of a WebSocket. Behind a FIN there is nothing more to say."""
        self._end()
        ended, origin = self._ended, self._origin.transport
        says = self._down is not None and self._down.between and ended is not self._visitor.transport
        self._visitor.hang_up(close_frame(code, masked=False) if says else b"")
        if not origin.is_closing():
            if self._up is not None and self._up.between and ended is not origin:
                origin.write(close_frame(GOING_AWAY, masked=True))
            origin.close()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            held = self._decision.granted or self._decision.held
            if held is not None:
                self._door.plans.unfollow(held.id)
            self._door.wheel.forget(self)
            self._door.tunnels.discard(self)


def _keep_asking(transport: asyncio.Transport) -> None:
    """Who goes without a word, as a phone does, is noticed though nobody says anything (RFC 9293 section 3.8.4)."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ASK_AFTER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASK_EVERY)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ASK_TIMES)
