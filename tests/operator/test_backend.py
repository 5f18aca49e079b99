"""Two gates, one store: no order is lost between them, whatever each has seen so far."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog

from gate import heartbeat
from gate.backend import Backend, OrdersFile
from gate.core.orders import Orders, RoomOrders
from gate.core.settings import Settings
from gate.core.words import RoomMode, Shedding, Switch
from gate.heartbeat import Beat, RoomBeat
from gate.store.link import Link
from tests.stores import StoreServer


@pytest.fixture
async def gates(tmp_path: Path, store: StoreServer) -> AsyncIterator[list[Backend]]:
    """Both know what the store holds; neither looks again before it is told to."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory())
    links, backends = [], []
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0o700)
        link = Link(store.url)
        await link.start()
        settings = Settings.model_validate({"state": str(tmp_path / name), "rooms": {"c": {"match": "/c", "rate": "1/minute"}}})
        backends.append(Backend(settings, tmp_path / "gate.yaml", link))
        links.append(link)
    for backend in backends:
        await backend.keep()
    yield backends
    for link in links:
        await link.close()
    structlog.reset_defaults()


async def test_who_enters_is_counted_also_while_nobody_waits(tmp_path: Path, store: StoreServer) -> None:
    now = [1_800_000_000.0]
    settings = Settings.model_validate({"state": str(tmp_path / "s"), "rooms": {"c": {"match": "/c", "rate": "1/second"}}})
    run = tmp_path / "s" / "run"
    run.mkdir(mode=0o700, parents=True)
    link = Link(store.url)
    await link.start()
    gate = Backend(settings, tmp_path / "gate.yaml", link, clock=lambda: now[0])

    async def entering(after: float, *admitted: int, store_up: bool = True) -> float | None:
        """What is shown when the workers have told so, ``after`` seconds later."""
        now[0] += after
        for number, count in enumerate(admitted):
            room = RoomBeat(admitted=count)
            heartbeat.write(run, Beat(number, 100, now[0], now[0], taken=now[0], store_up=store_up, rooms={"c": room}))
        await gate.keep()
        return (await gate.status()).rooms[0].admitted_per_second

    assert await entering(0, 40, 38) is None
    assert await entering(10, 40, 40) == 0
    assert await entering(10, 58, 60) == 1
    assert await entering(10, 60, 58) == pytest.approx(0.667)  # one worker's word is older
    assert await entering(60, 60, 60) == 0
    assert await entering(1, 60, 60, store_up=False) is None
    await link.close()


def mode(new: RoomMode) -> Callable[[Orders], Orders]:
    return lambda orders: orders.with_room("c", RoomOrders(new))


async def test_an_order_is_compared_with_what_the_store_holds(gates: list[Backend]) -> None:
    a, b = gates
    await a.change(mode(RoomMode.OPEN), who="ann")
    told = await b.change(mode(RoomMode.AUTO), who="bob")  # b has not yet seen that the room is open
    assert (told.version, told.room("c").mode) == (2, RoomMode.AUTO)
    for gate in gates:
        await gate.keep()
        assert gate.orders == told
    assert [(entry["who"], entry["what"]) for entry in await a.audit(9)] == [
        ("bob", "room c: mode open → auto"),
        ("ann", "room c: mode auto → open"),
    ]


async def test_what_is_so_already_is_not_ordered_again_but_learned(gates: list[Backend]) -> None:
    a, b = gates
    done = await a.change(mode(RoomMode.HOLD), who="ann")
    assert await b.change(mode(RoomMode.HOLD), who="bob") == done
    assert b.orders == done == OrdersFile(b.state).read()
    assert [entry["who"] for entry in await b.audit(9)] == ["ann"]


async def test_orders_at_the_same_moment_are_all_kept(gates: list[Backend]) -> None:
    a, b = gates
    await asyncio.gather(
        a.change(mode(RoomMode.HOLD), who="ann"),
        b.change(lambda orders: Orders(orders.version, Switch.ON, orders.shedding, orders.rooms), who="bob"),
        a.change(lambda orders: Orders(orders.version, orders.fallback, Shedding.OFF, orders.rooms), who="ann"),
    )
    for gate in gates:
        await gate.keep()
        assert gate.orders == Orders(3, Switch.ON, Shedding.OFF, {"c": RoomOrders(RoomMode.HOLD)})


async def test_an_order_against_an_unseen_one_survives_the_store(gates: list[Backend], store: StoreServer) -> None:
    a, b = gates
    await a.change(mode(RoomMode.OPEN), who="ann")
    store.stop()
    given = await b.change(mode(RoomMode.CLOSED), who="bob")
    assert given.room("c").mode is RoomMode.CLOSED
    assert OrdersFile(b.state).read() == given
    assert (await b.change(mode(RoomMode.CLOSED), who="bob")) == given  # nothing new


@pytest.mark.parametrize("junk", [b"", b"\xff", b"{", b"[]", b'{"version": 3}', b"[" * 100_000])
def test_a_file_that_is_none_of_ours_is_looked_at_again(tmp_path: Path, junk: bytes) -> None:
    followed, written = OrdersFile(tmp_path), Orders(4, Switch.ON)
    assert followed.changed() is None
    (tmp_path / "orders.json").write_bytes(junk)
    assert followed.read() is followed.changed() is None
    OrdersFile(tmp_path).write(written)
    assert followed.changed() == written
    assert followed.changed() is None
    assert followed.read() == written
