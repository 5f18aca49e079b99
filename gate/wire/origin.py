"""The origin's servers and the connections to them.

A connection is used again only after a clean end on both sides: the request was sent whole, the answer was read whole,
nothing came after it, and the origin did not say otherwise. Whoever needs a connection gets an idle one at once, or is
called back (:meth:`Caller.connected`, :meth:`Caller.failed`) when one was made or given back.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from gate.core.settings import Origin
from gate.core.settle import Trouble
from gate.wire.deadlines import Wheel
from gate.wire.uploads import Upload, Uploads
from gate.wire.upstream import OriginConnection

IDLE: Final = 4.0  # seconds an unused connection is kept: less than the 5 s after which node closes it from its side
FRESH: Final = 1.0  # seconds; a request that must not be sent twice only gets a connection used this recently
QUEUE: Final = 128  # how many requests may wait for a connection to one server
RESOLVE_EVERY: Final = 30.0  # seconds
EJECT_AFTER: Final = 3  # failed connects in a row …
EJECT_FOR: Final = 10.0  # … and a server is not chosen for this many seconds, unless none is left


class Caller(Protocol):
    """Who waits for a connection."""

    gone: bool  # does not want it any more

    def connected(self, connection: OriginConnection) -> None: ...
    def failed(self, trouble: Trouble) -> None: ...


class Server:
    """One origin server: its connections, and who waits for one."""

    def __init__(self, url: str, origins: "Origins") -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or ""
        self.tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.origins = origins
        self.idle: list[OriginConnection] = []
        self.total = 0  # connections open or being opened; tunnels are counted apart
        self.unfinished: set[Upload] = set()  # have a connection, or will get one, for a body that is still to come
        self.up = True  # by the word of the health checks
        self.failures = 0  # failed connects in a row
        self.ejected_until = 0.0  # loop time
        self._waiting: deque[tuple[float, Caller]] = deque()
        self._addresses: list[str] = []

    @property
    def outstanding(self) -> int:
        return self.total - len(self.idle) + len(self._waiting)

    def take(self, caller: Caller, idempotent: bool, fresh: bool = False) -> OriginConnection | None:
        """An idle connection now, or None: then ``caller`` is called back, exactly once unless it is gone."""
        idle = self.idle
        while idle and not fresh:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if not idempotent and connection.idle_since + FRESH < self.origins.wheel.now:
                idle.append(connection)
                break
            return connection
        if self.total < self.origins.limit:
            self._open(caller)
        elif idle:
            idle.pop(0).close()  # `lost` opens one for the first who waits
            self._wait(caller)
        else:
            self._wait(caller)
        return None

    def _wait(self, caller: Caller) -> None:
        if len(self._waiting) >= QUEUE:
            asyncio.get_running_loop().call_soon(self.origins.fail, caller, Trouble.BUSY)
        else:
            self._waiting.append((self.origins.wheel.now + self.origins.connect_timeout, caller))

    def give_back(self, connection: OriginConnection) -> None:
        """``connection`` had a clean end."""
        if self.origins.closed:
            connection.close()
            return
        while self._waiting:
            caller = self._waiting.popleft()[1]
            if not caller.gone:
                caller.connected(connection)
                return
        wheel = self.origins.wheel
        connection.idle_since = wheel.now
        self.idle.append(connection)
        due = connection.due = wheel.soon + IDLE
        if due < connection.look:
            wheel.put(connection)

    def lost(self, connection: OriginConnection) -> None:
        """``connection`` is closed."""
        if connection.tunnel is not None:
            return
        self.total -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._serve_waiting()

    def switched(self) -> None:
        """One connection has become a tunnel: it is the pool's no longer."""
        self.total -= 1
        self._serve_waiting()

    def overdue(self, now: float) -> None:
        """Those who have waited too long are told so."""
        while self._waiting and (self._waiting[0][0] <= now or self._waiting[0][1].gone):
            caller = self._waiting.popleft()[1]
            if not caller.gone:
                caller.failed(Trouble.BUSY)

    def _serve_waiting(self) -> None:
        while self._waiting and self.total < self.origins.limit and not self.origins.closed:
            caller = self._waiting.popleft()[1]
            if not caller.gone:
                self._open(caller)

    # -- opening

    def _open(self, caller: Caller) -> None:
        self.total += 1
        self.origins.spawn(self._connect(caller))

    async def _connect(self, caller: Caller) -> None:
        try:
            async with asyncio.timeout(self.origins.connect_timeout):
                connection = await self._reach()
        except (OSError, TimeoutError, ssl.SSLError):
            self.total -= 1
            self.failures += 1
            if self.failures >= EJECT_AFTER:
                self.ejected_until = self.origins.wheel.now + EJECT_FOR
            if not caller.gone:
                caller.failed(Trouble.CONNECT)
            self._serve_waiting()
            return
        except asyncio.CancelledError:
            self.total -= 1
            raise
        self.failures, self.ejected_until = 0, 0.0
        if caller.gone:
            self.give_back(connection)
        else:
            caller.connected(connection)

    async def _reach(self) -> OriginConnection:
        loop = asyncio.get_running_loop()
        if not self._addresses:
            await self.resolve()
        error: OSError | None = None
        addresses = list(self._addresses)
        for address in addresses:
            try:
                async with asyncio.timeout(self.origins.connect_timeout / len(addresses)):  # one that is silent is not all
                    _, connection = await loop.create_connection(
                        lambda: OriginConnection(self, self.origins.wheel),
                        address,
                        self.port,
                        ssl=self.origins.tls if self.tls else None,
                        server_hostname=self.host if self.tls else None,
                    )
            except OSError as caught:
                error = caught
                self._addresses = [known for known in self._addresses if known != address] + [address]
            else:
                return connection
        raise error or OSError(f"{self.host} has no address")

    async def resolve(self) -> None:
        """Look the name up again; the last answer stays when there is none."""
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=1)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        known = [address for address in self._addresses if address in addresses]  # those that work come first
        self._addresses = list(dict.fromkeys(known + addresses))


