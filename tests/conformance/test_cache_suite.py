"""http-cache-tests through the gate: the same results as without it, for the gate caches nothing of the shop's."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.processes import free_port

SUITE = Path(__file__).parents[2] / ".cache" / "conformance" / "node_modules" / "http-cache-tests"
pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not SUITE.exists() or not shutil.which("node"), reason="`make conformance` installs http-cache-tests"),
]


async def results(base):
    env = {**os.environ, "npm_config_base": base, "npm_package_config_id": ""}
    process = await asyncio.create_subprocess_exec(
        "node", "--no-warnings", "cli.mjs", cwd=SUITE, env=env, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(240):
        text = (await process.communicate())[0].decode()
    return json.loads(text[text.index("{") :])


async def test_as_without_the_gate(start, tmp_path):
    port = free_port()
    env = {
        **os.environ,
        "npm_config_protocol": "http",
        "npm_config_port": str(port),
        "npm_config_pidfile": str(tmp_path / "pid"),
    }
    server = await asyncio.create_subprocess_exec(
        "node", "server/server.mjs", cwd=SUITE, env=env, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        assert b"Listening" in await asyncio.wait_for(server.stdout.readline(), 20)
        gate = await start(origin={"servers": [f"http://127.0.0.1:{port}"]}, rooms={})
        direct = await results(f"http://127.0.0.1:{port}")
        through = await results(f"http://127.0.0.1:{gate.port}")
    finally:
        server.terminate()
        await server.wait()
    assert len(direct) > 300
    different = {name: (direct.get(name), found) for name, found in through.items() if found != direct.get(name)}
    # Where the shop breaks off or lies about its length, a client without the gate fails; with it, it gets a page or the body.
    assert {name for name, (without, _) in different.items() if not broke(without)} <= {"headers-store-Transfer-Encoding"}
    assert len(different) < 20


def broke(result):
    return isinstance(result, list) and result[0] == "FetchError"
