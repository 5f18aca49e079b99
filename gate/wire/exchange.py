"""One request forwarded, one answer brought back: streamed both ways, cancelled when the visitor leaves, never cut short
in a way that looks complete."""

import asyncio
import time

import aiohttp

from gate.core.decision import Decision
from gate.core.facts import Refusal
from gate.core.settings import Route
from gate.core.settle import Result, Trouble
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.wire import headers as fields
from gate.wire.answering import Receive, Send, send_answer
from gate.wire.contract import Attempt, Engine
from gate.wire.origin import Origin, Server, Unreachable, fields_of
from gate.wire.upload import Stalled, TooLarge, Upload

DEFAULT_BODY: int = Route.model_fields["body"].default
WRITE_STALL = 60.0  # seconds that a visitor may take to read what is buffered for it


class Truncated(Exception):
    """The origin's answer broke off after it had begun. Raised through the server, which then cuts the connection."""


class Exchange:
    """``run`` once."""

    def __init__(
        self,
        origin: Origin,
        engine: Engine,
        visit: Visit,
        decision: Decision,
        attempt: Attempt,
        *,
        receive: Receive,
        send: Send,
    ) -> None:
        self._origin = origin
        self._engine = engine
        self._visit = visit
        self._decision = decision
        self._attempt = attempt
        self._receive = receive
        self._send = send
        self._timeouts = engine.settings.origin.timeouts
        route = decision.route
        self._limit = route.body if route is not None else DEFAULT_BODY
        self._first_byte = route.first_byte if route is not None and route.first_byte is not None else self._timeouts.first_byte
        self._length = content_length(visit)
        self._has_body = bool(self._length) or visit.header(b"transfer-encoding") is not None
        self._upload = Upload(receive, limit=self._limit, idle=self._timeouts.idle)
        self._started = False
        self._begun = 0.0
        self._sent = 0.0  # when the request had gone out

    async def run(self) -> None:
        """Raises :class:`Truncated` when an answer that had begun cannot be finished."""
        if self._length is not None and self._length > self._limit:
            return await self._refuse(too_large(self._limit))
        pump = asyncio.create_task(self._upload.pump())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait((pump, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and self._upload.left:
                return  # `finally` cancels the request at the origin, whatever it was at
            await work
        finally:
            for task in (pump, work):
                task.cancel()
            await asyncio.gather(pump, work, return_exceptions=True)

    async def _work(self) -> None:
        try:
            server = self._origin.pick()
            with server:
                response = await self._ask(server)
                try:
                    await self._deliver(response)
                finally:
                    response.close()
        except Unreachable as trouble:
            if self._upload.failure is not None:
                await self._blame_visitor(self._upload.failure)
                return
            decision = self._attempt.settle(Result(trouble=trouble.trouble, seconds=self._seconds()))
            await self._answer(decision)

    async def _ask(self, server: Server) -> aiohttp.ClientResponse:
        visit = self._visit
        headers = fields.for_origin(visit, self._engine.headers_for_origin(visit, self._decision))
        if self._length:
            headers += ((b"content-length", str(self._length).encode()),)
        loop = asyncio.get_running_loop()
        self._begun = self._sent = time.monotonic()
        try:
            async with asyncio.timeout(self._timeouts.connect + self._first_byte) as deadline:

                def taken(last: bool) -> None:
                    self._sent = time.monotonic()
                    deadline.reschedule(loop.time() + self._first_byte + (0 if last else self._timeouts.idle))

                body = self._upload.chunks(taken) if self._has_body else None
                if body is not None:
                    deadline.reschedule(loop.time() + self._timeouts.connect + self._timeouts.idle + self._first_byte)
                return await self._origin.request(server, visit, headers, body)
        except TimeoutError as error:
            raise Unreachable(Trouble.TIMEOUT, "no answer in time") from error

    async def _deliver(self, response: aiohttp.ClientResponse) -> None:
        received = fields_of(response)
        if not fields.is_wellformed(received):
            raise Unreachable(Trouble.GARBAGE, "header fields that cannot be sent on")
        for command in fields.commands(received):
            self._engine.on_command(self._visit, self._decision, command)
        decision = self._attempt.settle(Result(status=response.status, seconds=self._seconds()))
        if decision.outcome is not Outcome.FORWARD:
            response.close()
            return await self._answer(decision)
        added = self._engine.headers_for_visitor(self._visit, decision)
        headers = list(fields.for_visitor(received, response.status, added))
        if self._has_body and not self._upload.complete:
            headers.append((b"connection", b"close"))  # the origin answered early: the rest of the body is not wanted
        self._started = True
        try:
            await self._put({"type": "http.response.start", "status": response.status, "headers": headers})
            while True:
                async with asyncio.timeout(self._timeouts.idle):
                    chunk = await response.content.readany()
                last = not chunk or response.content.at_eof()
                if last and response.content.exception() is not None:
                    raise aiohttp.ClientPayloadError("cut short")
                await self._put({"type": "http.response.body", "body": chunk, "more_body": not last})
                if last:
                    return
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Truncated(f"the answer broke off: {error!r}") from error

    async def _put(self, message: dict[str, object]) -> None:
        async with asyncio.timeout(WRITE_STALL):
            await self._send(message)

    def _seconds(self) -> float:
        """From the end of the request, so that a slow upload is not the origin's slowness."""
        return max(0.0, time.monotonic() - self._sent) if self._begun else 0.0

    # -- instead of the origin's answer

    async def _blame_visitor(self, failure: Exception) -> None:
        if isinstance(failure, TooLarge):
            await self._refuse(too_large(self._limit))
        elif isinstance(failure, Stalled):
            await self._refuse(Refusal(408, Reason.MALFORMED, "the body stopped arriving"))

    async def _refuse(self, refusal: Refusal) -> None:
        answer = self._engine.refuse(refusal, self._visit.accepts)
        await send_answer(answer, self._visit.method, self._receive, self._send, body_waits=True, asked=True)

    async def _answer(self, decision: Decision) -> None:
        answer = self._engine.answer(self._visit, decision)
        waits = self._has_body and not self._upload.complete
        await send_answer(answer, self._visit.method, self._receive, self._send, body_waits=waits, asked=True)


def content_length(visit: Visit) -> int | None:
    value = visit.header(b"content-length")
    return None if value is None else int(value)


def too_large(limit: int) -> Refusal:
    return Refusal(413, Reason.TOO_LARGE, f"the body is larger than {limit} bytes")
