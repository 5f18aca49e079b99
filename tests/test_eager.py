"""Coroutines that are run as far as they go."""

import asyncio

import pytest

from gate.eager import Pending, started


async def after(waits: list[asyncio.Future[int]]) -> int:
    return sum([await future for future in waits])


async def test_what_waits_for_nothing_is_there_at_once():
    assert started(after([])) == 0


async def test_what_waits_goes_on_in_a_task():
    waits = [asyncio.get_running_loop().create_future() for _ in range(3)]
    rest = started(after(waits))
    assert isinstance(rest, Pending)

    async def run() -> int:
        return await rest

    task = asyncio.create_task(run())
    for number, future in enumerate(waits):
        await asyncio.sleep(0)
        future.set_result(number + 1)
    assert await task == 6


async def test_a_wait_that_is_over_before_anybody_asks():
    future = asyncio.get_running_loop().create_future()
    rest = started(after([future]))
    future.set_result(7)
    assert isinstance(rest, Pending)
    assert await rest == 7


async def test_trouble_comes_through_from_either_part():
    async def fails(waits: list[asyncio.Future[int]]) -> int:
        raise ValueError(await after(waits))

    with pytest.raises(ValueError, match="0"):
        started(fails([]))
    future = asyncio.get_running_loop().create_future()
    rest = started(fails([future]))
    future.set_result(3)
    assert isinstance(rest, Pending)
    with pytest.raises(ValueError, match="3"):
        await rest


async def test_the_end_of_the_task_reaches_the_coroutine():
    left = []

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    rest = started(tidy())
    assert isinstance(rest, Pending)

    async def run() -> None:
        await rest

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [True]
