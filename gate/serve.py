"""The supervisor: one parent that starts, watches, replaces and drains the processes of a gate.

The parent binds every listening socket and lends it to its children, so that no connection is lost when a child dies or is
replaced: the kernel keeps new connections in the backlog of a socket that stays open. It serves nothing itself.

=========================  ==========================================================
signal to the parent       what happens
=========================  ==========================================================
SIGTERM, SIGINT            children drain (requests in flight finish), then all ends
SIGHUP, changed config     the config is checked; if good, children are replaced one
                           by one, each only after its successor is ready
=========================  ==========================================================
"""

import asyncio
import fcntl
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from gate import config, logs, private
from gate.core.settings import Settings
from gate.keys import BadKeyFile, ensure_keyring
from gate.operators import BadOperators, ensure_operators
from gate.private import Unsafe
from gate.store.embedded import Embedded, EmbeddedError
from gate.web import metrics
from gate.web.artwork import PageError
from gate.web.pages import Pages

log = logs.get("gate.serve")
DRAIN = 30.0  # seconds a child may take to finish what it has begun
STORE_LOOK = 0.5  # seconds between two looks at the embedded store
READY = 20.0  # seconds a child may take to come up
BACKLOG = 4096
_FIXED = ("listen", "operator", "store", "state")  # these hold sockets and files: a change needs a restart
_spawn = multiprocessing.get_context("spawn")


class StartError(Exception):
    """The gate cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child is told. Everything in it is picklable."""

    config_path: Path
    settings: Settings
    store_url: str
    role: str  # "worker" or "operator"
    index: int  # 0 … for workers; stays the same when a child is replaced
    supervisor: int  # process id


@dataclass(slots=True)
class Child:
    plan: Plan
    process: BaseProcess
    pipe: Connection  # says one thing: ready
    started: float
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def _unusable(state: Path, error: OSError) -> StartError:
    return StartError(f"cannot use the state directory {state}: {error.strerror}; choose another with `state:`")


