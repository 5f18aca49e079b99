"""The active checks: asks every origin server whether it works, every few seconds."""

import asyncio
import random
import time
from collections.abc import Callable

import aiohttp
from yarl import URL

from gate.core.health import Health
from gate.core.settings import Settings

JITTER = 0.1  # share of the interval; gates that started together do not ask together


class Checker:
    """``run`` as one background task per worker.

    ``health`` is the shop as a whole: a round is good when one server answered well. ``report`` is told about every
    server whose own state changed, and about all of them after the first round.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        report: Callable[[str, bool], None] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings.origin.health
        self._servers = settings.origin.servers
        self._health = health
        self._report = report
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._each: dict[str, Health] = {}
        self._told: dict[str, bool] = {}

    async def run(self) -> None:
        """Until cancelled. Returns at once when the config switches the checks off."""
        if self._settings is None:
            return
        self._each = {server: Health(self._settings.fall, self._settings.rise) for server in self._servers}
        connector = aiohttp.TCPConnector(force_close=True)  # a check that reuses a connection does not see a closed listener
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                begun = time.monotonic()
                await self.round(session)
                pause = self._settings.every * (1 - JITTER * self._rng.random())  # never later than configured
                await asyncio.sleep(max(0.0, pause - (time.monotonic() - begun)))

    async def round(self, session: aiohttp.ClientSession) -> None:
        """One check of every server."""
        results = await asyncio.gather(*(self._check(session, server) for server in self._servers))
        now = self._clock()
        self._health.record(any(results), now)
        for server, ok in zip(self._servers, results, strict=True):
            each = self._each[server]
            each.record(ok, now)
            if self._report is not None and self._told.get(server) != each.up:
                self._told[server] = each.up
                self._report(server, each.up)

    async def _check(self, session: aiohttp.ClientSession, server: str) -> bool:
        assert self._settings is not None  # noqa: S101 - run() returned otherwise
        try:
            async with session.get(URL(server + self._settings.path, encoded=True), allow_redirects=False) as response:
                return 200 <= response.status < 400
        except (aiohttp.ClientError, OSError, ValueError):
            return False
