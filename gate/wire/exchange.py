"""One forwarded request and its answer: body up, body down, back-pressure both ways.

======================  ==========================================================================
what happens            what follows
======================  ==========================================================================
no connection, no head  the breaker and the health rules hear of it; the route's fallback or the page
a reused connection     once more on a fresh one, if the request may be sent twice and had no body
dies before a byte
the head arrives        settle: deliver it, or the fallback instead
the body ends short     the visitor's connection is cut so that the answer cannot look complete
the visitor leaves      the origin's connection is closed, and nothing is counted
======================  ==========================================================================
"""

from typing import TYPE_CHECKING, Final

from gate.core.decision import Decision
from gate.core.facts import Refusal
from gate.core.settle import Trouble
from gate.core.visit import Visit
from gate.core.words import Reason
from gate.wire.heads import BODIED, VIA, body_bytes, connection_line
from gate.wire.reply import BODILESS
from gate.wire.request import CHUNKED, upgrade_of
from gate.wire.tunnel import Tunnel

if TYPE_CHECKING:
    from gate.wire.contract import Attempt
    from gate.wire.origin import Server
    from gate.wire.protocol import VisitorConnection
    from gate.wire.reply import Reply
    from gate.wire.upstream import OriginConnection
    from gate.wire.way import Way

HIGH_WATER: Final = 64 << 10  # bytes of a body that wait for a connection to the origin
COALESCE: Final = 16 << 10  # bytes; larger bodies are not copied behind their head


