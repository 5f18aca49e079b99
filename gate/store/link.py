"""The connection to the store: a deadline on everything, no hidden retries, and a breaker for every node.

redis-py's own defaults are unsafe here: one command to a server that accepts and never answers took 58.5 s, and a
connection reset in the middle of a reply made it run a script twice. And a command that is cancelled in flight leaves the
next user of its connection one reply off (CVE-2023-28858), so nothing in flight is ever cancelled: the caller leaves at the
deadline, the command ends by its own socket timeout.
"""

import asyncio
import math
import random
import re
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
    RedisError,
    ResponseError,
)

from gate.store.client import Client, close_client, open_client
from gate.store.cluster import Cluster

T = TypeVar("T")
PROBE_EVERY = 0.5  # seconds between two tries to reach a store that is away, plus or minus a fifth
PROBE_KEY = "gate:{probe}"
# Answers of a store that is there and cannot serve us: a replica, full, loading, not saving, stuck, locked. redis-py has
# a class for some (and cuts their first word off), the others are known by their first word.
_AWAY: tuple[type[RedisError], ...] = (
    *(BusyLoadingError, ClusterDownError, MasterDownError, NoPermissionError, OutOfMemoryError, ReadOnlyError),
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


class _Node:
    """The breaker of one node of the store, and its share of connections. A store that is one server is one node."""

    def __init__(self, connections: int) -> None:
        self.up = True
        self.trouble = ""
        self.key = PROBE_KEY  # a probe of this key says whether it is there
        self.slots = asyncio.Semaphore(connections)  # redis-py's pools raise when they are used up; we stand in line
        self.came_up = asyncio.Event()
        self.came_up.set()
        self.down_since = float("-inf")
        self.prober: asyncio.Task[None] | None = None

    def lose(self, trouble: str) -> None:
        if self.up:
            self.down_since = asyncio.get_running_loop().time()
            self.came_up.clear()
        self.up, self.trouble = False, trouble

    def recover(self) -> None:
        self.up, self.trouble = True, ""
        self.came_up.set()


class Link:
    """One per process. After a failure every call to the same node fails at once, until a probe in the background gets
    through; on a cluster the rooms on other nodes go on.
    """

    def __init__(self, url: str, password: str | None = None, *, deadline: float = 0.2, connections: int = 32) -> None:
        """``deadline``: seconds, for every answer, and for a free connection. ``connections``: at most, to each node."""
        self.url = url
        self.deadline = deadline
        self._password = password
        self._connections = connections
        self._client: Client | None = None
        self._nodes: dict[str, _Node] = {}
        self._flying: set[asyncio.Future[Any]] = set()

    @property
    def up(self) -> bool:
        """The last word about the store, all its nodes."""
        return all(node.up for node in self._nodes.values())

    @property
    def trouble(self) -> str:
        """What is wrong while ``up`` is False."""
        return next((node.trouble for node in self._nodes.values() if not node.up), "")

    @property
    def client(self) -> Client:
        """redis-py's client, or ours of a cluster. Raises :class:`StoreUnavailable` before :meth:`start` and after
        :meth:`close`."""
        if self._client is None:
            raise StoreUnavailable("the link is not started")
        return self._client

    async def start(self) -> None:
        """Opens the client and tries the store once. A store that is away is no error: see ``up``."""
        self._client = open_client(self.url, self._password, timeout=self.deadline, connections=self._connections)
        node = self._node_of(PROBE_KEY)
        if not await self._probe(node):
            self._watch(node)

    async def close(self) -> None:
        """Lets what is in flight end (by its own time-out at the latest), then closes the connections."""
        probers = [node.prober for node in self._nodes.values() if node.prober is not None]
        for prober in probers:
            prober.cancel()
        await asyncio.gather(*probers, return_exceptions=True)
        if self._flying:
            _, late = await asyncio.wait(self._flying, timeout=4 * self.deadline)
            for task in late:  # nobody will use its connection after it
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
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

        return await self.call(evaluate, keys[0])

    async def command(self, *args: str | int | float | bytes) -> Any:
        """One command; on a cluster, one whose first argument is its key. Raises :class:`StoreUnavailable`."""
        client = self.client
        return await self.call(lambda: client.execute_command(*args), str(args[1]) if len(args) > 1 else PROBE_KEY)

    async def comes_back(self, within: float, key: str = PROBE_KEY) -> bool:
        """After a failure: is the node that holds ``key`` there, or there again within so many seconds after it was lost?
        False at once when it has been away for longer: a store that hiccuped is waited for, one that is gone is not."""
        node = self._node_of(key)
        if not node.up:
            left = node.down_since + within - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(node.came_up.wait(), left)
        return node.up

    async def call(self, operation: Callable[[], Awaitable[T]], key: str = PROBE_KEY) -> T:
        """``operation``, which is about ``key``, under the deadline and the breaker. Raises :class:`StoreUnavailable`."""
        node = self._node_of(key)
        if not node.up:
            raise StoreUnavailable(node.trouble)
        node.key = key
        try:
            return await self._under_deadline(node, operation)
        finally:
            if not node.up:
                self._watch(node)

    def _node_of(self, key: str) -> _Node:
        name = self._client.node_of(key) if isinstance(self._client, Cluster) else ""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = _Node(self._connections)
        return node

    async def _under_deadline(self, node: _Node, operation: Callable[[], Awaitable[T]]) -> T:
        """So long for a connection, and so long for the answer. A node is lost by the answer it owes, not by our own queue."""
        loop = asyncio.get_running_loop()
        give_up, sent = loop.time() + self.deadline, math.inf

        async def in_a_slot() -> T:
            nonlocal sent
            async with node.slots:
                if loop.time() > give_up:  # the caller has left; do not start it behind its back
                    raise StoreUnavailable(busy)
                sent = loop.time()
                return await operation()

        busy = f"no connection was free within {self.deadline:g} s"
        task = asyncio.create_task(in_a_slot())
        self._flying.add(task)
        task.add_done_callback(self._landed)
        done, _ = await asyncio.wait({task}, timeout=self.deadline)
        if not done and sent == math.inf:
            raise StoreUnavailable(busy)
        if not done and (left := sent + self.deadline - loop.time()) > 0:
            done, _ = await asyncio.wait({task}, timeout=left)
        trouble: str
        if not done:
            trouble = f"no answer within {self.deadline:g} s"
            node.lose(trouble)
            raise StoreUnavailable(trouble)
        try:
            return task.result()
        except (RedisError, OSError) as error:  # redis-py's time-outs and Python's are among them
            trouble = str(error) or type(error).__name__
            if not isinstance(error, ResponseError) or isinstance(error, _AWAY) or trouble.startswith(_AWAY_WORDS):
                node.lose(trouble)
            raise StoreUnavailable(trouble) from error

    def _landed(self, task: "asyncio.Future[Any]") -> None:
        self._flying.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask for it

    async def _probe(self, node: _Node) -> bool:
        what, client, key = script("probe"), self.client, probe_key(node.key)

        async def probe() -> None:
            if isinstance(client, Cluster):
                await client.refresh()  # another may hold its keys by now
            await client.eval(what.text, 1, key)

        try:
            await self._under_deadline(node, probe)
        except StoreUnavailable as error:
            node.lose(str(error))
            return False
        node.recover()
        return True

    def _watch(self, node: _Node) -> None:
        if node.prober is None or node.prober.done():
            node.prober = asyncio.create_task(self._until_it_is_back(node), name="store probe")

    async def _until_it_is_back(self, node: _Node) -> None:
        """Tries at once after a failure (a restart leaves dead connections, not a dead store), then now and then."""
        while not await self._probe(node):  # noqa: ASYNC110 - nobody tells us when it is
            await asyncio.sleep(PROBE_EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the gates' probes


def probe_key(key: str) -> str:
    """A key of our own beside ``key``: on a cluster, in the same slot."""
    tag = re.search(r"\{([^}]+)\}", key)
    return f"gate:{{{tag[1] if tag else key}}}:probe"
