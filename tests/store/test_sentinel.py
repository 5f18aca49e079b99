"""One master, one replica and three sentinels: the master is lost while visitors join and claim."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.core.line import Terms
from gate.store.client import close_client, open_client
from tests.processes import eventually
from tests.store.rush import Rush, Seen
from tests.stores import SentinelServers, redis

pytestmark = [pytest.mark.slow, pytest.mark.skipif(redis() is None, reason="no redis-server here")]
TERMS = Terms(20, 1, burst=10)
ROOM = "checkout"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[SentinelServers]:
    servers = SentinelServers(tmp_path)
    try:
        yield servers.start()
    finally:
        servers.stop()


class Failover:
    """Something happens to the master; then its replica is promoted."""

    def __init__(self, servers: SentinelServers) -> None:
        self.servers = servers
        self.lost = self.promoted = 0.0  # Unix seconds

    async def wait(self) -> None:
        second = self.servers.nodes[1]
        self.lost = time.time()
        await asyncio.to_thread(eventually, lambda: self.servers.master is second, 60, what="the replica is promoted")
        await asyncio.to_thread(eventually, lambda: second.client.info("replication")["role"] == "master", 60)
        self.promoted = time.time()

    async def kill(self, rush: Rush) -> None:
        await rush.is_on(ROOM)
        self.servers.nodes[0].kill()
        await self.wait()
        await rush.goes_on(ROOM, self.promoted)

    async def kill_when_the_replica_is_behind(self, rush: Rush) -> None:
        await asyncio.sleep(1.5)
        await asyncio.to_thread(self.servers.cut_off_the_replica)
        await asyncio.sleep(1)
        self.servers.nodes[0].kill()
        await self.wait()
        await rush.goes_on(ROOM, self.promoted)


def the_law_holds(seen: Seen) -> None:
    assert seen.excess <= 0
    assert seen.twice == []
    assert seen.grown == []


async def test_the_line_goes_on_when_the_master_is_killed(servers: SentinelServers) -> None:
    failover = Failover(servers)
    rush = Rush(servers.url, {ROOM: TERMS})
    await rush.run(failover.kill)
    seen = rush.seen[ROOM]
    the_law_holds(seen)
    assert all(link.up for link in rush.links)
    assert {line.state.epoch for line in rush.lines[ROOM]} != {1}, "what the master said last may be lost"
    assert seen.between(0, failover.lost) >= TERMS.burst + TERMS.per_second


@pytest.mark.parametrize("refill", [True, False], ids=["joins and claims", "claims alone"])
async def test_what_the_replica_had_not_heard_of_is_not_given_twice(servers: SentinelServers, refill: bool) -> None:
    """It was cut off a second before: it knows neither the last numbers nor the last tokens that were taken. The bucket takes
    longer to fill than the failover lasts, so that every token counts."""
    failover = Failover(servers)
    terms = Terms(20, 1, burst=100)
    rush = Rush(servers.url, {ROOM: terms}, visitors=30 if refill else 400, refill=refill)
    await rush.run(failover.kill_when_the_replica_is_behind)
    seen = rush.seen[ROOM]
    the_law_holds(seen)
    assert rush.lines[ROOM][0].state.epoch > 1


async def test_a_master_that_was_only_asleep_admits_nobody_when_it_wakes(servers: SentinelServers) -> None:
    """It takes itself for the master until the sentinels tell it otherwise, and connections to it may still be open."""
    failover = Failover(servers)
    first = servers.nodes[0]
    after: dict[str, int] = {}

    async def sleep_and_wake(rush: Rush) -> None:
        await rush.is_on(ROOM)
        first.signal(signal.SIGSTOP)
        await failover.wait()
        await rush.goes_on(ROOM, failover.promoted)
        first.signal(signal.SIGCONT)
        await asyncio.to_thread(eventually, first.client.ping)
        calls = first.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        after["first"] = calls
        await rush.goes_on(ROOM, time.time())
        after["then"] = first.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)

    rush = Rush(servers.url, {ROOM: TERMS}, deadline=1.0)
    await rush.run(sleep_and_wake)
    seen = rush.seen[ROOM]
    the_law_holds(seen)
    assert after["then"] == after["first"], "nobody asks the old one any more"


async def test_however_many_ask_at_once_no_sentinel_is_forgotten(servers: SentinelServers) -> None:
    """The one that answers moves to the front: the others must all be there still, for the day on which it goes away."""
    client = open_client(servers.url, None, timeout=1.0, connections=32)
    manager = client.connection_pool.sentinel_manager
    servers.sentinels[0].signal(signal.SIGSTOP)
    try:
        pool = client.connection_pool
        masters = await asyncio.gather(*(pool.get_master_address() for _ in range(20)))
        assert set(masters) == {("127.0.0.1", servers.nodes[0].port)}
        known = {sentinel.connection_pool.connection_kwargs["port"] for sentinel in manager.sentinels}
        assert known == {sentinel.port for sentinel in servers.sentinels}
    finally:
        servers.sentinels[0].signal(signal.SIGCONT)
        await close_client(client)


async def test_a_silent_sentinel_is_passed_over(servers: SentinelServers) -> None:
    failover = Failover(servers)

    async def kill(rush: Rush) -> None:
        servers.sentinels[0].signal(signal.SIGSTOP)
        servers.sentinels.append(servers.sentinels.pop(0))  # ask another
        await failover.kill(rush)

    rush = Rush(servers.url, {ROOM: TERMS}, deadline=1.0)
    await rush.run(kill)
    seen = rush.seen[ROOM]
    the_law_holds(seen)
