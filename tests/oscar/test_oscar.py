"""A shop that we did not write, behind the gate as it is: guests buy, others wait, and the last piece is sold once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oscar.guest import Guest
from tests.oscar.running import OscarShop
from tests.processes import Gate, free_port, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def oscar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OscarShop]:
    shop = OscarShop(tmp_path_factory.mktemp("oscar"), port=free_port(), pieces=4)
    with running(shop):
        yield shop


@pytest.fixture
def gate(oscar: OscarShop, tmp_path: Path) -> Iterator[Gate]:
    """A checkout for one at a time: all others stand in line."""
    settings = {
        "origin": {"servers": [oscar.url], "health": {"path": "/healthz", "every": "500ms"}},
        "rooms": {"checkout": {"match": ["/checkout/**"], "rate": "20/second", "burst": 5, "active": 1, "session": "60s"}},
    }
    gate = Gate(tmp_path, settings)
    with running(gate):
        yield gate


async def place_of(guest: Guest) -> dict[str, Any]:
    url = f"{guest.url}/__gate/rooms/checkout/ticket"
    async with guest.session.get(url, headers={"Accept": "application/json"}) as answer:
        place: dict[str, Any] = await answer.json()
    return place


async def test_a_guest_buys_while_others_wait_and_then_they_buy_in_their_order(gate: Gate) -> None:
    async with Guest(gate.url) as first, Guest(gate.url) as second, Guest(gate.url) as third:
        for guest in (first, second, third):
            await guest.fill_basket("lantern")  # no room guards the basket
            assert guest.waited == 0
        await first.page("/checkout/", lands="/checkout/")
        assert first.decisions[-1] == "forward; room=checkout; reason=admitted"

        for guest, ahead in ((second, 0), (third, 1)):
            async with guest.session.get(f"{gate.url}/checkout/") as held:
                text = await held.text()
            assert (held.status, held.headers["Gate-Decision"].partition(";")[0]) == (503, "wait")
            assert "no-store" in held.headers["Cache-Control"]
            assert "oscar" not in text.lower()
            async with asyncio.timeout(30):  # a place is worked out from a picture of the room up to a quarter second old
                while (await place_of(guest))["ahead"] != ahead:
                    await asyncio.sleep(0.1)

        order: list[str] = []

        async def buy(guest: Guest, name: str) -> str:
            await guest.page("/checkout/", lands="/checkout/")
            order.append(name)
            return await guest.check_out()

        rest = asyncio.gather(buy(second, "second"), buy(third, "third"))
        numbers = [await first.check_out(), *await rest]
        assert order == ["second", "third"]
        assert len(set(numbers)) == 3
        assert second.waited > 0


async def test_what_the_shop_tells_the_gate_stays_between_them(gate: Gate) -> None:
    async with Guest(gate.url) as guest:
        await guest.fill_basket("mug")
        await guest.check_out()
        answer, _ = await guest.fetch("/checkout/thank-you/")
        assert "Gate-Command" not in answer.headers
        inside = {cookie.key for cookie in guest.session.cookie_jar}
        assert any(name.startswith("gate_") for name in inside)  # the visitor has ours …
        assert "csrftoken" in inside  # … and the shop's, side by side


async def test_the_last_piece_is_sold_once(gate: Gate) -> None:
    """One lantern is left of four. Two guests have it in their basket; the second is told at the checkout."""
    async with Guest(gate.url) as lucky, Guest(gate.url) as late:
        await lucky.fill_basket("lantern")
        await late.fill_basket("lantern")
        await lucky.check_out()
        answer, text = await late.fetch("/checkout/")
        assert answer.url.path == "/basket/"
        assert "no longer" in text or "out of stock" in text.lower() or "unavailable" in text.lower()
