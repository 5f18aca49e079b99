"""One connection to an origin server, and the reader of what it answers."""

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

from gate.core.settle import Trouble
from gate.wire.deadlines import NEVER, Wheel
from gate.wire.framing import BadFraming, Body, UntilClose
from gate.wire.reply import MAX_HEAD, SIZED, Garbage, Reply, read_reply

if TYPE_CHECKING:
    from gate.wire.origin import Server
    from gate.wire.tunnel import Tunnel

MAX_INTERIM: Final = 16  # 1xx responses before the real one; more is a flood
HIGH_WATER: Final = 64 << 10  # bytes; the visitor's upload pauses beyond it


class User(Protocol):
    """The exchange that uses the connection."""

    method: bytes
    last: bool  # nobody else's request may follow on the connection
    sent: bool  # the whole request is with the origin
    held: bool  # the visitor takes no more for now

    def interim(self, reply: Reply) -> None: ...
    def switched(self, reply: Reply, rest: bytes) -> None: ...
    def replied(self, reply: Reply, payload: bytes, ended: bool) -> None: ...
    def payload(self, data: bytes, ended: bool) -> None: ...
    def troubled(self, trouble: Trouble, *, stale: bool) -> None: ...
    def truncated(self) -> None: ...
    def upload_paused(self) -> None: ...
    def upload_resumed(self) -> None: ...


class OriginConnection(asyncio.Protocol):
    """``user`` is None while the connection is idle in its pool."""

    __slots__ = (
        "_body",
        "_buffer",
        "_interims",
        "_last",
        "_reply",
        "_wheel",
        "due",
        "idle_since",
        "look",
        "server",
        "transport",
        "tunnel",
        "used",
        "user",
    )

    transport: asyncio.Transport

    def __init__(self, server: "Server", wheel: Wheel) -> None:
        self.server = server
        self._wheel = wheel
        self.user: User | None = None
        self.tunnel: Tunnel | None = None
        self.used = False  # a request was answered
        self.idle_since = 0.0
        self.due = self.look = NEVER
        self._reply: Reply | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._interims = 0
        self._last: Reply | None = None  # the head of the answer before, if heads like it are remembered

    # -- for the exchange

    def begin(self, user: User, data: bytes, seconds: float | None) -> None:
        """Send the head (and what there is of the body) of ``user``'s request, then :meth:`expect`."""
        self.user = user
        if seconds is None:
            self.due = NEVER
        else:
            due = self.due = self._wheel.soon + seconds
            if due < self.look:
                self._wheel.put(self)
        self.transport.write(data)

    def expect(self, seconds: float | None) -> None:
        """A sign of life within ``seconds``; None: it is not the origin's turn."""
        if seconds is None:
            self.due = NEVER
        else:
            self._wheel.watch(self, seconds)

    def close(self) -> None:
        """Not to be used again."""
        self.user = None
        if not self.transport.is_closing():
            self.transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's has no common base with asyncio's
        transport.set_write_buffer_limits(HIGH_WATER)

    def pause_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.origin_writable(False)
        elif self.user is not None:
            self.user.upload_paused()

    def resume_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.origin_writable(True)
        elif self.user is not None:
            self.user.upload_resumed()

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            return self.tunnel.origin_ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._wheel.forget(self)
        user, reply, self.user = self.user, self._reply, None
        self.server.lost(self)
        if self.tunnel is not None:
            self.tunnel.origin_lost()
        elif user is None:
            return
        elif reply is None:
            untouched = not self._buffer and not self._interims
            user.troubled(Trouble.RESET, stale=self.used and untouched)
        elif exc is None and isinstance(self._body, UntilClose):
            user.payload(b"", True)
        else:
            user.truncated()

    def expired(self, now: float) -> None:
        """Nothing came in time."""
        user = self.user
        if user is None:
            self.close()
        elif user.held:
            self._wheel.watch(self, self.server.origins.idle_timeout)
        elif self._reply is None:
            self.close()
            user.troubled(Trouble.TIMEOUT, stale=False)
        else:
            self.close()
            user.truncated()

    def data_received(self, data: bytes) -> None:
        user = self.user
        if user is None:
            if self.tunnel is not None:
                self.tunnel.from_origin(data)
            else:
                self.close()  # an answer nobody asked for would become the next visitor's
            return
        reply = self._reply
        try:
            if reply is None:
                last = self._last
                if last is None or user.method == b"HEAD":
                    self._head(user, data)
                    return
                payload = data.removeprefix(last.block)
                if len(payload) == len(data):
                    self._head(user, data)
                elif len(payload) == last.length and last.delimited == SIZED:  # the usual case: all of it at once
                    self._end(user, last, b"")
                    user.replied(last, payload, True)
                else:
                    self._headed(user, last, payload)
            elif self._body is not None:
                body = self._body
                payload = body.feed(data)
                ended = body.done
                if ended:
                    self._end(user, reply, body.rest)
                else:
                    self._wheel.watch(self, self.server.origins.idle_timeout)
                user.payload(payload, ended)
        except (Garbage, BadFraming):
            self.close()
            if self._reply is None:
                user.troubled(Trouble.GARBAGE, stale=False)
            else:
                user.truncated()

    def _head(self, user: User, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
            if end < 0:
                if len(data) >= MAX_HEAD:
                    raise Garbage("the head has no end")
                self._buffer, self._last = data, None
                return
            end += 4
            reply = read_reply(data[:end], user.method)
            data = data[end:]
            if reply.status >= 200:
                break
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise Garbage("too many interim responses")
            if reply.status == 101:
                self._buffer = b""
                self._wheel.forget(self)
                user.switched(reply, data)
                return
            user.interim(reply)
            if self.user is not user:
                return
        self._buffer = b""
        self._interims = 0
        self._last = reply if reply.block else None
        self._headed(user, reply, data)

    def _headed(self, user: User, reply: Reply, data: bytes) -> None:
        """``data`` came behind the head."""
        body = self._body = reply.body()
        if body is None:
            self._end(user, reply, data)
            user.replied(reply, b"", True)
            return
        self._reply = reply
        payload = body.feed(data) if data else b""
        if body.done:
            self._end(user, reply, body.rest)
            user.replied(reply, payload, True)
        else:
            self._wheel.watch(self, self.server.origins.idle_timeout)
            user.replied(reply, payload, False)

    def _end(self, user: User, reply: Reply, rest: bytes) -> None:
        """The answer is read whole. Bytes behind it, or a request not sent whole or not read whole, spoil the connection."""
        self._reply = None
        self.user = None
        if reply.keep_alive and user.sent and not user.last and not rest:
            self.used = True
            self.server.give_back(self)
        else:
            self.close()
