"""slowhttptest: slow heads, slow bodies, slow readers. The attackers are cut; a good visitor hardly notices."""

import asyncio
import shutil
import time

import pytest

from tests.wire.rig import eventually, read_body, response

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not shutil.which("slowhttptest"), reason="Debian's slowhttptest is not installed"),
]
ATTACKERS = 60
PATIENCE = 4.0  # seconds, with them
ATTACKS = {
    "slow heads": ["-H", "-i", "2"],
    "slow bodies": ["-B", "-i", "2", "-s", "100000", "-x", "5"],
    "slow readers": ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "5", "-k", "3"],
}


async def shop(side):
    while head := await side.head():
        await read_body(side, head)
        await side.send(response(b"x" * (1 << 20 if b"/big" in head else 1000)))


async def measure(gate, requests):
    """What the requests of a good visitor cost: seconds of work, and the longest wait."""
    visitor = await gate.visitor()
    longest, begin = 0.0, time.process_time()
    for _ in range(requests):
        before = time.perf_counter()
        assert (await visitor.get("/good"))[0] == 200
        longest = max(longest, time.perf_counter() - before)
        await asyncio.sleep(0.005)
    visitor.close()
    return time.process_time() - begin, longest


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attackers_are_cut_and_good_visitors_served(start, monkeypatch, attack):
    monkeypatch.setattr("gate.wire.receiving.BODY_WINDOW", PATIENCE)
    gate = await start(shop, visitors={"head": f"{PATIENCE:g}s", "stall": f"{PATIENCE:g}s"})
    await measure(gate, 100)
    quiet, _ = await measure(gate, 400)
    target = "/big" if attack == "slow readers" else "/a"
    command = ["slowhttptest", "-c", str(ATTACKERS), "-r", str(ATTACKERS), "-l", "40", *ATTACKS[attack]]
    process = await asyncio.create_subprocess_exec(
        *command, "-u", f"http://127.0.0.1:{gate.port}{target}", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: len(gate.door.connections) >= ATTACKERS, "the attack is on")
        await asyncio.sleep(1.0)  # the origin shares this process: what it sends ahead is not what is measured
        under, longest = await measure(gate, 400)
        await eventually(lambda: not gate.door.connections, "the attackers are cut")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    assert under < 3 * quiet
    assert longest < PATIENCE  # nobody waited for an attacker
    await measure(gate, 1)