def bind(address: str) -> socket.socket:
    """A listening TCP socket on ``host:port``. Raises :class:`StartError`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, proto, _, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(
            f"cannot listen on {address}: {why}; stop what uses it, or choose another address in the config"
        ) from error
    sock.setblocking(False)
    return sock


class Supervisor:
    """Runs one gate: ``await start()``, then ``await wait()``, then ``await stop()``; or :meth:`run` for all three.

    Parameters
    ----------
    config_path: the file that a reload reads again.
    settings: the validated content of it, with what the command line overrides.
    amend: applied to freshly loaded settings on a reload, so that command-line overrides stay in force.
    """

    def __init__(self, config_path: Path, settings: Settings, amend: Callable[[Settings], Settings] = lambda s: s) -> None:
        self.config_path = config_path
        self.settings = settings
        self.new_token: str | None = None  # the operator token made at the very first start
        self._amend = amend
        self._children: dict[tuple[str, int], Child] = {}
        self._retired: set[Any] = set()
        self._sockets: dict[str, socket.socket] = {}
        self._lock: IO[bytes] | None = None
        self._embedded: Embedded | None = None
        self._store_url = settings.store
        self._closing = asyncio.Event()
        self._reload = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Everything up and every child ready. Raises :class:`StartError`; then nothing is left running."""
        try:
            Pages(self.settings)
        except PageError as error:
            raise StartError(str(error)) from error
        self._prepare(self.settings.state)
        self._warn(config.examine(self.config_path).warnings)
        try:
            self._sockets["worker"] = bind(self.settings.listen)
            self._sockets["operator"] = bind(self.settings.operator.listen)
            if self.settings.store == "embedded":
                self._embedded = Embedded(self.settings.state / "store", persist=True)
                self._store_url = self._embedded.start()
            for key in self._wanted():
                self._launch(*key)
            async with asyncio.timeout(READY):
                await asyncio.gather(*(self._ready(child) for child in self._children.values()))
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise StartError(f"a process was not ready within {READY:.0f} s; its log says why") from error
            if isinstance(error, EmbeddedError):
                raise StartError(str(error)) from error
            raise
        work = (self._watch_config(), self._reload_when_asked(), self._keep_store())
        self._tasks = [asyncio.create_task(item) for item in work]

    def _prepare(self, state: Path) -> None:
        """The state directory with keys, operators and an empty place for what the processes say."""
        try:
            private.make_directory(private.make_directory(state) / "run")
            self._lock = (state / "run" / "gate.lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(f"another gate runs with the state directory {state}; give this one its own `state:`") from error
        except OSError as error:
            raise _unusable(state, error) from error
        try:
            ensure_keyring(state)
            self.new_token = ensure_operators(state)
            metrics.wipe(state / "run" / "metrics")
        except OSError as error:
            raise StartError(
                f"cannot use the state directory {state}: {error.strerror}; choose another with `state:`"
            ) from error
        except (BadKeyFile, BadOperators, Unsafe) as error:
            raise StartError(str(error)) from error

    async def wait(self) -> None:
        """Until somebody asks to stop."""
        await self._closing.wait()

    def ask_to_stop(self) -> None:
        self._closing.set()

    def ask_to_reload(self) -> None:
        self._reload.set()

    async def stop(self) -> None:
        """Drain and end every child, then the store."""
        self._closing.set()
        for task in self._tasks:
            task.cancel()
        children = list(self._children.values())
        await asyncio.gather(*(self._retire(child) for child in children))
        self._children.clear()
        for sock in self._sockets.values():
            sock.close()
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None
        if self._lock is not None:
            self._lock.close()

    async def run(self, started: Callable[["Supervisor"], None] = lambda _: None) -> None:
        """Start, call ``started``, serve until SIGTERM or SIGINT, stop."""
        loop = asyncio.get_running_loop()
        for number, act in (
            (signal.SIGTERM, self.ask_to_stop),
            (signal.SIGINT, self.ask_to_stop),
            (signal.SIGHUP, self.ask_to_reload),
        ):
            loop.add_signal_handler(number, act)
        await self.start()
        try:
            started(self)
            await self.wait()
        finally:
            await self.stop()

    # ------------------------------------------------------------------ children

    def _wanted(self) -> list[tuple[str, int]]:
        return [("operator", 0), *(("worker", index) for index in range(self.settings.workers))]

    def _launch(self, role: str, index: int) -> Child:
        from gate.app import run_child

        plan = Plan(self.config_path, self.settings, self._store_url, role, index, os.getpid())
        ours, theirs = _spawn.Pipe(duplex=False)
        process = _spawn.Process(target=run_child, args=(plan, self._sockets[role], theirs), name=f"gate-{role}-{index}")
        process.start()
        theirs.close()
        child = Child(plan, process, ours, time.monotonic())
        self._children[role, index] = child
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_exit, child)
        return child

    async def _ready(self, child: Child) -> None:
        """Until the child has said that it serves. Raises :class:`StartError` if it ends first."""
        loop, spoken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(child.pipe.fileno(), spoken.set)
        try:
            await spoken.wait()
        finally:
            loop.remove_reader(child.pipe.fileno())
        try:
            child.pipe.recv()
        except EOFError:  # it closed the pipe without a word
            child.process.join(1)
            code = child.process.exitcode
            raise StartError(f"{child.process.name} ended with code {code} while starting; its log says why") from None

    def _on_exit(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(child.process.sentinel)
        child.process.join()
        child.ended.set()
        if child.stopping or self._closing.is_set():
            return
        lived = time.monotonic() - child.started
        log.error("process_ended", process=child.process.name, code=child.process.exitcode, lived=round(lived, 1))
        delay = 0.0 if lived > 5 else 1.0  # a child that dies at once is not started in a hot loop
        loop.call_later(delay, self._replace_dead, child)

    def _replace_dead(self, child: Child) -> None:
        key = child.plan.role, child.plan.index
        if not self._closing.is_set() and self._children.get(key) is child:
            self._launch(*key)

    async def _retire(self, child: Child) -> None:
        """SIGTERM, time to drain, then SIGKILL."""
        child.stopping = True
        process = child.process
        if process.is_alive():
            process.terminate()
        try:
            async with asyncio.timeout(DRAIN + 2):
                await child.ended.wait()
        except TimeoutError:
            log.warning("killed", process=process.name, why=f"still busy after {DRAIN:.0f} s")
            process.kill()
            await child.ended.wait()

    async def _keep_store(self) -> None:
        """The embedded store is started again when it ends; workers find it by themselves."""
        while self._embedded is not None:
            await asyncio.sleep(STORE_LOOK)
            if not self._closing.is_set() and not self._embedded.alive:
                log.error("store_ended")
                try:
                    self._embedded.start()
                except EmbeddedError as error:
                    log.error("store_not_started", why=str(error))

    # ------------------------------------------------------------------ reload

    def _warn(self, warnings: Sequence[object]) -> None:
        for warning in warnings:
            log.warning("config_warning", text=str(warning))

    async def _watch_config(self) -> None:
        async for _ in config.changes(self.config_path):
            self._reload.set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                settings = self._amend(config.load(self.config_path))
                Pages(settings)
            except config.ConfigError as error:
                log.error("config_refused", problems=[str(problem) for problem in error.problems])
                continue
            except PageError as error:
                log.error("config_refused", problems=[str(error)])
                continue
            self._warn(config.examine(self.config_path).warnings)
            for problem in self._unchangeable(settings):
                log.warning("config_needs_restart", setting=problem)
            settings = settings.model_copy(update={name: getattr(self.settings, name) for name in _FIXED})
            if settings == self.settings:
                continue
            self.settings = settings
            try:
                await self._roll()
            except StartError as error:
                log.error("reload_stuck", why=str(error))

    def _unchangeable(self, new: Settings) -> list[str]:
        """What the new file changes that a reload cannot."""
        return [name for name in _FIXED if getattr(new, name) != getattr(self.settings, name)]

    async def _roll(self) -> None:
        """Replace every child, one by one, each only when its successor serves."""
        before = dict(self._children)
        for key in self._wanted():
            old = self._children.pop(key, None)
            fresh = self._launch(*key)
            async with asyncio.timeout(READY):
                await self._ready(fresh)
            if old is not None:
                self._retire_later(old)
        for key in before.keys() - set(self._wanted()):
            self._retire_later(self._children.pop(key))
        log.info("config_applied", file=str(self.config_path))

    def _retire_later(self, child: Child) -> None:
        task = asyncio.create_task(self._retire(child))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)
