"""The visitors' door: an ASGI application that reads the facts, asks the engine, and carries out what it decided.

Life of a request: :func:`gate.core.facts.read_visit`, then ``engine.consider``, then one of: the gate's own endpoints, an
answer of the gate, or an exchange with the origin. Runs under uvicorn (``http="h11"``, ``ws="websockets-sansio"``,
``proxy_headers=False``); no middleware stands between, because it would hide disconnects and buffer bodies.
"""

import logging
import time
from types import TracebackType
from typing import Any

from starlette.types import ASGIApp

from gate.core import negotiate
from gate.core.decision import Decision
from gate.core.facts import Refusal, read_visit
from gate.core.visit import Headers, Visit
from gate.core.words import Outcome, Reason
from gate.wire.answering import LAST_RESORT, Message, Receive, Send, send_answer, send_denial
from gate.wire.contract import Engine
from gate.wire.exchange import Exchange, Truncated
from gate.wire.headers import lowered
from gate.wire.origin import Origin
from gate.wire.tunnel import Tunnel

log = logging.getLogger("gate.wire")


class Door:
    """``async with`` it: it owns the connections to the origin. ``own`` serves ``/__gate/``, with the visit in its scope."""

    def __init__(self, engine: Engine, own: ASGIApp, *, origin: Origin | None = None) -> None:
        self._engine = engine
        self._own = own
        self.origin = origin or Origin(engine.settings)

    async def __aenter__(self) -> "Door":
        await self.origin.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.origin.__aexit__(kind, error, trace)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    # ------------------------------------------------------------------ http

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        watched = _Watched(send)
        try:
            await self._serve(scope, receive, watched)
        except Truncated as error:
            log.warning("%s", error)
            raise
        except Exception:
            # The gate never answers 500: whatever broke in here, the visitor is told to come back.
            log.exception("a request failed inside the gate")
            if watched.status:
                raise
            await send_answer(LAST_RESORT, scope["method"], receive, send, body_waits=True)

    async def _serve(self, scope: Message, receive: Receive, send: "_Watched") -> None:
        engine = self._engine
        headers = lowered(scope["headers"])
        body_waits, asked = _body(headers)
        try:
            visit = self._read(scope, headers)
        except Refusal as refusal:
            answer = engine.refuse(refusal, negotiate.form(headers), negotiate.languages(headers)).plus(*refusal.headers)
            await send_answer(answer, scope["method"], receive, send, body_waits=True, asked=asked or not body_waits)
            return
        decision = await engine.consider(visit)
        if decision.outcome is Outcome.OWN:
            await self._own({**scope, "gate.visit": visit}, receive, send)
        elif decision.outcome is Outcome.FORWARD:
            attempt = engine.start(visit, decision)
            try:
                await Exchange(self.origin, engine, visit, decision, attempt, receive=receive, send=send).run()
            finally:
                attempt.close()
                decision = attempt.decision
        else:
            answer = engine.answer(visit, decision)
            await send_answer(answer, visit.method, receive, send, body_waits=body_waits, asked=asked)
        if engine.access is not None:
            engine.access(visit, decision, send.status, time.monotonic() - send.begun, sent=send.sent)

    def _read(self, scope: Message, headers: Headers) -> Visit:
        engine = self._engine
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        if scope["http_version"] not in ("1.0", "1.1"):
            raise Refusal(505, Reason.MALFORMED, "the gate speaks HTTP/1.1")
        if scope["http_version"] == "1.0" and any(name == b"transfer-encoding" for name, _ in headers):
            raise Refusal(400, Reason.MALFORMED, "Transfer-Encoding in HTTP/1.0")
        client = scope.get("client")
        return read_visit(
            scope.get("method", "GET"),
            target,
            headers,
            client[0] if client else None,
            scope["scheme"] in ("https", "wss"),
            settings=engine.settings,
            trust=engine.trust,
            keyring=engine.keyring,
            now=engine.now(),
        )

    # ------------------------------------------------------------------ websocket

    async def _websocket(self, scope: Message, receive: Receive, send: Send) -> None:
        engine = self._engine
        extensions: Message = scope.get("extensions") or {}
        headers = lowered(scope["headers"])
        await receive()  # websocket.connect
        try:
            try:
                visit = self._read(scope, headers)
            except Refusal as refusal:
                await send_denial(
                    engine.refuse(refusal, negotiate.form(headers), negotiate.languages(headers)).plus(*refusal.headers),
                    extensions,
                    receive,
                    send,
                )
                return
            decision = await engine.consider(visit)
            if decision.outcome is Outcome.OWN:
                nothing = Refusal(404, Reason.ENDPOINT, "no WebSocket here")
                await send_denial(engine.refuse(nothing, visit.accepts, visit.languages), extensions, receive, send)
            elif decision.outcome is not Outcome.FORWARD:
                await send_denial(engine.answer(visit, decision), extensions, receive, send)
            else:
                await self._tunnel(visit, decision, scope, receive, send)
        except Exception:
            log.exception("a WebSocket failed inside the gate")
            raise

    async def _tunnel(self, visit: Visit, decision: Decision, scope: Message, receive: Receive, send: Send) -> None:
        attempt = self._engine.start(visit, decision)
        try:
            await Tunnel(self.origin, self._engine, visit, decision, attempt, scope=scope, receive=receive, send=send).run()
        finally:
            attempt.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


class _Watched:
    """The server's ``send``, seen through: what was answered, how much, and since when."""

    __slots__ = ("_send", "begun", "sent", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = time.monotonic()
        self.status = 0  # 0: nothing has gone out
        self.sent = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)


def _body(headers: Headers) -> tuple[bool, bool]:
    """Does the request have a body, and does it wait to be asked for it?"""
    has = any(name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers)
    return has, any(name == b"expect" for name, _ in headers)
