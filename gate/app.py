"""The composition root: what a worker and the operator's process are made of."""

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import fields
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from gate import heartbeat, logs
from gate.backend import Backend, OrdersFile
from gate.children import DRAIN, Plan
from gate.core.credentials import Ids
from gate.core.draw import commitment
from gate.core.line import RoomState, tag_of
from gate.core.settings import Room, Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.standin import Share
from gate.core.words import Switch
from gate.edges import trust_for
from gate.engine import Engine
from gate.keys import Keys
from gate.process import die_with_parent
from gate.serve import BACKLOG
from gate.store.line import Line
from gate.store.link import Link, StoreUnavailable
from gate.store.local import Policy
from gate.store.memory import ROOMS_FILE, Memory
from gate.store.orders import OrdersStore
from gate.store.quotas import Quotas
from gate.web import metrics
from gate.web.emails import Emails
from gate.web.operator import operator_app
from gate.web.pages import Pages
from gate.web.unlisted import Unlisted
from gate.web.visitor import visitor_app
from gate.wire.door import LAST_CALL, Door, ServerState
from gate.wire.health import Checker
from gate.wire.listening import Listener

LINGER = 0.3  # seconds between the last accept and the first close
TICK = 0.25  # seconds between two looks at the store
COLLECT_AFTER = 10_000  # new objects between two collections of the young ones; Python's own is 700


def run_child(plan: Plan, sock: socket.socket, pipe: Connection) -> None:
    """The body of every child process: serve on ``sock`` until SIGTERM; one message into ``pipe`` when ready."""
    die_with_parent(plan.supervisor)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(plan.settings.log)
    uvloop.run(_serve(plan, sock, pipe))


