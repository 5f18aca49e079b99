"""The active checks, against real servers that come, go and hang."""

import asyncio
import contextlib

from gate.core.health import Health
from gate.core.settings import Settings
from gate.wire.health import Checker
from tests.wire.rig import DEADLINE, Origin, eventually, response


@contextlib.asynccontextmanager
async def checking(*servers, **health):
    settings = Settings.model_validate(
        {"origin": {"servers": list(servers), "health": {"every": "20ms", "timeout": "5s", "fall": 3, "rise": 2, **health}}}
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


def answering(answer):
    async def script(side):
        while await side.head():
            await side.send(answer)

    return script


WELL = answering(response())
ILL = answering(response(b"", "500 Internal Server Error"))


async def test_down_after_three_and_up_after_two(origin):
    origin.script = WELL
    async with checking(origin.url) as (health, told):
        await eventually(lambda: told == [(origin.url, True)], "told that it is up")
        origin.script = ILL
        asked = len(origin.heads)
        await eventually(lambda: not health.up, "down")
        assert len(origin.heads) - asked >= 3
        origin.script = WELL
        asked = len(origin.heads)
        await eventually(lambda: health.up, "up again")
        assert len(origin.heads) - asked >= 2
        assert told == [(origin.url, True), (origin.url, False), (origin.url, True)]


async def test_one_failure_turns_nothing(origin):
    origin.script = WELL

    async def fail_once(side):
        origin.script = WELL
        await side.head()

    async with checking(origin.url) as (health, told):
        await eventually(lambda: origin.heads, "asked")
        origin.script = fail_once
        asked = len(origin.heads)
        await eventually(lambda: len(origin.heads) > asked + 4, "asked again")
        assert health.up
        assert told == [(origin.url, True)]


async def test_a_server_that_hangs_or_is_gone_is_down(origin):
    async def hang(side):
        await side.ended()

    origin.script = hang
    async with checking(origin.url, timeout="100ms") as (health, _):
        await eventually(lambda: not health.up, "down by silence")
        origin.script = WELL
        await eventually(lambda: health.up, "up")
        origin.close()
        await eventually(lambda: not health.up, "down by refusal")


async def test_the_shop_is_up_while_one_server_is(origin):
    async with Origin() as other, checking(origin.url, other.url) as (health, told):
        await eventually(lambda: len(told) == 2, "both are up")
        origin.close()
        await eventually(lambda: (origin.url, False) in told, "one is down")
        assert health.up
        other.close()
        await eventually(lambda: not health.up, "both are down")


async def test_what_is_asked(origin):
    async with checking(origin.url, path="/health%20z?deep=1"):
        await eventually(lambda: len(origin.heads) > 1, "asked twice")
        assert origin.heads[0].startswith(b"GET /health%20z?deep=1 HTTP/1.1\r\n")
        assert len(origin.sides[0].requests) == 1  # a kept connection would not see a closed listener


async def test_a_redirect_is_well_and_not_followed(origin):
    origin.script = answering(response(b"", "302 Found", b"Location: /elsewhere"))
    async with checking(origin.url) as (health, _):
        await eventually(lambda: len(origin.heads) > 5, "asked")
        assert health.up
        assert {head.split(b"\r\n")[0] for head in origin.heads} == {b"GET /healthz HTTP/1.1"}


async def test_switched_off():
    settings = Settings.model_validate({"origin": {"health": None}})
    await asyncio.wait_for(Checker(settings, Health()).run(), DEADLINE)
