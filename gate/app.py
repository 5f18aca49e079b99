"""The composition root: what a worker and the operator's process are made of."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from gate import heartbeat, logs
from gate.core.credentials import new_id
from gate.core.settings import Settings
from gate.edges import trust_for
from gate.engine import Engine
from gate.keys import Keys
from gate.process import die_with_parent
from gate.serve import DRAIN, Plan
from gate.store.line import Line, Memory
from gate.store.link import Link
from gate.store.orders import OrdersStore
from gate.store.quotas import Quotas
from gate.web import metrics
from gate.web.emails import Emails
from gate.web.pages import Pages
from gate.web.visitor import visitor_app
from gate.wire.door import Door
from gate.wire.health import Checker

TICK = 0.25  # seconds between two looks at the store
HEARTBEAT = 1.0  # seconds


def run_child(plan: Plan, sock: socket.socket, pipe: Connection) -> None:
    """The body of every child process: serve on ``sock`` until SIGTERM; one message into ``pipe`` when ready."""
    die_with_parent(plan.supervisor)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(plan.settings.log)
    metrics.attach(plan.settings.state / "run" / "metrics")
    uvloop_run(_serve(plan, sock, pipe))


def uvloop_run(main: Awaitable[None]) -> None:
    import uvloop

    async def body() -> None:
        await main

    uvloop.run(body())


async def _serve(plan: Plan, sock: socket.socket, pipe: Connection) -> None:
    build = worker if plan.role == "worker" else operator
    async with build(plan) as app:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",  # the stricter of uvicorn's two parsers (docs/security.md)
                ws="websockets-sansio",
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                date_header=False,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=int(DRAIN),
            )
        )
        ready = asyncio.create_task(_say_ready(server, pipe))
        await server.serve(sockets=[sock])
        ready.cancel()


async def _say_ready(server: uvicorn.Server, pipe: Connection) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    pipe.send("ready")


# --------------------------------------------------------------------------- a worker


@contextlib.asynccontextmanager
async def worker(plan: Plan) -> AsyncIterator[ASGIApp]:
    """Everything that serves visitors, with its background work running."""
    settings = plan.settings
    link = Link(plan.store_url, _password(settings))
    memory = Memory(settings.state / "rooms.json")
    keys = Keys(settings.state)
    engine = Engine(
        settings,
        keys.ring,
        trust_for(settings.edge, settings.state),
        lines={name: Line(link, name, new_id=_new_id, memory=memory) for name in settings.rooms},
        quotas=Quotas(link),
        pages=Pages(settings),
        meter=metrics.Meter(),
    )
    await link.start()
    follow = OrdersFollower(OrdersStore(link), settings.state / "orders.json", engine)
    emails = Emails(settings.state / "emails.db")
    checker = Checker(settings, engine.shop.health)
    await follow.once()
    await engine.refresh()
    async with background(
        _every(TICK, engine.refresh),
        _every(TICK * 2, follow.once),
        _every(HEARTBEAT, lambda: _beat(plan, engine, keys)),
        checker.run(),
    ):
        async with Door(engine, visitor_app(engine, emails)) as door:
            yield door
        await engine.drain()
    heartbeat.remove(settings.state / "run", f"worker-{plan.index}", os.getpid())
    await link.close()


async def _beat(plan: Plan, engine: Engine, keys: Keys) -> None:
    if keys.reload():
        engine.keyring = keys.ring
    heartbeat.write(plan.settings.state / "run", f"worker-{plan.index}", describe(engine))


def describe(engine: Engine) -> dict[str, Any]:
    """This worker's part of ``gate status``."""
    snapshot = engine.snapshot
    return {
        "pid": os.getpid(),
        "at": snapshot.taken,
        "orders": engine.orders.version,
        "store_up": snapshot.store_up,
        "origin_up": snapshot.origin_up,
        "fallback_on": snapshot.fallback_on,
        "shed_level": snapshot.shed_level,
        "in_flight": engine.shop.overload.current,
        "first_byte_p90": round(engine.shop.overload.percentile(0.9), 4),
        "breakers": {name: breaker.state.value for name, breaker in engine.shop.breakers.items()},
        "rooms": {name: _room(asdict(view)) for name, view in snapshot.rooms.items()},
    }


def _room(view: dict[str, Any]) -> dict[str, Any]:
    view["revoked"] = len(view["revoked"])
    return view


class OrdersFollower:
    """Takes the operators' orders from the store and from the state directory, whichever is newer.

    The file makes toggles work while the store is away: the operator's process of this gate writes it with every change.
    """

    def __init__(self, store: OrdersStore, path: Path, engine: Engine) -> None:
        self._store = store
        self._path = path
        self._engine = engine
        self._seen = 0.0

    async def once(self) -> None:
        from gate.core.orders import Orders
        from gate.store.link import StoreUnavailable

        newest = self._engine.orders
        with contextlib.suppress(StoreUnavailable, ValueError, KeyError):
            stored = await self._store.read()
            if stored is not None and stored.version > newest.version:
                newest = stored
        with contextlib.suppress(OSError, ValueError, KeyError):
            changed = self._path.stat().st_mtime
            if changed != self._seen:
                written = Orders.from_json(json.loads(self._path.read_text()))
                self._seen = changed
                if written.version > newest.version:
                    newest = written
        if newest is not self._engine.orders:
            self._engine.orders = newest
            self._engine.compose()


# --------------------------------------------------------------------------- the operator's process


@contextlib.asynccontextmanager
async def operator(plan: Plan) -> AsyncIterator[ASGIApp]:
    """Console, API and metrics; keeps what the gate must remember across restarts."""
    from gate.backend import Backend
    from gate.web.operator import operator_app

    settings = plan.settings
    link = Link(plan.store_url, _password(settings))
    memory = Memory(settings.state / "rooms.json")
    await link.start()
    backend = Backend(settings, plan.config_path, link, supervisor=plan.supervisor)
    async with background(_every(1.0, backend.keep), _every(1.0, memory.save_later)):
        yield operator_app(backend)
    await link.close()


# --------------------------------------------------------------------------- small things


def _password(settings: Settings) -> str | None:
    return settings.store_password.get_secret_value() if settings.store_password else None


def _new_id() -> str:
    return new_id(secrets.token_bytes)


@contextlib.asynccontextmanager
async def background(*work: Awaitable[None]) -> AsyncIterator[None]:
    """Run coroutines beside the body; end them with it."""
    tasks = [asyncio.ensure_future(item) for item in work]
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


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that has nothing."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
