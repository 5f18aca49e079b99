"""What a Python shop would write itself: reverse proxies in ASGI, with the two usual HTTP clients.

``python asgi.py PORT ORIGIN hello|starlette-httpx|aiohttp``, in an environment of its own: it imports nothing of the gate.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host"}


def with_httpx(origin: str) -> Any:
    import httpx
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(base_url=origin, limits=httpx.Limits(max_connections=128, max_keepalive_connections=128))

    async def forward(request: Request) -> StreamingResponse:
        headers = [(name, value) for name, value in request.headers.raw if name not in HOP_BY_HOP]
        has_body = b"content-length" in dict(headers) or "transfer-encoding" in request.headers
        url = httpx.URL(path=request.url.path, query=request.url.query.encode())
        outgoing = client.build_request(
            request.method, url, headers=headers, content=request.stream() if has_body else None, timeout=30
        )
        answer = await client.send(outgoing, stream=True)
        mine = {name: value for name, value in answer.headers.items() if name.encode() not in HOP_BY_HOP}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, mine, background=BackgroundTask(answer.aclose))

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])])


def with_aiohttp(origin: str) -> Any:
    import aiohttp
    import yarl

    sessions: list[aiohttp.ClientSession] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if not sessions:
            connector = aiohttp.TCPConnector(limit=128)
            sessions.append(
                aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
            )
        incoming = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        async with sessions[0].request(
            scope["method"],
            yarl.URL(origin + target, encoded=True),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in incoming],
            data=_body(receive) if has_body else None,
            allow_redirects=False,
        ) as answer:
            headers = [(name.lower(), value) for name, value in answer.raw_headers if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    return app


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The measure of the answers that the gate makes itself: a bare uvicorn with nothing to do."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"12")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello, world"})


if __name__ == "__main__":
    port, origin, kind = sys.argv[1:4]
    app = hello if kind == "hello" else with_httpx(origin) if kind == "starlette-httpx" else with_aiohttp(origin)
    uvicorn.run(
        app, port=int(port), loop="uvloop", http="httptools", ws="none", lifespan="off", log_level="error", access_log=False
    )
