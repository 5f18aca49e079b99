"""The shop as a process of its own, over HTTP."""

import re

import aiohttp
import pytest

from gate.demo import journal
from gate.demo.processes import ShopProcess, turn_knobs

pytestmark = pytest.mark.slow


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(10))


async def form_token(session: aiohttp.ClientSession, shop: ShopProcess) -> str:
    async with session.get(f"{shop.url}/checkout") as answer:
        found = re.search(r'name="form" value="([^"]+)"', await answer.text())
    assert found
    return found[1]


async def buy(session: aiohttp.ClientSession, shop: ShopProcess, **changes: str) -> aiohttp.ClientResponse:
    form = {"form": await form_token(session, shop), "name": "Ann", "email": "ann@example.org", "rate": "4.99"} | changes
    return await session.post(f"{shop.url}/checkout", data=form)


async def test_a_visitor_buys_and_the_confirmation_gives_the_seat_back(shop: ShopProcess) -> None:
    async with browser() as visitor:
        async with visitor.get(f"{shop.url}/product/lantern") as page:
            text = await page.text()
        assert "Only 3 left" in text
        assert 'data-fragment="/reviews/lantern"' in text
        async with visitor.post(f"{shop.url}/cart/add", data={"product": "lantern"}) as page:
            assert page.url.path == "/cart"
        async with await buy(visitor, shop) as page:
            text = await page.text()
        assert page.url.path.startswith("/checkout/done/")
        assert page.headers["gate-command"] == "release"
        assert "53.99 €" in text
        lasting = re.search(r'data-lasting="([^"]+)"', text)
        assert lasting
        async with visitor.get(shop.url + lasting[1]) as page:
            assert page.status == 200
            assert "gate-command" not in page.headers
        async with visitor.get(f"{shop.url}/product/lantern") as page:
            assert "Only 2 left" in await page.text()


@pytest.mark.parametrize(("changes", "status"), [({"rate": "0.01"}, 400), ({"email": "nobody"}, 400), ({"rate": "7.99"}, 200)])
async def test_only_the_live_and_the_flat_rate_are_taken(shop: ShopProcess, changes: dict[str, str], status: int) -> None:
    async with browser() as visitor:
        await (await visitor.post(f"{shop.url}/cart/add", data={"product": "mug"})).read()
        async with await buy(visitor, shop, **changes) as page:
            assert page.status == status


async def test_a_cart_that_was_tampered_with_is_an_empty_one(shop: ShopProcess) -> None:
    async with browser() as visitor:
        await (await visitor.post(f"{shop.url}/cart/add", data={"product": "mug"})).read()
        value = next(cookie.value for cookie in visitor.cookie_jar if cookie.key == "shop_cart")
    for cookie, empty in ((value, False), (value[:-1] + ("A" if value[-1] != "A" else "E"), True)):
        async with browser() as stranger, stranger.get(f"{shop.url}/cart", headers={"Cookie": f"shop_cart={cookie}"}) as page:
            assert ("It is empty" in await page.text()) is empty


async def test_sold_out_is_said_kindly(shop: ShopProcess) -> None:
    async with browser() as visitor:
        for _ in range(4):
            await (await visitor.post(f"{shop.url}/cart/add", data={"product": "lantern"})).read()
        async with await buy(visitor, shop) as page:
            assert page.status == 409
            assert "only 3 left. Nothing was ordered" in await page.text()


async def test_knobs_break_one_part_and_leave_the_rest(shop: ShopProcess) -> None:
    shop.turn(reviews="dead", search="fail")
    async with browser() as visitor:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await visitor.post(f"{shop.url}/reviews/mug", data={})  # a POST: aiohttp retries no such request
        async with visitor.get(f"{shop.url}/search?q=mug") as page:
            assert page.status == 500
        async with visitor.get(f"{shop.url}/product/mug") as page:
            assert page.status == 200
        shop.turn(all="dead")
        with pytest.raises(aiohttp.ClientError):
            await (await visitor.get(f"{shop.url}/healthz")).read()
        shop.turn(all="ok", reviews="ok")
        async with visitor.get(f"{shop.url}/reviews/mug") as page:
            assert page.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Via": "1.1 gate"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Gate-Room": "checkout"},
        {"Host": "shop.example:80"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_nobody_turns_the_knobs_from_afar(shop: ShopProcess, headers: dict[str, str]) -> None:
    async with (
        browser() as visitor,
        visitor.post(
            f"{shop.url}/__shop/knobs", data='{"all":"dead"}', headers={"Content-Type": "application/json"} | headers
        ) as answer,
    ):
        assert answer.status in (404, 415)
    assert turn_knobs(shop.url, {})["all"]["mode"] == "ok"


def test_a_knob_that_is_not_there_is_explained(shop: ShopProcess) -> None:
    with pytest.raises(ValueError, match="the parts are"):
        shop.turn(till="dead")


async def test_the_journal_tells_what_arrived(shop: ShopProcess) -> None:
    async with browser() as visitor:
        headers = {"Gate-Visitor": "v1", "Gate-Room": "checkout", "Cookie": "a=1; b=2"}
        async with visitor.get(f"{shop.url}/checkout", headers=headers) as page:
            assert page.status == 200
    [entry] = [entry for entry in journal.read(shop.journal) if entry.path == "/checkout"]
    assert (entry.method, entry.visitor, entry.room, entry.cookies) == ("GET", "v1", "checkout", ("a", "b"))


async def test_a_killed_shop_comes_back_with_its_carts_and_stock(shop: ShopProcess) -> None:
    async with browser() as visitor:
        await (await visitor.post(f"{shop.url}/cart/add", data={"product": "lantern"})).read()
        shop.kill()
        shop.start()
        async with await buy(visitor, shop) as page:
            assert page.status == 200
        async with visitor.get(f"{shop.url}/product/lantern") as page:
            assert "Only 2 left" in await page.text()