class Origins:
    """All servers of the origin, for one worker."""

    def __init__(self, settings: Origin, wheel: Wheel, tls: ssl.SSLContext | None = None) -> None:
        self.wheel = wheel
        self.limit = settings.connections
        self.connect_timeout = settings.timeouts.connect
        self.first_byte = settings.timeouts.first_byte
        self.idle_timeout = settings.timeouts.idle
        self.tunnel_idle = settings.timeouts.tunnel
        self.closed = False
        self.servers = [Server(url, self) for url in settings.servers]
        self.tls = tls
        if tls is None and any(server.tls for server in self.servers):
            self.tls = ssl.create_default_context()
            self.tls.set_alpn_protocols(["http/1.1"])
        self._tasks: set[asyncio.Task[Any]] = set()
        self.only = self.servers[0] if len(self.servers) == 1 else None
        self._random: Callable[[list[Server], int], list[Server]] = random.Random().sample  # noqa: S311 - spreads load
        self.uploads = Uploads(self)
        wheel.each_tick(self._tick)
        self._resolve_at = RESOLVE_EVERY

    def choose(self, avoid: Server | None = None) -> Server:
        """The less busy of two picked at random; while there are others, not one that is down or ejected, nor ``avoid``."""
        if self.only is not None:
            return self.only
        now = self.wheel.now
        able = [server for server in self.servers if server is not avoid]
        fit = [server for server in able if server.up and server.ejected_until <= now] or able
        if len(fit) > 1:  # two as well: of equally busy ones not always the first
            fit = self._random(fit, 2)
        return min(fit, key=lambda server: server.outstanding)

    def mark(self, url: str, up: bool) -> None:
        """What the health checks found about one server."""
        for server in self.servers:
            if server.url == url:
                server.up = up

    def fail(self, caller: Caller, trouble: Trouble) -> None:
        if not caller.gone:
            caller.failed(trouble)

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tick(self, now: float) -> None:
        for server in self.servers:
            server.overdue(now)
        self.uploads.tick(now)
        if now >= self._resolve_at:
            self._resolve_at = now + RESOLVE_EVERY
            self.spawn(self._resolve_all())

    async def _resolve_all(self) -> None:
        for server in self.servers:
            try:
                await server.resolve()
            except OSError:
                continue

    def close(self) -> None:
        """No connection is kept any more; those in use end with their exchange."""
        self.closed = True
        for server in self.servers:
            for connection in list(server.idle):
                connection.close()
        for task in self._tasks:
            task.cancel()
