"""The gate's own endpoints, handed over to an ASGI app. Small requests, small answers: nothing here is on the fast path."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from gate.core.answer import Fields
from gate.core.facts import Refusal
from gate.core.visit import Visit
from gate.core.words import Reason
from gate.wire.heads import BODILESS, RETRY_LATER, body_bytes, connection_line, lines, status_line
from gate.wire.request import Head

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.protocol import VisitorConnection

MAX_BODY: Final = 64 << 10  # bytes a form or an API call may have
_FRAMING: Final = (b"content-length", b"transfer-encoding", b"connection")
log = logging.getLogger("gate.wire")


class Shared:
    """Answers that are the same for everyone, for a quarter of a second: a million pages may ask for the same document.

    Only what says itself that any cache may keep it, with no Vary and no cookie, on a line without a body.
    """

    LASTS: Final = 0.25  # seconds, on top of what the document says
    MOST: Final = 256

    def __init__(self, door: "Door") -> None:
        self._door = door
        self._kept: dict[bytes, tuple[float, bytes]] = {}

    def keep(self, head: Head, answer: bytes) -> None:
        if len(self._kept) >= self.MOST:
            self._kept.clear()
        if not head.length and len(answer) <= MAX_BODY:
            self._kept[head.start.line] = self._door.wheel.now + self.LASTS, answer

    def find(self, head: Head) -> bytes | None:
        """The answer to ``head``, when there is a fresh one and nothing else is asked of the connection."""
        if not self._kept or head.length or head.minor == 0 or head.common.upgrade or head.common.named:
            return None
        found = self._kept.get(head.start.line)
        return found[1] if found is not None and found[0] > self._door.wheel.now else None


def is_shared(fields: Fields) -> bool:
    control = b",".join(value for name, value in fields if name == b"cache-control").lower()
    return b"public" in control and b"max-age" in control and not any(name in (b"vary", b"set-cookie") for name, _ in fields)


class Handover:
    """One request served by the ASGI app."""

    __slots__ = (
        "_bodiless",
        "_body",
        "_chunked",
        "_complete",
        "_counted",
        "_door",
        "_ended",
        "_given",
        "_gone",
        "_head",
        "_shared",
        "_started",
        "_visit",
        "_visitor",
        "_wake",
        "_writable",
    )

    def __init__(self, door: "Door", visitor: "VisitorConnection", visit: Visit) -> None:
        self._door = door
        self._visitor = visitor
        self._visit = visit
        self._body = b""
        self._ended = visitor.head.length == 0
        self._gone = self._started = self._complete = self._chunked = self._bodiless = self._given = False
        self._counted = True
        self._shared = False
        self._head = b""  # of the answer, held back until its length is known
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def start(self) -> None:
        self._visitor.take(self)
        if not self._gone:
            self._door.spawn(self._run())

    # -- the connection's side

    def body(self, data: bytes, ended: bool) -> None:
        self._body += data
        self._ended = ended
        if len(self._body) > MAX_BODY:
            refusal = Refusal(413, Reason.TOO_LARGE, f"the body is larger than {MAX_BODY} bytes")
            self._visitor.refuse(refusal, self._visitor.head)
            return
        self._wake.set()

    def writable(self, ready: bool) -> None:
        if ready:
            self._writable.set()
        else:
            self._writable.clear()

    @property
    def heard(self) -> float:
        """Its answers are short: they begin in time, or not at all."""
        return 0.0

    def left(self) -> None:
        self._gone = True
        self._wake.set()
        self._writable.set()

    # -- the app's side

    async def _run(self) -> None:
        try:
            await self._door.app(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("endpoint_failed")
        if self._gone or self._complete:
            return
        if self._started:
            self._gone = True
            self._visitor.cut()
        else:
            refusal = Refusal(503, Reason.ENDPOINT, "this endpoint does not work at the moment", RETRY_LATER)
            self._visitor.refuse(refusal, self._visitor.head)

    def _scope(self) -> dict[str, Any]:
        visit, visitor = self._visit, self._visitor
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": f"1.{visitor.head.minor}",
            "method": visit.method,
            "scheme": visit.scheme,
            "path": unquote_to_bytes(visit.path.raw).decode("utf-8", "replace"),
            "raw_path": visit.path.raw,
            "query_string": visit.query,
            "root_path": "",
            "headers": list(visit.headers),
            "client": (str(visit.address), 0) if visit.address is not None else None,
            "server": None,
            "state": {},
            "gate.visit": visit,
        }

    async def _receive(self) -> dict[str, Any]:
        while not self._gone and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        if self._gone or self._complete:
            return {"type": "http.disconnect"}
        if self._given:
            await self._wait_until_gone()
            return {"type": "http.disconnect"}
        self._given = True
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def _wait_until_gone(self) -> None:
        while not self._gone and not self._complete:
            self._wake.clear()
            await self._wake.wait()

    async def _send(self, message: Any) -> None:
        if self._gone:
            return
        if message["type"] == "http.response.start":
            fields = tuple((name.lower(), value) for name, value in message["headers"] if name.lower() not in _FRAMING)
            date = b"" if any(name == b"date" for name, _ in fields) else self._door.date
            self._head = b"%b%b%b" % (status_line(message["status"]), date, lines(fields))
            self._shared = self._visit.method == "GET" and message["status"] == 200 and is_shared(fields)
            self._bodiless = message["status"] in BODILESS or self._visitor.head.method == b"HEAD"
            self._counted = message["status"] != 204
            if self._visitor.account is not None:
                self._visitor.account.status = message["status"]
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        await self._writable.wait()
        self._write(body, more)

    def _write(self, body: bytes, more: bool) -> None:
        visitor = self._visitor
        if self._gone:
            return
        start = b""
        if not self._started:
            self._started = True
            visitor.answered()
            self._chunked = more and visitor.head.minor == 1
            if more and not self._chunked:
                visitor.closing = True
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
            if not more and self._counted:
                framing = b"content-length: %d\r\n" % len(body)
            start = b"%b%b%b\r\n" % (self._head, framing, connection_line(visitor.head.minor, keep=visitor.keeps))
        if not self._bodiless:
            if visitor.account is not None:
                visitor.account.sent += len(body)
            start += body_bytes(body, chunked=self._chunked, ended=not more)
        if start:
            visitor.transport.write(start)
        if not more:
            if self._shared and not self._chunked:
                self._door.shared.keep(visitor.head, b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))
            self._complete = True
            self._wake.set()
            visitor.finish()
