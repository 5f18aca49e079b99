"""The measure of the answers that the gate makes itself: a bare uvicorn with nothing to do."""

import sys
from typing import Any

import uvicorn

_BODY = b"hello, world"
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY))],
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
    )