class Exchange:
    """``way`` goes to the origin and back; ``request`` is the head for it. ``visit`` is read when needed."""

    __slots__ = (
        "_attempt",
        "_chunked",
        "_connection",
        "_decision",
        "_limit",
        "_queued",
        "_request",
        "_retried",
        "_server",
        "_settled",
        "_since",
        "_uploaded",
        "_visit",
        "_visitor",
        "_way",
        "gone",
        "held",
        "last",
        "method",
        "sent",
    )

    _server: "Server | None"

    def start(
        self,
        visitor: "VisitorConnection",
        decision: Decision,
        way: "Way",
        request: bytes,
        visit: Visit | None = None,
    ) -> None:
        """Go to the origin. (There is no ``__init__``, for to call one takes as long as all that is done here.)"""
        door, head = visitor.door, visitor.head
        self._visitor = visitor
        self._decision = decision
        self._way = way
        self._request = request
        self._visit = visit
        self._connection: OriginConnection | None = None
        self.held = self.gone = self._retried = self._chunked = False
        self._uploaded = 0
        self.method = head.start.method
        self.sent = not head.common.length
        if self.sent:
            self.last = False
            ticks = door.engine.ticks
            self._since = since = ticks()
            self._attempt: Attempt | None = way.lane.start(since)  # from when the request is whole until it is over
            visitor.job = self
            origins = door.origin
            server = self._server = origins.only or origins.choose()
            connection = server.take(self, head.start.idempotent)
            if connection is not None:
                self._connection = connection
                connection.begin(self, request, way.first_byte)
            return
        self.last = self.method.decode() not in BODIED  # the origin may take the body for a request
        self._attempt = self._server = None
        self._settled = self._queued = False
        route = decision.route
        self._limit = door.body_limit if route is None else route.body
        visitor.take(self)
        uploads = door.origin.uploads
        if not self.gone and self._server is None and not self._queued and not uploads.begin_at_once(self):
            uploads.gather(self, len(self._request))

    def begin(self, server: "Server") -> None:
        """Take a connection, with what there is of the body."""
        self._visitor.door.origin.uploads.forget(self)
        if not self.sent:
            server.unfinished.add(self)
        self._server = server
        connection = server.take(self, self._visitor.head.start.idempotent)
        if connection is not None:
            self.connected(connection)

    def _full_visit(self) -> Visit:
        if self._visit is None:
            self._visit = self._visitor.door.read(self._visitor, self._visitor.head)
        return self._visit

    # ------------------------------------------------------------------ towards the origin

    def connected(self, connection: "OriginConnection") -> None:
        self._connection = connection
        request = self._request
        if self.sent and not self._uploaded:  # the request is kept: it may have to be sent once more
            connection.begin(self, request, self._way.first_byte)
            return
        self._request = b""
        if not self.sent and len(request) > HIGH_WATER:
            self._visitor.hold_upload(False)  # before it begins, for that may hold the upload again
        connection.begin(self, request, self._way.first_byte if self.sent else None)

    def body(self, data: bytes, ended: bool) -> None:
        """A piece of the visitor's body."""
        if self.gone:
            return
        self._uploaded += len(data)
        if self._uploaded > self._limit:
            refusal = Refusal(413, Reason.TOO_LARGE, f"the body is larger than {self._limit} bytes")
            self._visitor.refuse(refusal, self._visitor.head)
            return
        self.sent = ended
        if ended and not self._settled:  # how long the visitor took for it is no wait for the origin
            self._since = since = self._visitor.door.engine.ticks()
            self._attempt = self._way.lane.start(since)
        framed = body_bytes(data, chunked=self._visitor.head.length == CHUNKED, ended=ended)
        connection = self._connection
        if connection is None:
            self._request += framed
            enough = len(self._request) > HIGH_WATER
            if not ended and enough:
                self._visitor.hold_upload(True)
            if self._server is None and not self._queued:
                self._gather(enough)
        else:
            connection.transport.write(framed)
            if ended:
                connection.expect(self._way.first_byte)

    def _gather(self, enough: bool) -> None:
        """No connection is taken yet: is it time? ``enough``: no more is gathered."""
        origins = self._visitor.door.origin
        if self.sent:
            self.begin(origins.choose())
        elif not enough:
            origins.uploads.gather(self, len(self._request))
        else:
            self._queued = True
            origins.uploads.queue(self)

    @property
    def uploading(self) -> bool:
        """It keeps a connection, or will get one, and its body is not whole."""
        return not (self.sent or self.gone) and (self._connection is not None or not self._settled)

    def too_slow(self) -> None:
        """There is no room for what there is of the body."""
        refusal = Refusal(408, Reason.MALFORMED, "the body came too slowly, with no connection to the origin to spare")
        self._visitor.refuse(refusal, self._visitor.head)

    def upload_paused(self) -> None:
        """The origin takes no more; only now is it the one who is waited for."""
        if not self.sent and self._connection is not None:
            self._visitor.hold_upload(True)
            self._connection.expect(self._visitor.door.origin.idle_timeout)

    def upload_resumed(self) -> None:
        if not self.sent and self._connection is not None:
            self._connection.expect(None)
            self._visitor.hold_upload(False)

    # ------------------------------------------------------------------ what comes back

    def interim(self, reply: "Reply") -> None:
        """103 and its like go on to visitors who can read them; 100 is between the origin and us."""
        if reply.status != 100 and self._visitor.head.minor == 1:
            self._visitor.transport.write(b"%b\r\n%b\r\n" % (reply.start, reply.plain))

    def replied(self, reply: "Reply", payload: bytes, ended: bool) -> None:
        """The head of the answer, with what came of its body."""
        attempt, decision = self._attempt or self._late(), self._decision
        self._attempt = None
        settled = attempt.answered(decision, reply.status, self._since)
        if ended:
            self._connection = None  # it is with its pool again
        if settled is not decision:
            self._drop()
            self._fall_back(settled)
            return
        visitor = self._visitor
        account = visitor.account
        if account is not None:
            account.decision, account.status, account.sent = settled, reply.status, len(payload)
        if reply.commands:
            for command in reply.commands:
                self._visitor.door.engine.on_command(self._full_visit(), decision, command)
        head = reply.heads.get(self._way)
        if head is None or visitor.closing or visitor.door.draining:
            head = self._head(reply)
        if not ended:
            visitor.answered()
            visitor.transport.write(head)
            if payload:
                visitor.transport.write(body_bytes(payload, chunked=self._chunked, ended=False))
            return
        if self._chunked:
            payload = body_bytes(payload, chunked=True, ended=True)
        if len(payload) > COALESCE:
            visitor.transport.write(head)
            head = b""
        visitor.transport.write(head + payload)
        visitor.finish()

    def _over(self) -> "Attempt":
        attempt, self._attempt = self._attempt or self._late(), None
        return attempt

    def _late(self) -> "Attempt":
        """The attempt of a request that is over before its body was whole."""
        assert not self.sent  # noqa: S101 - it is over once
        self._settled = True
        self._since = since = self._visitor.door.engine.ticks()
        return self._way.lane.start(since)

    def _head(self, reply: "Reply") -> bytes:
        """The head of the answer, framed by what was seen of it; remembered if others will get the same."""
        visitor, way = self._visitor, self._way
        minor, keeps = visitor.head.minor, visitor.keeps
        framing = b""
        if reply.length is not None:
            framing = b"content-length: %d\r\n" % reply.length
        elif reply.delimited != BODILESS:
            if minor:
                self._chunked = True
                framing = b"transfer-encoding: chunked\r\n"
            else:
                visitor.closing = True  # HTTP/1.0 knows no other end than the end of the connection
                keeps = False
        head = b"%b\r\n%b%b%b%b%b%b%b\r\n" % (
            reply.start,
            b"" if reply.dated else visitor.door.date,  # RFC 9110 section 6.6.1
            reply.plain,
            b"" if way.caches else reply.cached,
            VIA,
            way.added,
            framing,
            connection_line(minor, keep=keeps),
        )
        if way.shared and reply.dated and reply.length is not None and minor and keeps:
            reply.heads[way] = head
        return head

    def payload(self, data: bytes, ended: bool) -> None:
        """A piece of the answer's body."""
        visitor = self._visitor
        if ended:
            self._connection = None  # it is with its pool again
        if visitor.account is not None:
            visitor.account.sent += len(data)
        if self._chunked:
            data = body_bytes(data, chunked=True, ended=ended)
        if data:
            visitor.transport.write(data)
        if ended:
            visitor.finish()

    def truncated(self) -> None:
        """The answer ended before its end."""
        self._connection = None
        self._visitor.cut()

    def troubled(self, trouble: Trouble, *, stale: bool) -> None:
        """No head came."""
        self._connection = None
        server = self._server
        assert server is not None  # noqa: S101 - trouble comes from one
        head = self._visitor.head
        if stale and not self._retried and head.start.idempotent and head.length == 0:
            self._retried = True
            connection = server.take(self, True, fresh=True)
            if connection is not None:
                self.connected(connection)
            return
        self._fail(trouble)

    def failed(self, trouble: Trouble) -> None:
        """No connection came; nothing was sent, so another server may be asked, whatever the method."""
        origins = self._visitor.door.origin
        if trouble is Trouble.CONNECT and not self._retried and len(origins.servers) > 1:
            self._retried = True
            self.begin(origins.choose(self._server))
            return
        self._fail(trouble)

    def _fail(self, trouble: Trouble) -> None:
        self._fall_back(self._over().failed(self._decision, trouble, self._since))

    def _fall_back(self, decision: Decision) -> None:
        self.gone = True
        self._visitor.door.origin.uploads.forget(self)
        if self._visitor.account is not None:
            self._visitor.account.decision = decision
        self._visitor.respond(self._visitor.door.engine.answer(self._full_visit(), decision), job=self)

    # ------------------------------------------------------------------ the visitor

    def writable(self, ready: bool) -> None:
        self.held = not ready
        connection = self._connection
        if connection is not None and not connection.transport.is_closing():
            if ready:
                connection.transport.resume_reading()
            else:
                connection.transport.pause_reading()

    @property
    def heard(self) -> float:
        """Every sign of life moves the origin's deadline."""
        return 0.0 if self._connection is None else self._connection.due

    def left(self) -> None:
        """The visitor is gone, or not served any further."""
        self.gone = True
        self._drop()
        self._visitor.door.origin.uploads.forget(self)
        if self._attempt is not None:
            self._over().left()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ------------------------------------------------------------------ upgrades

    def switched(self, reply: "Reply", rest: bytes) -> None:
        """The origin speaks another protocol from here on."""
        connection = self._connection
        visitor = self._visitor
        wanted = upgrade_of(visitor.head)
        if connection is None or wanted is None or reply.upgrade is None or reply.upgrade.lower() != wanted.lower():
            self._drop()
            self._fail(Trouble.GARBAGE)
            return
        self._over().answered(self._decision, reply.status, self._since)  # how long a tunnel lasts is no load
        self._connection = None
        visitor.transport.write(
            b"%b\r\n%b%b%bconnection: upgrade\r\nupgrade: %b\r\n\r\n"
            % (reply.start, reply.plain, VIA, self._way.added, reply.upgrade)
        )
        if visitor.account is not None:
            visitor.account.status = 101
        websocket = reply.upgrade.lower() == b"websocket"
        Tunnel(visitor.door, visitor, connection, self._decision, websocket=websocket).open(rest)
