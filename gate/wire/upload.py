"""The visitor's half of an exchange: body chunks, in order and with back-pressure, and the news that the visitor left."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

HIGH_WATER = 65536  # bytes held here before the visitor's socket is no longer read

Message = dict[str, Any]
Receive = Callable[[], Any]


class TooLarge(Exception):
    """The body is larger than its route allows."""


class Stalled(Exception):
    """The visitor sent nothing of the body for too long."""


class Left(Exception):
    """The visitor is gone."""


class Upload:
    """Owns ``receive`` from the decision to the end of the exchange.

    uvicorn sends 100 Continue with the first call of ``receive``, so nothing here runs before the request is let through.
    """

    def __init__(self, receive: Receive, *, limit: int, idle: float) -> None:
        self._receive = receive
        self._limit = limit
        self._idle = idle
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._seen = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self.complete = False  # all of the body has arrived
        self.failure: Exception | None = None

    @property
    def left(self) -> bool:
        return isinstance(self.failure, Left)

    async def pump(self) -> None:
        """Take what the visitor sends until it leaves, or breaks a rule. Run as one task beside the exchange."""
        while True:
            try:
                async with asyncio.timeout(None if self.complete else self._idle):
                    message: Message = await self._receive()
            except TimeoutError:
                return self._fail(Stalled())
            if message["type"] == "http.disconnect":
                return self._fail(Left())
            if self.complete:
                continue
            chunk: bytes = message.get("body", b"")
            self._seen += len(chunk)
            if self._seen > self._limit:
                return self._fail(TooLarge())
            if chunk:
                self._chunks.append(chunk)
                self._held += len(chunk)
            self.complete = not message.get("more_body", False)
            self._wake.set()
            while self._held >= HIGH_WATER:
                self._room.clear()
                await self._room.wait()

    def _fail(self, failure: Exception) -> None:
        self.failure = failure
        self._wake.set()

    async def chunks(self, taken: Callable[[bool], None]) -> AsyncIterator[bytes]:
        """The body. ``taken`` is called with False after each chunk, with True at the end.

        Raises what went wrong on the visitor's side, so that the origin never takes a cut body for a whole one.
        """
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._held -= len(chunk)
                if self._held < HIGH_WATER:
                    self._room.set()
                yield chunk
                taken(False)
            if self.failure is not None:
                raise self.failure
            if self.complete:
                taken(True)
                return
            self._wake.clear()
            await self._wake.wait()
