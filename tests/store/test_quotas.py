"""Per-client limits on a real store."""

import secrets

import pytest

from gate.core.settings import Limit
from gate.store.embedded import Embedded
from gate.store.link import Link
from gate.store.quotas import PREFIX, Quotas


@pytest.fixture
def limit() -> Limit:
    return Limit(match=[f"/{secrets.token_hex(4)}"], rate="3/hour")


async def test_the_fourth_of_three_is_one_too_many(link: Link, limit: Limit) -> None:
    quotas = Quotas(link)
    hits = [await quotas.hit(limit, "192.0.2.1") for _ in range(5)]
    assert [hit.allowed for hit in hits if hit] == [True, True, True, False, False]
    assert [hit.remaining for hit in hits if hit] == [2, 1, 0, 0, 0]
    assert hits[3] is not None
    assert (hits[3].limit, hits[3].window) == (3, 3600)
    assert 0 < hits[3].reset <= 3600


async def test_clients_and_limits_are_counted_apart_and_gates_together(link: Link, limit: Limit) -> None:
    here, there = Quotas(link), Quotas(link)
    other = Limit(match=["/other/" + secrets.token_hex(4)], rate="3/hour")
    for quotas in (here, there, here):
        await quotas.hit(limit, "a")
    for quotas, which, client, allowed in ((there, limit, "a", False), (there, limit, "b", True), (here, other, "a", True)):
        hit = await quotas.hit(which, client)
        assert hit is not None
        assert hit.allowed is allowed


async def test_no_address_lies_about_in_the_store(link: Link, limit: Limit) -> None:
    await Quotas(link).hit(limit, "192.0.2.77")
    keys = await link.command("KEYS", "*")
    assert any(PREFIX.encode() in key for key in keys)
    assert not [key for key in keys if b"192.0.2.77" in key]


async def test_without_the_store_nobody_is_turned_off(own_store: Embedded, limit: Limit) -> None:
    link = Link(own_store.url, deadline=10.0)
    await link.start()
    quotas = Quotas(link)
    assert await quotas.hit(limit, "a") is not None
    own_store.stop()
    assert await quotas.hit(limit, "a") is None
    assert await quotas.hit(limit, "a") is None
    await link.close()
