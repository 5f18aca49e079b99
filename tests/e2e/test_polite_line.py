"""Visitors who do exactly as they are told: none of them is overtaken by somebody who came later, no place grows."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.processes import Gate, Shop, running

pytestmark = pytest.mark.slow


@dataclass
class Visit:
    came: float
    entered: float = 0.0
    ahead: list[int] = field(default_factory=list)


async def visit(url: str, begin: float, delay: float) -> Visit:
    await asyncio.sleep(delay)
    mine = Visit(time.monotonic() - begin)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        while True:
            async with session.get(f"{url}/checkout", headers={"Accept": "application/json"}) as answer:
                if not answer.headers["Gate-Decision"].startswith("wait"):
                    mine.entered = time.monotonic() - begin
                    return mine
                mine.ahead.append((await answer.json())["ahead"])
                seconds = float(answer.headers["Retry-After"])
            await asyncio.sleep(seconds)


async def test_who_does_as_told_is_not_overtaken_and_no_place_grows(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    room = {"match": ["/checkout/**"], "rate": "30/minute", "burst": 3, "session": "60s"}
    gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "rooms": {"checkout": room}})
    with running(shop, gate):
        begin = time.monotonic()
        visits = await asyncio.gather(*(visit(gate.url, begin, number * 0.3) for number in range(12)))
    grown = [mine.ahead for mine in visits if mine.ahead != sorted(mine.ahead, reverse=True)]
    overtaken = [
        (round(late.came - early.came, 1), round(early.entered - late.entered, 1))
        for early in visits
        for late in visits
        if late.came > early.came + 0.5 and late.entered < early.entered
    ]
    assert grown == []
    assert overtaken == []
