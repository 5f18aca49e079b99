"""redis-py's client for a store URL, with everything in it that waits or retries by itself switched off."""

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from gate.store.cluster import Cluster

Client = Any  # Redis and Cluster share no typed base with evalsha, execute_command and aclose

FORMS = (
    "redis://host:6379/0, rediss://host:6380/0, unix:///run/valkey.sock, "
    "redis+sentinel://host1:26379,host2:26379/mymaster/0 or redis+cluster://host1:6379,host2:6379"
)


class BadStoreUrl(ValueError):
    """Not a store; the text says what to write instead."""


def open_client(url: str, password: str | None, *, timeout: float, connections: int) -> Client:
    """A client for ``url``; connects when it is first used. ``timeout`` in seconds, for connecting and for each answer.

    ``password`` comes before one in the URL. Raises :class:`BadStoreUrl`.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # one round trip less per connection, and no client-side extras of newer servers
        "driver_info": None,  # no CLIENT SETINFO: a round trip and 0.2 ms of CPU per connection, and nobody reads it
        "max_connections": connections,
    }
    if password is not None:
        options["password"] = password
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        try:
            client = Redis.from_url(url, **options)
        except ValueError as error:
            raise BadStoreUrl(f"{url!r} is not a store ({error}); write {FORMS}") from error
        if password is not None:  # from_url lets the URL win
            client.connection_pool.connection_kwargs["password"] = password
        return client
    if scheme == "redis+sentinel":
        user, secret, hosts, path = _several(url, 26379)
        parts = path.split("/")
        if not parts[0] or len(parts) > 2 or not all(part.isdigit() for part in parts[1:]):
            raise BadStoreUrl(f"{url!r} names no master; write redis+sentinel://host1:26379,host2:26379/mymaster/0")
        options.setdefault("password", secret)
        sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
            hosts, sentinel_kwargs={**options, "password": None}, **options, username=user
        )
        return sentinel.master_for(parts[0], db=int(parts[1]) if len(parts) == 2 else 0)
    if scheme == "redis+cluster":
        user, secret, hosts, path = _several(url, 6379)
        if path not in ("", "0"):
            raise BadStoreUrl(f"{url!r} names a database; a cluster has one: write redis+cluster://host1:6379,host2:6379")
        options.setdefault("password", secret)
        return Cluster(hosts, lambda host, port: Redis(host=host, port=port, username=user, **options), patience=0.7 * timeout)
    raise BadStoreUrl(f"{url!r} is not a store; write {FORMS}")


async def close_client(client: Client) -> None:
    """Closes its connections, and those to the sentinels, which redis-py leaves open."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    await client.aclose()
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()


def _several(url: str, port: int) -> tuple[str | None, str | None, list[tuple[str, int]], str]:
    """User, password, hosts and path of a URL that names several hosts."""
    split = urlsplit(url)
    credentials, _, places = split.netloc.rpartition("@")
    user, _, secret = credentials.partition(":")
    hosts = []
    for place in places.split(","):
        found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::(\d{1,5}))?", place)
        if found is None:
            raise BadStoreUrl(f"{place!r} in {url!r} is not host:port; write {FORMS}")
        hosts.append((found[1].strip("[]"), int(found[2] or port)))
    return unquote(user) or None, unquote(secret) or None, hosts, split.path.strip("/")
