"""The connection to the store: a deadline on everything, no hidden retries, and a breaker.

redis-py's own defaults are unsafe here: one command to a server that accepts and never answers took 58.5 s, and a
connection reset in the middle of a reply made it run a script twice. And a command that is cancelled in flight leaves the
next user of its connection one reply off (CVE-2023-28858), so nothing in flight is ever cancelled: the caller leaves at the
deadline, the command ends by its own socket timeout.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from gate.store.client import Client, close_client, open_client

T = TypeVar("T")
PROBE_EVERY = 0.5  # seconds between two tries to reach a store that is away, plus or minus a fifth
PROBE_KEY = "gate:{probe}"
# Answers of a store that is there and cannot serve us: a replica, full, loading, not saving, stuck, locked. redis-py has
# a class for some (and cuts their first word off), the others are known by their first word.
_AWAY: tuple[type[RedisError], ...] = (
    *(BusyLoadingError, ClusterDownError, MasterDownError, NoPermissionError, OutOfMemoryError),
    *(ReadOnlyError, TryAgainError),
)
_AWAY_WORDS = ("BUSY ", "MISCONF ", "NOREPLICAS ", "NOAUTH ", "WRONGPASS ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN ")


class StoreUnavailable(Exception):
    """The store did not answer in time, or cannot take writes. What was asked may or may not have happened."""


class Script:
    """One file of ``gate/store/lua``, with the shared part it includes."""

    def __init__(self, name: str) -> None:
        folder = files("gate.store") / "lua"
        text = (folder / f"{name}.lua").read_text()
        lines = []
        for line in text.splitlines():
            if line.startswith("-- @include "):
                lines.append((folder / f"{line.split()[-1]}.lua").read_text())
            else:
                lines.append(line)
        self.text = "\n".join(lines)
        self.sha = sha1(self.text.encode()).hexdigest()  # noqa: S324 - the name EVALSHA knows it by


@lru_cache
def script(name: str) -> Script:
    return Script(name)


class Link:
    """One per process. ``up`` is the last word about the store, ``trouble`` says what was wrong when it is False.

    After a failure every call fails at once, until a probe in the background gets through.
    """

    def __init__(self, url: str, password: str | None = None, *, deadline: float = 0.2, connections: int = 32) -> None:
        self.url = url
        self.deadline = deadline
        self.up = True
        self.trouble = ""
        self._password = password
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)  # redis-py's pools raise when they are used up; we stand in line
        self._client: Client | None = None
        self._flying: set[asyncio.Future[Any]] = set()
        self._went_down = asyncio.Event()
        self._came_up = asyncio.Event()
        self._down_since = float("-inf")
        self._prober: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """redis-py's client. Raises :class:`StoreUnavailable` before :meth:`start` and after :meth:`close`."""
        if self._client is None:
            raise StoreUnavailable("the link is not started")
        return self._client

    async def start(self) -> None:
        """Opens the client and tries the store once. A store that is away is no error: see ``up``."""
        self._client = open_client(self.url, self._password, timeout=self.deadline, connections=self._connections)
        self.up = await self._probe()
        if not self.up:
            self._went_down.set()
        self._came_up.set()
        self._prober = asyncio.create_task(self._watch(), name="store probe")

    async def close(self) -> None:
        """Lets what is in flight end (by its own time-out at the latest), then closes the connections."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
            self._prober = None
        if self._flying:
            await asyncio.wait(self._flying, timeout=4 * self.deadline)
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    async def run(self, name: str, keys: list[str], args: list[str | int | float | bytes]) -> Any:
        """Runs ``gate/store/lua/<name>.lua``. Raises :class:`StoreUnavailable`."""
        what, client = script(name), self.client

        async def evaluate() -> Any:
            try:
                return await client.evalsha(what.sha, len(keys), *keys, *args)
            except NoScriptError:  # restarted or flushed; the script has not run
                return await client.eval(what.text, len(keys), *keys, *args)

        return await self.call(evaluate)

    async def command(self, *args: str | int | float | bytes) -> Any:
        """One command. Raises :class:`StoreUnavailable`."""
        client = self.client
        return await self.call(lambda: client.execute_command(*args))

    async def comes_back(self, within: float) -> bool:
        """After a failure: is the store there, or there again within so many seconds after it was lost? False at once when it
        has been away for longer: a store that hiccuped is waited for, one that is gone is not."""
        if not self.up:
            left = self._down_since + within - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came_up.wait(), left)
        return self.up

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """``operation`` under the deadline and the breaker. Raises :class:`StoreUnavailable`."""
        if not self.up:
            raise StoreUnavailable(self.trouble)
        return await self._under_deadline(operation)

    async def _under_deadline(self, operation: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.create_task(self._in_a_slot(operation))
        self._flying.add(task)
        task.add_done_callback(self._landed)
        done, _ = await asyncio.wait({task}, timeout=self.deadline)
        if not done:
            raise self._failed(f"no answer within {self.deadline:g} s")
        try:
            return task.result()
        except ResponseError as error:
            if isinstance(error, _AWAY) or str(error).startswith(_AWAY_WORDS):
                raise self._failed(str(error)) from error
            raise StoreUnavailable(str(error)) from error
        except (RedisError, RedisClusterException, OSError) as error:  # redis-py's time-outs and Python's are among them
            raise self._failed(str(error) or type(error).__name__) from error

    async def _in_a_slot(self, operation: Callable[[], Awaitable[T]]) -> T:
        give_up = asyncio.get_running_loop().time() + self.deadline
        async with self._slots:
            if asyncio.get_running_loop().time() > give_up:  # the caller has left; do not start it behind its back
                raise StoreUnavailable("no connection was free in time")
            return await operation()

    def _failed(self, trouble: str) -> StoreUnavailable:
        if self.up:
            self._down_since = asyncio.get_running_loop().time()
            self._came_up.clear()
        self.up, self.trouble = False, trouble
        self._went_down.set()
        return StoreUnavailable(trouble)

    def _landed(self, task: "asyncio.Future[Any]") -> None:
        self._flying.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask for it

    async def _probe(self) -> bool:
        what, client = script("probe"), self.client
        try:
            await self._under_deadline(lambda: client.eval(what.text, 1, PROBE_KEY))
        except StoreUnavailable:
            return False
        return True

    async def _watch(self) -> None:
        """Tries at once after a failure (a restart leaves dead connections, not a dead store), then now and then."""
        while True:
            await self._went_down.wait()
            if await self._probe():
                self._went_down.clear()
                self.up, self.trouble = True, ""
                self._came_up.set()
            else:
                await asyncio.sleep(PROBE_EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the gates' probes
