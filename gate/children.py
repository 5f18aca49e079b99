"""The processes of one gate: started, watched, started again when they die, replaced all together, ended.

Every process that runs is known here until it has ended, whether it serves, drains, or is still coming up: nothing is left
behind, and nothing that is left behind can keep the gate from ending.
"""

import asyncio
import multiprocessing
import signal
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gate import heartbeat, logs
from gate.core.settings import Settings

log = logs.get("gate.serve")
DRAIN = 30.0  # seconds a child may take to finish what it has begun
READY = 60.0  # seconds a child may take to come up: it takes two, and on a machine that is overrun twenty
AGAIN = 1.0  # seconds before a child that died young is started again: no hot loop
_spawn = multiprocessing.get_context("spawn")
Key = tuple[str, int]


class StartError(Exception):
    """The gate, or a process of it, cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child is told. Everything in it is picklable."""

    config_path: Path
    settings: Settings
    store_url: str
    role: str  # "worker" or "operator"
    index: int  # 0 … for workers; stays the same when a child is replaced
    supervisor: int  # process id

    @property
    def key(self) -> Key:
        return self.role, self.index


@dataclass(slots=True, eq=False)
class Child:
    plan: Plan
    process: BaseProcess
    pipe: Connection  # says one thing: ready
    started: float
    ready: bool = False
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Children:
    """``sockets`` by role: what a child serves on. They stay open here, so that connections wait while a child is replaced."""

    def __init__(self, sockets: Mapping[str, socket.socket]) -> None:
        self._sockets = sockets
        self._serving: dict[Key, Child] = {}
        self._alive: set[Child] = set()  # these, their successors on the way up, and those that drain
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self, plans: Sequence[Plan]) -> None:
        """All at once. Raises :class:`StartError`; call :meth:`end` then too."""
        self._serving = {plan.key: self._launch(plan) for plan in plans}
        await asyncio.gather(*(self._until_ready(child) for child in self._serving.values()))

    async def replace(self, plans: Sequence[Plan]) -> None:
        """Bring the successors up one by one; when all of them serve, those before them drain.

        Raises :class:`StartError` when one does not come up. Then the others go, and all is as it was.
        """
        fresh: dict[Key, Child] = {}
        try:
            for plan in plans:
                fresh[plan.key] = self._launch(plan)
                await self._until_ready(fresh[plan.key])
            for child in fresh.values():
                if child.ended.is_set():
                    raise StartError(f"{child.process.name} ended again with code {child.process.exitcode}; its log says why")
        except BaseException:
            for child in fresh.values():
                self._spawn(self._retire(child))
            raise
        before, self._serving = self._serving, fresh
        for child in before.values():
            self._spawn(self._retire(child))

    async def end(self) -> None:
        """Drain and end every process there is, within :data:`DRAIN` and a few seconds."""
        self._closing = True
        await asyncio.gather(*(self._retire(child) for child in list(self._alive)))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._serving.clear()

    # ------------------------------------------------------------------ one child

    def _launch(self, plan: Plan) -> Child:
        """Raises :class:`StartError` when the system has no process for us."""
        from gate.app import run_child

        ours, theirs = _spawn.Pipe(duplex=False)
        process = _spawn.Process(
            target=run_child, args=(plan, self._sockets[plan.role], theirs), name=f"gate-{plan.role}-{plan.index}", daemon=True
        )
        # Ctrl-C goes to every process of a terminal; only the supervisor acts on it, and ends the others by SIGTERM. A child
        # inherits that the signal is blocked: it could not say so itself before Python has read its first modules.
        resource_tracker.ensure_running()  # by itself it is started with the first child, and unblocks the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        except OSError as error:
            ours.close()
            raise StartError(f"cannot start {process.name}: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        child = Child(plan, process, ours, time.monotonic())
        self._alive.add(child)
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_exit, child)
        return child

    async def _until_ready(self, child: Child) -> None:
        """Until the child has said that it serves. Raises :class:`StartError` if it ends first, or takes too long."""
        loop, spoken = asyncio.get_running_loop(), asyncio.Event()
        name, pipe = child.process.name, child.pipe
        loop.add_reader(pipe.fileno(), spoken.set)
        try:
            async with asyncio.timeout(READY):
                await spoken.wait()
                loop.remove_reader(pipe.fileno())
                try:
                    pipe.recv()
                except EOFError:  # it closed the pipe without a word
                    await child.ended.wait()
                    code = child.process.exitcode
                    raise StartError(f"{name} ended with code {code} while starting; its log says why") from None
        except TimeoutError:
            raise StartError(f"{name} was not ready within {READY:.0f} s; its log says why") from None
        finally:
            loop.remove_reader(pipe.fileno())
            pipe.close()
        child.ready = True

    def _on_exit(self, child: Child) -> None:
        asyncio.get_running_loop().remove_reader(child.process.sentinel)
        child.process.join()
        self._alive.discard(child)
        child.ended.set()
        if child.stopping or self._closing:
            return
        lived = time.monotonic() - child.started
        log.error("process_ended", process=child.process.name, code=child.process.exitcode, lived=round(lived, 1))
        if self._serving.get(child.plan.key) is child:
            self._spawn(self._start_again(child, 0.0 if lived > 5 else AGAIN))

    async def _start_again(self, dead: Child, delay: float) -> None:
        await asyncio.sleep(delay)
        if self._closing or self._serving.get(dead.plan.key) is not dead:
            return  # replaced in the meantime
        try:
            child = self._serving[dead.plan.key] = self._launch(dead.plan)
        except StartError as error:
            log.error("process_not_started", why=str(error))
            self._spawn(self._start_again(dead, AGAIN))
            return
        try:
            await self._until_ready(child)
        except StartError as error:
            log.error("process_not_ready", why=str(error))
            child.process.kill()  # and once more

    async def _retire(self, child: Child) -> None:
        """SIGTERM, time to drain, then SIGKILL. One that never served has nothing to finish."""
        child.stopping = True
        process = child.process
        if process.is_alive():
            process.terminate() if child.ready else process.kill()
        try:
            async with asyncio.timeout(DRAIN + 2):
                await child.ended.wait()
        except TimeoutError:
            log.warning("killed", process=process.name, why=f"still busy after {DRAIN:.0f} s")
            process.kill()
            await child.ended.wait()
        if child.plan.role == "worker" and process.pid is not None:
            heartbeat.remove(child.plan.settings.state / "run", child.plan.index, process.pid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
