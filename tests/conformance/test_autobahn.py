"""The cases of the Autobahn TestSuite (kosoku) against a WebSocket server, and against the same server through the gate."""

import pytest

kosoku = pytest.importorskip("kosoku")
kosoku_behavior = pytest.importorskip("kosoku._kosoku").Behavior
from websockets.asyncio.server import serve  # noqa: E402 - after importorskip

SHORT = ["1.1.*", "2.*", "4.1.*", "5.*", "7.1.*"]
LARGE = ["9.*", "12.*", "13.*"]  # megabytes and thousands of messages each; 9.1.* stands for them


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def failed(port, **which):
    """Cases that fail, and how many were run. OK and "non-strict" depend on timing."""
    try:
        results = await kosoku.run_fuzzingclient(f"ws://127.0.0.1:{port}", **which)
    except kosoku.FailureError as error:
        results = error.results
    fine = (kosoku_behavior.OK, kosoku_behavior.NON_STRICT, kosoku_behavior.INFORMATIONAL, kosoku_behavior.UNIMPLEMENTED)
    return {result.case_id for result in results if result.behavior not in fine}, len(results)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param({"cases": SHORT}, id="short"),
        pytest.param({"exclude_cases": LARGE}, id="all", marks=pytest.mark.conformance),
        pytest.param({"cases": ["9.1.*"]}, id="large", marks=pytest.mark.conformance),
    ],
)
async def test_through_the_gate_as_without_it(start, which):
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        gate = await start(origin={"servers": [f"http://127.0.0.1:{port}"]})
        direct, through = await failed(port, **which), await failed(gate.port, **which)
    assert through[1] > 5
    assert through == direct