async def _serve(plan: Plan, sock: socket.socket, pipe: Connection) -> None:
    common: dict[str, Any] = {
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": int(DRAIN),
        "backlog": BACKLOG,  # uvicorn's own is shorter, and a connection too many waits a second for its next try
    }
    leaving: Callable[[], None] | None = None
    listen: Callable[[socket.socket, ServerState], Listener] | None = None
    async with contextlib.AsyncExitStack() as stack:
        if plan.role == "worker":
            door, pulse = await stack.enter_async_context(worker(plan))
            leaving = pulse.stop
            tls = plan.settings.tls
            if tls is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(tls.certificate, tls.key)
                listen = partial(Listener, door, context)
            # uvicorn calls whatever it is given to make the protocol of a connection; a class is only the usual case
            config = uvicorn.Config(door.app, http=door.protocol, ws="none", **common)  # type: ignore[arg-type]  # see above
        else:
            config = uvicorn.Config(await stack.enter_async_context(operator(plan)), http="h11", ws="none", **common)
        await _Server(config, lambda: pipe.send("ready"), leaving, listen).serve(sockets=[sock])


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it serves, and when it begins to drain."""

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        leaving: Callable[[], None] | None,
        listen: Callable[[socket.socket, ServerState], Listener] | None,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._leaving = leaving
        self._listen = listen
        self._listeners: list[Listener] = []
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()

    async def main_loop(self) -> None:
        """Until a signal comes. uvicorn's looks ten times a second whether one has: half of what the operator process does."""
        if not await self.on_tick(0):
            await self._told.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._listen is None or sockets is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._listeners = [self._listen(sock, self.server_state) for sock in sockets]
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts nothing more; what was accepted a moment ago gets the time to say what it wants."""
        if self._leaving is not None:
            self._leaving()
        for server in self.servers:
            server.close()
        self.servers = []  # uvicorn would wait for each
        for listener in self._listeners:
            await listener.close(LAST_CALL)
        await asyncio.sleep(LINGER)
        await super().shutdown(sockets)


# --------------------------------------------------------------------------- a worker


@contextlib.asynccontextmanager
async def worker(plan: Plan) -> AsyncIterator[tuple[Door, "Pulse"]]:
    """Everything that serves visitors, with its background work running, and what the worker says of itself."""
    settings, state = plan.settings, plan.settings.state
    link = Link(plan.store_url, _password(settings))
    memory = Memory(state / ROOMS_FILE)
    keys = Keys(state)
    meter = metrics.Meter(state / "run" / "metrics", settings.rooms)
    engine = Engine(
        settings,
        keys.ring,
        trust_for(settings.edge, state),
        lines={name: Line(link, name, new_id=Ids(os.urandom), memory=memory) for name in settings.rooms},
        quotas=Quotas(link),
        pages=Pages(settings),
        meter=meter,
        access=logs.AccessLog(settings.log, random.random) if settings.log.access != "off" else None,
        without_store=_without_store(plan),
    )
    emails = Emails(state / "emails.db")
    await link.start()
    follow = OrdersFollower(OrdersStore(link, clock=engine.now), state, engine)
    await follow.once()
    await engine.refresh()
    log, known_problem = logs.get("gate.app"), [keys.problem]
    unlisted = Unlisted(lambda edge: log.warning("question_refused", edge=edge, why="it is not in edge.ask"))
    door = Door(engine, visitor_app(engine, emails, unlisted))
    pulse = Pulse(plan, engine, door, unlisted)

    async def each_second() -> None:
        if keys.reload():
            engine.keyring = keys.ring
        if keys.problem != known_problem[0]:
            known_problem[0] = keys.problem
            log.error("keys_not_read", why=keys.problem) if keys.problem else log.info("keys_read")
        meter.flush()
        if memory.has_news:
            await asyncio.to_thread(memory.save)
        pulse.beat()

    async with background(
        _every(TICK, engine.refresh),
        _every(TICK * 2, follow.once),
        _every(heartbeat.EVERY, each_second),
        Checker(settings, engine.shop.health, pulse.server).run(),
    ):
        async with door:
            _keep_what_is_here()
            pulse.beat()  # before it serves: from now on it has the word, not the one it replaces
            yield door, pulse
        await engine.drain()
    meter.close()
    emails.close()
    heartbeat.remove(state / "run", plan.index, os.getpid())
    await link.close()


class Pulse:
    """What this worker says of itself once a second."""

    def __init__(self, plan: Plan, engine: Engine, door: Door, unlisted: Unlisted) -> None:
        self._plan = plan
        self._engine = engine
        self._door = door
        self._unlisted = unlisted
        self._started = self._since = engine.now()
        self._condition = heartbeat.Condition.NORMAL
        self._servers: dict[str, bool] = {}
        self._silent = False
        self._config = hashlib.sha256(plan.settings.model_dump_json(by_alias=True).encode()).hexdigest()[:12]

    def server(self, url: str, up: bool) -> None:
        """An origin server went up or down."""
        self._servers[url] = up
        self._door.origin.mark(url, up)
        self._engine.compose()  # the fallback does not wait for the next look at the store

    def stop(self) -> None:
        """The worker drains: it accepts nobody new, and nothing more is said of it."""
        self._silent = True
        self._engine.leave()
        heartbeat.remove(self._plan.settings.state / "run", self._plan.index, os.getpid())

    def beat(self) -> None:
        if self._silent:
            return
        engine, snapshot, tick = self._engine, self._engine.snapshot, self._engine.ticks()
        condition = condition_of(snapshot)
        if condition is not self._condition:
            self._condition, self._since = condition, engine.now()
        heartbeat.write(
            self._plan.settings.state / "run",
            heartbeat.Beat(
                worker=self._plan.index,
                pid=os.getpid(),
                time=engine.now(),
                started=self._started,
                condition=condition,
                since=self._since,
                orders=engine.orders.version,
                config=self._config,
                key=engine.keyring.newest.id,
                taken=engine.told_at,
                store_up=snapshot.store_up,
                origin_up=snapshot.origin_up,
                servers=self._servers,
                in_flight=engine.shop.overload.current,
                connections=len(self._door.connections),
                overload=snapshot.overload,
                breakers={name: breaker.shown(tick).value for name, breaker in engine.shop.breakers.items()},
                unlisted=self._unlisted.edges(engine.now()),
                rooms={
                    name: _room_beat(view, engine.settings.rooms[name], engine.told(name))
                    for name, view in snapshot.rooms.items()
                },
            ),
        )


def _without_store(plan: Plan) -> Policy | None:
    """What this worker does when the store is away for long. None: let nobody in."""
    settings = plan.settings
    if settings.without_store.then == "closed":
        return None
    log = logs.get("gate.app")

    def changed(room: str, begins: bool, admitted: int) -> None:
        if begins:
            log.warning("local_share_begins", room=room)
        else:
            log.info("local_share_ends", room=room, admitted=admitted)

    share = Share(plan.index, settings.workers, settings.without_store.gates)
    return Policy(settings.without_store.closed, share, settings.state / "local", changed)


def condition_of(snapshot: Snapshot) -> heartbeat.Condition:
    """The worst that holds."""
    if snapshot.fallback is Switch.ON:
        return heartbeat.Condition.ORDERED
    if not snapshot.origin_up:
        return heartbeat.Condition.ORIGIN_DOWN
    if snapshot.store_up:
        return heartbeat.Condition.NORMAL
    return heartbeat.Condition.LOCAL_SHARE if snapshot.local else heartbeat.Condition.STORE_AWAY


def _room_beat(view: RoomView, room: Room, told: RoomState) -> heartbeat.RoomBeat:
    names = {field.name for field in fields(heartbeat.RoomBeat)} - {"commitment", "seed", "left", "groups", "admitted"}
    return heartbeat.RoomBeat(
        **{name: getattr(view, name) for name in names},
        commitment=commitment(view.seed) if view.seed else "",
        seed=view.seed.hex() if view.drawn > 0 else "",
        left=told.left,
        admitted=told.admitted,
        groups={
            group: max(0, known.last - known.serving)
            for group in room.groups
            if (known := view.groups.get(tag_of(group))) is not None
        },
    )


class OrdersFollower:
    """Takes the operators' orders from the store and from the state directory, whichever is newer.

    The file makes toggles work while the store is away: the operator's process of this gate writes it with every change.
    """

    def __init__(self, store: OrdersStore, state: Path, engine: Engine) -> None:
        self._store = store
        self._file = OrdersFile(state)
        self._engine = engine

    async def once(self) -> None:
        newest = self._engine.orders
        with contextlib.suppress(StoreUnavailable):
            stored = await self._store.read()
            if stored is not None and stored.version > newest.version:
                newest = stored
        written = self._file.changed()
        if written is not None and written.version > newest.version:
            newest = written
        if newest is not self._engine.orders:
            self._engine.orders = newest
            self._engine.compose()


# --------------------------------------------------------------------------- the operator's process


@contextlib.asynccontextmanager
async def operator(plan: Plan) -> AsyncIterator[ASGIApp]:
    """Console, API and metrics; keeps the orders in the store and on disk the same."""
    link = Link(plan.store_url, _password(plan.settings))
    await link.start()
    backend = Backend(plan.settings, plan.config_path, link, supervisor=plan.supervisor)
    async with background(_every(1.0, backend.keep)):
        yield operator_app(backend)
    await link.close()


# --------------------------------------------------------------------------- small things


def _password(settings: Settings) -> str | None:
    return settings.store_password.get_secret_value() if settings.store_password else None


def _keep_what_is_here() -> None:
    """Modules, config and pages stay for as long as the worker lives. A full collection that looks at them all holds every
    visitor up for some 50 ms, and a storm brings several; one that leaves them out takes less than 1 ms. What comes later is
    looked at seldom: requests leave no cycles behind, and in a storm every connection is looked at for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


@contextlib.asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines beside the body; end them with it."""
    tasks = [asyncio.create_task(item) for item in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` again and again; a failure is logged and does not end it."""
    log = logs.get("gate.app")
    while True:
        try:
            await work()
        except Exception:
            log.exception("background_failed", work=getattr(work, "__qualname__", "?"))
        await asyncio.sleep(seconds)
