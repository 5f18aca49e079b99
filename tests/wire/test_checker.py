"""The active checks, against real servers that come, go and hang."""

import asyncio
import contextlib

from gate.core.health import Health
from gate.core.settings import Settings
from gate.wire.health import Checker
from tests.wire.stage import Shop, eventually, plain


@contextlib.asynccontextmanager
async def checking(*servers, **health):
    settings = Settings.model_validate(
        {"origin": {"servers": list(servers), "health": {"every": "20ms", "timeout": "100ms", "fall": 3, "rise": 2, **health}}}
    )
    whole, told = Health(3, 2), []
    checker = Checker(settings, whole, lambda server, up: told.append((server, up)))
    task = asyncio.create_task(checker.run())
    try:
        yield whole, told
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_down_after_three_and_up_after_two():
    async with Shop() as shop, checking(shop.url) as (health, told):
        await eventually(lambda: told == [(shop.url, True)], "told that it is up")
        shop.answering = plain(b"", b"500 Internal Server Error")
        asked = len(shop.requests)
        await eventually(lambda: not health.up, "down")
        assert len(shop.requests) - asked >= 3
        shop.answering = plain(b"")
        asked = len(shop.requests)
        await eventually(lambda: health.up, "up again")
        assert len(shop.requests) - asked >= 2
        assert told == [(shop.url, True), (shop.url, False), (shop.url, True)]


async def test_one_failure_turns_nothing():
    async with Shop() as shop, checking(shop.url) as (health, told):
        await eventually(lambda: shop.requests, "asked")

        async def fail_once(request, reader, writer):
            shop.answering = plain(b"")
            writer.close()

        shop.answering = fail_once
        asked = len(shop.requests)
        await eventually(lambda: len(shop.requests) > asked + 4, "asked again")
        assert health.up
        assert told == [(shop.url, True)]


async def test_a_server_that_hangs_or_is_gone_is_down():
    async def hang(request, reader, writer):
        await reader.read()

    async with Shop() as shop, checking(shop.url) as (health, _):
        shop.answering = hang
        await eventually(lambda: not health.up, "down by silence")
        shop.answering = plain(b"")
        await eventually(lambda: health.up, "up")
        await shop.__aexit__()
        await eventually(lambda: not health.up, "down by refusal")


async def test_the_shop_is_up_while_one_server_is():
    async with Shop() as one, Shop() as other, checking(one.url, other.url) as (health, told):
        await eventually(lambda: len(told) == 2, "both are up")
        await one.__aexit__()
        await eventually(lambda: (one.url, False) in told, "one is down")
        assert health.up
        await other.__aexit__()
        await eventually(lambda: not health.up, "both are down")


async def test_what_is_asked():
    async with Shop() as shop, checking(shop.url, path="/health%20z?deep=1"):
        await eventually(lambda: len(shop.requests) > 1, "asked twice")
        assert shop.requests[0].line == b"GET /health%20z?deep=1 HTTP/1.1"
        assert shop.requests[0].connection != shop.requests[1].connection  # a kept connection would not see a closed listener


async def test_a_redirect_is_well_and_not_followed():
    async with Shop() as shop, checking(shop.url) as (health, _):
        shop.answering = plain(b"", b"302 Found", b"Location: /elsewhere")
        await eventually(lambda: len(shop.requests) > 5, "asked")
        assert health.up
        assert {request.line for request in shop.requests} == {b"GET /healthz HTTP/1.1"}


async def test_switched_off():
    settings = Settings.model_validate({"origin": {"health": None}})
    await asyncio.wait_for(Checker(settings, Health()).run(), 1)
