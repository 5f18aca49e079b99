"""The supervisor: one parent that starts, watches, replaces and drains the processes of a gate.

The parent binds every listening socket and lends it to its children, so that no connection is lost when a child dies or is
replaced: the kernel keeps new connections in the backlog of a socket that stays open. It serves nothing itself.

=========================  ==========================================================
signal to the parent       what happens
=========================  ==========================================================
SIGTERM, SIGINT            children drain (requests in flight finish), then all ends
SIGHUP, changed config     the config is examined; if good, successors come up one by
                           one, and when all of them serve, the children drain
=========================  ==========================================================
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import IO, Any

from gate import config, examination, heartbeat, logs, private
from gate.children import Children, Plan, StartError
from gate.core.settings import Settings
from gate.keys import BadKeyFile, ensure_keyring
from gate.operators import BadOperators, Operators
from gate.private import Unsafe
from gate.process import take_all_files
from gate.store.embedded import Embedded, EmbeddedError
from gate.web import metrics
from gate.wire.crowd import most_connections

log = logs.get("gate.serve")
STORE_LOOK = 0.5  # seconds between two looks at the embedded store
BACKLOG = 4096
__all__ = ["StartError", "Supervisor", "bind"]


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
    config_path: the file that the start and every reload read.
    settings: the validated content of it, with what the command line overrides.
    amend: applied to freshly read settings, so that command-line overrides stay in force.
    """

    def __init__(self, config_path: Path, settings: Settings, amend: Callable[[Settings], Settings] = lambda s: s) -> None:
        self.config_path = config_path
        self.settings = settings
        self.new_token: str | None = None  # the operator token made at the very first start
        self._amend = amend
        self._sockets: dict[str, socket.socket] = {}
        self._children = Children(self._sockets)
        self._lock: IO[bytes] | None = None
        self._embedded: Embedded | None = None
        self._store_url = settings.store
        self._closing = asyncio.Event()
        self._reload = asyncio.Event()
        self._asked = False  # by a signal: then a reload is done even if the file has not changed
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Everything up and every child ready. Raises :class:`StartError`; then nothing is left running."""
        read = config.digest(self.config_path)  # before it is examined: an edit in between is then seen as a change
        report = examination.examine(self.config_path)
        if report.settings is None:
            raise StartError(str(config.ConfigError(report.errors)))
        self.settings = self._amend(report.settings)
        self._store_url = self.settings.store
        self._prepare(self.settings.state)
        self._warn(report.warnings)
        take_all_files()
        if (most := most_connections(self.settings)) < self.settings.visitors.connections:
            log.info("few_open_files", connections=most, why="each worker takes no more: the hard limit of open files is low")
        try:
            self._sockets["worker"] = bind(self.settings.listen)
            self._sockets["operator"] = bind(self.settings.operator.listen)
            if self.settings.store == "embedded":
                self._embedded = Embedded(self.settings.state / "store", persist=True)
                self._store_url = self._embedded.start()
            await self._children.start(self._plans(self.settings))
            self.new_token = self._first_token()  # last: a start that fails must not use it up unseen
        except BaseException as error:
            await self.stop()
            if isinstance(error, EmbeddedError):
                raise StartError(str(error)) from error
            raise
        self._tasks = [
            asyncio.create_task(_logged("watch_config", self._watch_config(read))),
            asyncio.create_task(_logged("reload", self._reload_when_asked())),
            asyncio.create_task(_logged("keep_store", self._keep_store())),
        ]

    def _prepare(self, state: Path) -> None:
        """The state directory with keys, this machine's credential and an empty place for what the processes say."""
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
            Operators(state).start()
            metrics.wipe(state / "run" / "metrics")
            heartbeat.wipe(state / "run")
            self._tell(None)
        except OSError as error:
            raise _unusable(state, error) from error
        except (BadKeyFile, BadOperators, Unsafe) as error:
            raise StartError(str(error)) from error

    def _first_token(self) -> str | None:
        try:
            return Operators(self.settings.state).first()
        except OSError as error:
            raise _unusable(self.settings.state, error) from error

    async def wait(self) -> None:
        """Until somebody asks to stop."""
        await self._closing.wait()

    def ask_to_stop(self) -> None:
        self._closing.set()

    def ask_to_reload(self) -> None:
        self._asked = True
        self._reload.set()

    async def stop(self) -> None:
        """Drain and end every child, then the store."""
        self._closing.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # a reload under way takes its own children away
        await self._children.end()
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
        starting, asked = asyncio.ensure_future(self.start()), asyncio.ensure_future(self.wait())
        await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():  # asked to stop before anything is up
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return
        await starting
        try:
            started(self)
            await self.wait()
        finally:
            await self.stop()

    def _plans(self, settings: Settings) -> list[Plan]:
        wanted = [("operator", 0), *(("worker", index) for index in range(settings.workers))]
        return [Plan(self.config_path, settings, self._store_url, role, index, os.getpid()) for role, index in wanted]

    async def _keep_store(self) -> None:
        """The embedded store is started again when it ends; workers find it by themselves."""
        while self._embedded is not None:
            await asyncio.sleep(STORE_LOOK)
            if not self._closing.is_set() and not self._embedded.alive:
                log.error("store_ended")
                try:
                    self._embedded.start()
                except (EmbeddedError, OSError) as error:
                    log.error("store_not_started", why=str(error))

    # ------------------------------------------------------------------ reload

    def _warn(self, warnings: Sequence[object]) -> None:
        for warning in warnings:
            log.warning("config_warning", text=str(warning))

    async def _watch_config(self, read: bytes | None) -> None:
        async for _ in config.changes(self.config_path, read):
            self._reload.set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            asked, self._asked = self._asked, False
            try:
                await self._take_config(even_if_same=asked)
            except Exception:  # whatever it was, the next config may be better
                log.exception("reload_failed")

    async def _take_config(self, *, even_if_same: bool) -> None:
        """Run with what the file says now, or change nothing. Files that it names (a certificate, a logo) are read again."""
        report = await asyncio.to_thread(examination.examine, self.config_path)
        if report.settings is None:
            problems = [str(problem) for problem in report.errors]
            log.error("config_refused", problems=problems)
            self._tell("The config file has mistakes, and the last good one stays in force: " + " ".join(problems))
            return
        self._warn(report.warnings)
        settings = self._amend(report.settings)
        for setting in examination.need_restart(self.settings, settings):
            log.warning("config_needs_restart", setting=setting)
        settings = examination.with_fixed(self.settings, settings)
        if even_if_same or settings != self.settings:
            try:
                await self._children.replace(self._plans(settings))
            except StartError as error:
                log.error("reload_stuck", why=str(error))
                self._tell(f"The last reload failed, and the config before it stays in force: {error}.")
                return
            self.settings = settings
            log.info("config_applied", file=str(self.config_path))
        self._tell(None)

    def _tell(self, problem: str | None) -> None:
        """To the operator process, which shows it; it cannot see by itself what became of a reload."""
        try:
            examination.tell(self.settings.state / "run", problem)
        except OSError as error:
            log.warning("reload_not_told", why=error.strerror)


async def _logged(name: str, work: Coroutine[Any, Any, None]) -> None:
    """The gate goes on without what failed; that it did must not stay unknown."""
    try:
        await work
    except Exception:
        log.exception("background_failed", work=name)
