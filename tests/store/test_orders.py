"""Operators' orders: one document, no lost change, and a record of who did what."""

import asyncio
import secrets
import time
from dataclasses import replace

import pytest

from gate.core.orders import Orders, RoomOrders
from gate.core.words import RoomMode, Shedding, Switch
from gate.store import orders as module
from gate.store.link import Link, StoreUnavailable
from gate.store.orders import OrdersStore


@pytest.fixture
def orders(link: Link, monkeypatch: pytest.MonkeyPatch) -> OrdersStore:
    tag = secrets.token_hex(4)
    monkeypatch.setattr(module, "KEYS", [f"gate:{{orders{tag}}}:document", f"gate:{{orders{tag}}}:audit"])
    return OrdersStore(link, clock=time.time)


async def test_nothing_is_in_force_at_first(orders: OrdersStore) -> None:
    assert await orders.read() is None
    assert await orders.audit() == []


async def test_a_change_is_in_force_and_written_down(orders: OrdersStore) -> None:
    room = RoomOrders(RoomMode.HOLD, "30/minute", 5, 10, "Back in ten minutes – sorry")
    written = await orders.write(lambda now: now.with_room("checkout", room), who="ann", what="hold checkout")
    assert written == await orders.read()
    assert (written.version, written.room("checkout")) == (1, room)
    (entry,) = await orders.audit()
    assert (entry["who"], entry["what"], entry["version"]) == ("ann", "hold checkout", 1)
    assert entry["at"] == pytest.approx(time.time(), abs=30)


async def test_changes_at_the_same_time_are_all_made(orders: OrdersStore) -> None:
    await asyncio.gather(
        *(orders.write(lambda now, k=k: now.with_room(f"room{k}", RoomOrders(burst=k)), who=str(k), what="x") for k in range(8))
    )
    found = await orders.read()
    assert found is not None
    assert found.version == 8
    assert {name: room.burst for name, room in found.rooms.items()} == {f"room{k}": k for k in range(8)}
    assert [entry["version"] for entry in await orders.audit()] == list(range(8, 0, -1))


async def test_what_was_ordered_while_the_store_was_away_wins_over_the_older(orders: OrdersStore) -> None:
    await orders.write(lambda now: replace(now, fallback=Switch.ON), who="a", what="on")
    local = Orders(version=5, fallback=Switch.OFF)
    assert (await orders.publish(local)).fallback is Switch.OFF
    assert (await orders.publish(Orders(version=3))).version == 5
    assert len(await orders.audit()) == 1


async def test_an_emptied_store_goes_on_from_what_is_known(orders: OrdersStore) -> None:
    known = Orders(version=7, shedding=Shedding.NORMAL)
    written = await orders.write(lambda now: replace(now, fallback=Switch.ON), who="a", what="on", known=known)
    assert (written.version, written.shedding, written.fallback) == (8, Shedding.NORMAL, Switch.ON)
    assert await orders.read() == written


async def test_the_record_is_newest_first_and_does_not_grow_for_ever(
    orders: OrdersStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for k in range(5):
        await orders.write(lambda now: now, who="a", what=str(k))
    assert [entry["what"] for entry in await orders.audit()] == ["4", "3", "2"]
    assert [entry["what"] for entry in await orders.audit(1)] == ["4"]
    assert await orders.audit(0) == []


async def test_a_document_of_somebody_else_is_not_taken(orders: OrdersStore, link: Link) -> None:
    await link.command("HSET", module.KEYS[0], "version", 3, "json", "{}")
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await orders.read()
