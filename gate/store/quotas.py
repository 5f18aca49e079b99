"""Per-client limits: the sliding windows of the ``limits`` package, on our own connections and under our deadline."""

import time
from hashlib import blake2b
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gate.core.decision import Quota
from gate.core.settings import Limit
from gate.store.link import Link, StoreUnavailable

PREFIX = "gate:quota:sliding-window-counter"  # strategies share key names and not key types; the name keeps them apart


class _Windows(RedisStorage):
    """The package's Redis storage on a client that exists already, be it a single server's, a sentinel's or a cluster's."""

    STORAGE_SCHEME = ["async+gate"]  # noqa: RUF012 - the package registers by this name

    def __init__(self, client: Any) -> None:
        self._client = client
        super().__init__("redis://", implementation="redispy", key_prefix=PREFIX)

    def configure_bridge(self) -> None:
        bridge: Any = self.bridge
        bridge.storage = self._client
        bridge.connection_getter = lambda _readonly: self._client


class Quotas:
    """Counts the requests of clients. Several gates on one store count together."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client: Any = None
        self._limiter: Any = None

    async def hit(self, limit: Limit, client: str) -> Quota | None:
        """Counts one request. None when the store is away: a limit is no reason to turn visitors off."""
        item: RateLimitItem = limit.rate
        key = blake2b(f"{limit.name}\n{client}".encode(), digest_size=16).hexdigest()  # no address lies about in the store

        async def count() -> Quota:
            limiter = self._windows()
            allowed = await limiter.hit(item, key)
            stats = await limiter.get_window_stats(item, key)
            reset = max(0.0, stats.reset_time - time.time())
            return Quota(bool(allowed), item.amount, item.get_expiry(), int(stats.remaining), reset)

        try:
            return await self._link.call(count, f"{{{item.key_for(key)}}}")  # the tag of the package's keys
        except StoreUnavailable:
            return None

    def _windows(self) -> Any:
        if self._client is not self._link.client:
            self._client = self._link.client
            self._limiter = SlidingWindowCounterRateLimiter(_Windows(self._client))
        return self._limiter
