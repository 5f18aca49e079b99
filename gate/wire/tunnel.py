"""WebSockets: decided like any request, then carried both ways until one side closes."""

import asyncio
import contextlib
import time
from typing import Any

import aiohttp

from gate.core.answer import Answer
from gate.core.decision import Decision
from gate.core.settle import Result, Trouble
from gate.core.visit import Visit
from gate.core.words import Outcome
from gate.wire import headers as fields
from gate.wire.answering import Message, Receive, Send, send_denial
from gate.wire.contract import Attempt, Engine
from gate.wire.origin import Origin, Unreachable

_UNSENDABLE = (1005, 1006, 1015)  # say how a connection ended; never on the wire (RFC 6455 section 7.4.1)


class Tunnel:
    """``run`` once, after ``websocket.connect``. Pings are answered on each side; messages of any size pass."""

    def __init__(
        self,
        origin: Origin,
        engine: Engine,
        visit: Visit,
        decision: Decision,
        attempt: Attempt,
        *,
        scope: Message,
        receive: Receive,
        send: Send,
    ) -> None:
        self._origin = origin
        self._engine = engine
        self._visit = visit
        self._decision = decision
        self._attempt = attempt
        self._protocols: list[str] = scope.get("subprotocols") or []
        self._extensions: Message = scope.get("extensions") or {}
        self._receive = receive
        self._send = send

    async def run(self) -> None:
        begun = time.monotonic()
        try:
            server = self._origin.pick()
        except Unreachable as trouble:
            return await self._deny(Result(trouble=trouble.trouble))
        with server:
            try:
                async with asyncio.timeout(self._engine.settings.origin.timeouts.first_byte):
                    socket = await self._connect(server)
            except TimeoutError:
                return await self._deny(Result(trouble=Trouble.TIMEOUT, seconds=time.monotonic() - begun))
            except Unreachable as trouble:
                return await self._deny(Result(trouble=trouble.trouble, seconds=time.monotonic() - begun))
            except aiohttp.WSServerHandshakeError as refusal:
                return await self._refused(refusal, time.monotonic() - begun)
            try:
                await self._accept(socket, time.monotonic() - begun)
            finally:
                await socket.close()

    async def _connect(self, server: Any) -> Any:
        added = self._engine.headers_for_origin(self._visit, self._decision)
        headers = fields.for_origin_handshake(self._visit, added)
        return await self._origin.tunnel(server, self._visit, headers, self._protocols)

    async def _deny(self, result: Result) -> None:
        decision = self._attempt.settle(result)
        await send_denial(self._engine.answer(self._visit, decision), self._extensions, self._receive, self._send)

    async def _refused(self, refusal: aiohttp.WSServerHandshakeError, seconds: float) -> None:
        """The origin answered with something else than 101: its status and fields, without the body."""
        if refusal.status == 101:  # it says yes and does not keep to the protocol
            return await self._deny(Result(trouble=Trouble.GARBAGE, seconds=seconds))
        status = refusal.status
        decision = self._attempt.settle(Result(status=status, seconds=seconds))
        if decision.outcome is not Outcome.FORWARD or status < 200:
            await send_denial(self._engine.answer(self._visit, decision), self._extensions, self._receive, self._send)
            return
        received = tuple(
            (name.lower().encode(), value.encode("utf-8", "surrogateescape")) for name, value in (refusal.headers or {}).items()
        )
        kept = fields.for_visitor(received, status, self._engine.headers_for_visitor(self._visit, decision))
        described = (b"content-length", b"content-encoding", b"content-type")
        answer = Answer(status, tuple(field for field in kept if field[0] not in described))
        await send_denial(answer, self._extensions, self._receive, self._send)

    async def _accept(self, socket: Any, seconds: float) -> None:
        response: aiohttp.ClientResponse = socket._response
        received = tuple((name.lower(), value) for name, value in response.raw_headers)
        for command in fields.commands(received):
            self._engine.on_command(self._visit, self._decision, command)
        decision = self._attempt.settle(Result(status=101, seconds=seconds))
        added = self._engine.headers_for_visitor(self._visit, decision)
        headers = [
            field
            for field in fields.for_visitor(received, 200, added)
            if not field[0].startswith(b"sec-websocket-") and field[0] != b"date"
        ]
        await self._send({"type": "websocket.accept", "subprotocol": socket.protocol, "headers": headers})
        up = asyncio.create_task(self._to_origin(socket))
        down = asyncio.create_task(self._to_visitor(socket))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _to_origin(self, socket: Any) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or 1005
                if code in _UNSENDABLE:
                    code = 1001 if code == 1006 else 1000
                reason = (message.get("reason") or "").encode()
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await socket.close(code=code, message=reason)
                return
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"])
            else:
                await socket.send_str(message.get("text") or "")

    async def _to_visitor(self, socket: Any) -> None:
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._send({"type": "websocket.send", "text": message.data})
            elif message.type is aiohttp.WSMsgType.BINARY:
                await self._send({"type": "websocket.send", "bytes": message.data})
            elif message.type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            ):
                code = socket.close_code
                reason = message.extra if message.type is aiohttp.WSMsgType.CLOSE else ""
                if code is None or code == 1006:
                    code = 1011  # the origin went without a word: the visitor's client should know it was not a clean end
                elif code in _UNSENDABLE:
                    code = 1000
                with contextlib.suppress(Exception):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason or ""})
                return
