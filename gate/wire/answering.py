"""Sending the gate's own answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gate.core.answer import Answer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DRAIN_BYTES = 262_144  # of an unwanted body that are read, so that closing does not reset the answer away
DRAIN_SECONDS = 1.0

LAST_RESORT = Answer(
    503,
    (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"cache-control", b"no-store, private"),
        (b"retry-after", b"10"),
    ),
    b"The shop cannot be reached for a moment. Please try again.\n",
)


async def send_answer(
    answer: Answer, method: str, receive: Receive, send: Send, *, body_waits: bool, asked: bool = False
) -> None:
    """Send ``answer`` with its framing.

    ``body_waits``: the request's body has not been read. The answer goes out first, then a little of the body is read and
    dropped, then the connection is closed; ``asked`` (Expect: 100-continue): nothing is read, for the visitor waits to be told.
    """
    headers = list(answer.headers)
    bodiless = answer.status in (204, 304) or answer.status < 200
    if not bodiless:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if body_waits:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if bodiless or method == "HEAD" else answer.body
    if body_waits and not asked:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""
        await _drain(receive)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _drain(receive: Receive) -> None:
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while seen < DRAIN_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


async def send_denial(answer: Answer, extensions: Message, receive: Receive, send: Send) -> None:
    """Answer a WebSocket handshake with an HTTP response; where the server cannot, it becomes its 403."""
    if "websocket.http.response" not in extensions:
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode()), (b"connection", b"close")]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body, "more_body": False})
    # uvicorn logs an error for an app that returns before the connection is gone: one disconnect says that the answer is
    # sent, the second that the connection is closed.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await receive()
            await receive()
