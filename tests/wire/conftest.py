"""Fixtures: a scripted origin, and a gate in front of it, on both event loops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
import uvloop

from gate.wire.door import Door
from tests.wire.rig import DEADLINE, Gate, Origin, Script, Start, answer_ok, eventually, make_engine, own_app


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that workers run on, and the one that Python brings."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    await origin.start()
    yield origin
    await origin.stop()


@pytest.fixture
async def start(origin: Origin) -> AsyncIterator[Start]:
    """``await start(script, visitors=…, rooms=…)``: a gate in front of an origin that follows the script."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(script: Script = answer_ok, *, servers: list[str] | None = None, **config: Any) -> Gate:
            origin.script = script
            config["origin"] = {"servers": servers or [f"http://127.0.0.1:{origin.port}"], **config.get("origin", {})}
            engine = make_engine(**config)
            door = await stack.enter_async_context(Door(engine, own_app))
            server = uvicorn.Server(
                uvicorn.Config(
                    own_app,
                    http=door.protocol,  # type: ignore[arg-type]
                    host="127.0.0.1",
                    port=0,
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    timeout_graceful_shutdown=5,
                )
            )
            server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
            task = asyncio.create_task(server.serve())

            async def end() -> None:
                for visitor in gate.visitors:
                    visitor.close()
                    with contextlib.suppress(ConnectionError):
                        await visitor.writer.wait_closed()
                server.should_exit = True
                for connection in list(door.connections):
                    connection.transport.abort()
                async with asyncio.timeout(DEADLINE):
                    await task

            stack.push_async_callback(end)
            await eventually(lambda: server.started)
            gate = Gate(engine, door, origin, server, server.servers[0].sockets[0].getsockname()[1])
            return gate

        yield begin
