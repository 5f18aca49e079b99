"""Another server than before: what the last one said may be lost, and whoever comes first does not know it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis

from gate.core.credentials import Ticket
from gate.core.line import Terms
from gate.core.words import Reason, RoomMode
from gate.store.client import open_client
from gate.store.embedded import Embedded
from gate.store.line import Line, keys_of
from gate.store.link import Link, StoreUnavailable
from tests.faults import FaultProxy
from tests.store.conftest import binary, make_line
from tests.store.test_line import let_pass, stand, until_up

TERMS = Terms(20, 60, burst=20)
HELD = replace(TERMS, mode=RoomMode.HOLD)


class Failover:
    """A master, and a replica that is promoted in its place: it has what it was told, and no more."""

    def __init__(self, master: Embedded, replica: Embedded, proxy: FaultProxy) -> None:
        self.master, self.replica = (Redis(unix_socket_path=str(server.socket), protocol=2) for server in (master, replica))
        self.socket, self.proxy = str(replica.socket), proxy

    def replicate(self) -> None:
        for key in self.master.scan_iter():
            self.replica.restore(key, 0, self.master.dump(key), replace=True)

    async def promote(self, *links: Link) -> None:
        self.proxy.upstream = self.socket
        self.proxy.reset_all()
        for link in links:
            await until_asked(link)


async def until_asked(link: Link) -> None:
    """Until it has noticed that its connections are gone, and has others."""
    for _ in range(3):
        try:
            await link.command("PING")
        except StoreUnavailable:
            await until_up(link)


@pytest_asyncio.fixture
async def failover(tmp_path: Path) -> AsyncIterator[Failover]:
    servers = [Embedded(tmp_path / name, persist=False, server=binary("valkey")) for name in ("master", "replica")]
    for server in servers:
        server.start()
    async with FaultProxy(str(servers[0].socket)) as proxy:
        failover = Failover(*servers, proxy)
        yield failover
        failover.master.close()
        failover.replica.close()
    for server in servers:
        server.stop()


async def opened(url: str) -> Link:
    link = Link(url, deadline=10.0)
    await link.start()
    assert link.up, link.trouble
    return link


async def enters(line: Line, ticket: Ticket) -> None:
    """In its turn, with time enough for everybody before."""
    for _ in range(60):
        await line.tick(TERMS)
        await let_pass(line, 10)
        entry = await line.claim(ticket, TERMS, patience=0)
        if entry.status != "waiting":
            break
    assert entry.status == "entered"


async def test_numbers_that_the_replica_did_not_hear_of_are_nobody_elses(failover: Failover) -> None:
    here, there = [await opened(f"redis://127.0.0.1:{failover.proxy.port}") for _ in range(2)]
    alices, bobs = make_line(here, "shop"), make_line(there, "shop")
    early = await stand(bobs, TERMS, 10)
    await alices.tick(TERMS)
    failover.replicate()
    (alice,) = [entry.ticket for entry in await asyncio.gather(alices.join(HELD))]
    assert (alice.epoch, alice.number) == (1, alices.state.last)
    await failover.promote(here, there)
    bob = (await bobs.join(HELD)).ticket  # the other worker comes first, and has heard of nothing
    others = [entry.ticket for entry in await asyncio.gather(*(bobs.join(HELD) for _ in range(100)))]
    await alices.tick(HELD)
    after = (await alices.join(HELD)).ticket
    tickets = [*early, alice, bob, *others, after]
    assert len({(ticket.epoch, ticket.number) for ticket in tickets}) == len(tickets)
    assert bob.epoch == 2
    for ticket in (early[0], alice, bob):
        await enters(bobs, ticket)
    await here.close()
    await there.close()


async def test_tokens_that_the_replica_did_not_hear_of_are_not_given_again(failover: Failover) -> None:
    here, there = [await opened(f"redis://127.0.0.1:{failover.proxy.port}") for _ in range(2)]
    alices, bobs = make_line(here, "shop"), make_line(there, "shop")
    for line in (alices, bobs):
        await line.tick(TERMS)
    failover.replicate()
    entries = [await alices.join(TERMS) for _ in range(TERMS.burst)]
    assert {entry.status for entry in entries} == {"entered"}
    await failover.promote(here, there)
    began = time.monotonic()
    entries = [await bobs.join(TERMS) for _ in range(TERMS.burst)]
    inside = sum(entry.status == "entered" for entry in entries)
    assert inside <= (time.monotonic() - began + 1) * TERMS.per_second, "no more than what has run in since"
    await here.close()
    await there.close()


async def test_a_worker_that_begins_in_that_moment_knows_no_less(failover: Failover) -> None:
    here = await opened(f"redis://127.0.0.1:{failover.proxy.port}")
    line = make_line(here, "shop")
    await stand(line, TERMS, 10)
    failover.replicate()
    await here.close()
    failover.proxy.upstream = failover.socket
    new = await opened(f"redis://127.0.0.1:{failover.proxy.port}")
    assert (await make_line(new, "shop").join(HELD)).ticket.epoch == 2
    await new.close()


async def test_a_connection_that_is_lost_is_no_other_server(failover: Failover) -> None:
    link = await opened(f"redis://127.0.0.1:{failover.proxy.port}")
    line = make_line(link, "shop")
    for _ in range(3):
        assert (await line.join(TERMS)).status == "entered"
        failover.proxy.reset_all()
        await until_asked(link)
    state = await line.tick(TERMS)
    assert (state.epoch, state.admitted) == (1, 3)
    assert state.tokens > TERMS.burst - 4
    await link.close()


@pytest.mark.parametrize("name", ["valkey", "redis"])
async def test_a_restart_that_loses_nothing_costs_nobody_the_place(name: str, tmp_path: Path) -> None:
    """But the tokens that were saved up."""
    server = Embedded(tmp_path / "store", persist=True, server=binary(name))
    link = await opened(server.start())
    line = make_line(link, "shop")
    inside = await line.join(TERMS)
    tickets = await stand(line, TERMS, 6)
    server.stop()
    server.start()
    await until_asked(link)
    state = await line.tick(HELD)
    assert (state.epoch, state.last, state.inside, state.base) == (2, 7, 1, 7)
    assert state.tokens < 5
    assert (await line.claim(inside.ticket, TERMS)).reason is Reason.PASS
    newcomer = (await line.join(HELD)).ticket
    while line.state.serving < newcomer.number:
        await line.tick(TERMS)
    await link.command("HSET", keys_of("shop")[0], "level", 0)
    for ticket in (newcomer, *reversed(tickets)):
        assert (await line.claim(ticket, replace(TERMS, amount=0), patience=0)).status == "waiting"
    order = await link.command("ZRANGE", keys_of("shop")[1], 0, -1)
    assert [id_.decode() for id_ in order] == [ticket.id for ticket in (*tickets, newcomer)]
    for ticket in (*tickets, newcomer):
        await enters(line, ticket)
    assert (await line.tick(TERMS)).epoch == 2, "once"
    await link.close()
    server.stop()


async def test_a_user_who_may_not_ask_goes_by_what_the_workers_remember(tmp_path: Path) -> None:
    """A network that blips must not turn the epoch each time."""
    server = Embedded(tmp_path / "store", persist=True, server=binary("valkey"))

    async def forbid() -> None:
        raw = open_client(server.url, None, timeout=5, connections=1)
        await raw.execute_command("ACL", "SETUSER", "default", "-info")
        await raw.aclose()

    server.start()
    await forbid()
    link = await opened(server.url)
    line = make_line(link, "shop")
    tickets = await stand(line, TERMS, 3)
    server.stop()
    server.start()
    await forbid()
    await until_asked(link)
    assert (await line.tick(TERMS)).epoch == 1
    for ticket in tickets:
        await enters(line, ticket)
    await link.close()
    server.stop()
