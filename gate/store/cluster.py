"""A Redis Cluster as one client: every command goes to the master that holds its key's slot.

Of the Redis Cluster specification ("Redirection and resharding") this is what a gate needs: one key's slot a command, MOVED,
ASK and TRYAGAIN. redis-py's own cluster client is not used, because it takes the cluster for one thing: when one node is
lost it closes the connections to all, asks a node that may be the lost one for a list of all commands before it goes on, and
sends ASKING and the command it is meant for on two connections, with anything in between.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.commands.core import AsyncScript
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError

from gate.store.server import steady

Address = tuple[str, int]  # host, port
Node = Any  # gate.store.server.Server; most of redis-py has no types
STRAIGHT = 2  # so many times a command goes at once where it is sent
PAUSE = 0.01  # seconds between two more tries, while its keys are on their way from one node to another


class Cluster:
    """``connect`` makes the client of one node. ``patience``: seconds for which a slot that is on its way is waited for.

    A command's first key says where it goes; all its keys must share that slot. Raises what redis-py's ``Redis`` raises.
    """

    def __init__(self, hosts: list[Address], connect: Callable[[str, int], Node], *, patience: float) -> None:
        self._hosts = hosts
        self._connect = connect
        self._patience = patience
        self._nodes: dict[Address, Node] = {}
        self._masters: list[Address | None] = []  # by slot; empty until some node has been asked
        self._asking: asyncio.Task[None] | None = None

    def node_of(self, key: str) -> str:
        """Who holds ``key``, as ``host:port``, or "" while nobody has said so."""
        master = self._masters[key_slot(key.encode())] if self._masters else None
        return "" if master is None else f"{master[0]}:{master[1]}"

    async def eval(self, text: str, count: int, *keys_and_args: Any) -> Any:
        return await self.execute_command("EVAL", text, count, *keys_and_args)

    async def evalsha(self, sha: str, count: int, *keys_and_args: Any) -> Any:
        return await self.execute_command("EVALSHA", sha, count, *keys_and_args)

    async def script_load(self, text: bytes) -> Any:
        """On every master that answers."""
        if not self._masters:
            await self.refresh()
        masters = {self._node(master) for master in self._masters if master is not None}
        answers = await asyncio.gather(*(master.script_load(text) for master in masters), return_exceptions=True)
        good = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not good:
            raise ClusterDownError("no master answers")
        return good[0]

    def register_script(self, text: bytes) -> AsyncScript:
        return AsyncScript(self, text)  # type: ignore[arg-type]  # this fits Redis where a script needs one

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        key = args[3] if args[0] in ("EVAL", "EVALSHA") else args[1]
        slot = key_slot(key if isinstance(key, bytes) else str(key).encode())
        if not self._masters:
            await self.refresh()
        until = asyncio.get_running_loop().time() + self._patience
        address, asking = self._masters[slot], False
        for turn in itertools.count():
            if address is None:
                raise ClusterDownError("no node holds the key's slot")
            try:
                return await self._ask(address, asking, args, options)
            except MovedError as error:
                address, asking = (error.host or address[0], error.port), False
                self._masters[slot] = address
                self._refresh_soon()
            except AskError as error:
                address, asking = (error.host or address[0], error.port), True
            except TryAgainError:  # some of the keys are here and some are there
                address, asking = self._masters[slot], False
            if asyncio.get_running_loop().time() > until:
                raise TryAgainError("the key's slot is on its way from one node to another")
            if turn >= STRAIGHT:
                await asyncio.sleep(PAUSE)

    async def refresh(self) -> None:
        """Asks one node after the other who holds what. Raises the last one's error when none of them says.

        Several callers share one asking.
        """
        await asyncio.shield(self._refresh_soon())

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        nodes, self._nodes = list(self._nodes.values()), {}
        for node in nodes:
            await node.aclose()

    async def _ask(self, address: Address, asking: bool, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        node = self._node(address)
        if not asking:
            return await node.execute_command(*args, **options)

        async def at_once() -> Any:
            both = node.pipeline(transaction=False)  # one connection: ASKING counts for the next command on it
            both.execute_command("ASKING")
            both.execute_command(*node.named(args), **options)
            return (await both.execute(raise_on_error=False))[-1]

        answer = await steady(at_once)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._connect(*address)
        return node

    def _refresh_soon(self) -> "asyncio.Task[None]":
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh(), name="cluster slots")
            self._asking.add_done_callback(_look)
        return self._asking

    async def _refresh(self) -> None:
        known = list(self._nodes)
        random.shuffle(known)
        trouble: Exception = ClusterDownError("no node is known")
        for address in dict.fromkeys((*known, *self._hosts)):
            try:
                said = await self._node(address).execute_command("CLUSTER SLOTS")
            except (RedisError, OSError) as error:
                trouble = error
                continue
            await self._learn(said, address)
            return
        raise trouble

    async def _learn(self, said: list[Any], teller: Address) -> None:
        """Each entry: first and last slot, the master, its replicas; each node: host (empty: the teller's), port, id."""
        masters: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        seen = {*self._hosts}
        for first, last, *nodes in said:
            addresses = [((host or b"").decode() or teller[0], int(port)) for host, port, *_ in nodes]
            masters[first : last + 1] = [addresses[0]] * (last + 1 - first)
            seen.update(addresses)
        self._masters = masters
        for address in self._nodes.keys() - seen:
            gone = self._nodes.pop(address)
            with suppress(RedisError, OSError):
                await gone.aclose()
        for address in seen:
            self._node(address)  # to be asked next time; connects when it is


def _look(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # nobody may be left to ask for it
