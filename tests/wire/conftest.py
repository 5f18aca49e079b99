"""Fixtures: a scripted origin, and a gate in front of it, on both event loops."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from tests.wire.rig import Gate, Origin, Script, Start, answer_ok, gate_before


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that workers run on, and the one that Python brings (which FULL=1 gives to the long corpora too)."""
    if item.get_closest_marker("long") is not None and not os.environ.get("FULL"):
        return {"uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as origin:
        yield origin


@pytest.fixture
async def start(origin: Origin) -> AsyncIterator[Start]:
    """``await start(script, visitors=…, rooms=…)``: a gate in front of an origin that follows the script."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(script: Script = answer_ok, **config: Any) -> Gate:
            return await stack.enter_async_context(gate_before(origin, script, **config))

        yield begin
