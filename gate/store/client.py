"""redis-py's client for a store URL, with everything in it that waits or retries by itself switched off."""

import asyncio
from typing import Any

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from gate.core.store_url import FORMS, BadStoreUrl, mask_url, read_store_url
from gate.store.cluster import Cluster
from gate.store.server import Server

Client = Any  # Redis and Cluster share no typed base with evalsha, execute_command and aclose


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
    where = read_store_url(url)
    if where.scheme == "redis+cluster":
        options.setdefault("password", where.password)
        return Cluster(
            list(where.hosts),
            lambda host, port: Server(host=host, port=port, username=where.user, **options).meets_servers(in_cluster=True),
            patience=0.7 * timeout,
        )
    if where.scheme == "redis+sentinel":
        options.setdefault("password", where.password)
        sentinel: Any = Sentinels(where.hosts, sentinel_kwargs={**options, "password": None}, **options, username=where.user)
        return sentinel.master_for(where.master, redis_class=Server, db=where.database).meets_servers(in_cluster=False)
    try:
        client: Any = Server.from_url(url, **options)
    except (ValueError, TypeError) as error:  # an option after the `?` that it does not know
        raise BadStoreUrl(f"{mask_url(url)!r} is not a store ({error}); write {FORMS}") from error
    if password is not None:  # from_url lets the URL win
        client.connection_pool.connection_kwargs["password"] = password
    return client.meets_servers(in_cluster=False)


class Sentinels(Sentinel):
    """Asked for the master by one caller at a time.

    redis-py moves the sentinel that answered to the front by the place it had when it was asked: of two who ask at once, the
    second writes it over another one, which is never asked again, nor closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # redis-py has no types there
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> Any:
        async with self._asking:
            return await super().discover_master(service_name)


async def close_client(client: Client) -> None:
    """Closes its connections, and those to the sentinels, which redis-py leaves open."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    await client.aclose()
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()
