"""A real operator listener over a real store, with workers' heartbeats written by the test."""

import asyncio
import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from gate import heartbeat
from gate.backend import Backend
from gate.core.settings import Settings
from gate.heartbeat import Beat, RoomBeat
from gate.operators import Operators, Role
from gate.store.link import Link
from gate.web.operator import operator_app
from tests.processes import Reply, eventually, fetch
from tests.stores import StoreServer

CONFIG = """\
operator: {{listen: "127.0.0.1:{port}"}}
state: {state}
store: unix://{socket}
origin: {{servers: ["http://127.0.0.1:9"]}}
rooms:
  checkout: {{match: /checkout/**, rate: 120/minute, burst: 20, active: 500}}
  drop: {{match: /drop/**, rate: 10/second}}
routes:
  - {{match: /api/shipping, breaker: {{}}, fallback: {{json: {{rate: 7.99}}}}}}
"""


class Listener:
    """The operator process of one gate, in a thread of its own."""

    def __init__(self, directory: Path, store: StoreServer, name: str = "gate") -> None:
        self.state = directory / name
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / f"{name}.yaml"
        self.config.write_text(CONFIG.format(port=self.port, state=self.state, socket=store.socket))
        self.store = store
        self.operators = Operators(self.state)
        self.operators.start()
        self.first = self.operators.first()
        self.viewer = self.operators.add("vera", Role.VIEWER)
        self.operator = self.operators.add("olga", Role.OPERATOR)
        self.backend: Backend | None = None

    def start(self) -> "Listener":
        from gate import config

        self.settings: Settings = config.load(self.config, {})
        (self.state / "run").mkdir(exist_ok=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        eventually(lambda: self.backend is not None and self._up(), what="the operator listener answers")
        return self

    def _up(self) -> bool:
        with contextlib.suppress(OSError):
            return fetch(self.url + "/live", timeout=5).status == 200
        return False

    async def _main(self) -> None:
        link = Link(self.store.url, deadline=2.0)  # ten times a gate's: this machine may be busy
        await link.start()
        self.backend = Backend(self.settings, self.config, link)
        server = uvicorn.Server(
            uvicorn.Config(
                operator_app(self.backend), log_config=None, lifespan="off", server_header=False, http="h11", ws="none"
            )
        )
        keeper = asyncio.create_task(self._keep(server))
        sock = self.sock.dup()
        await server.serve(sockets=[sock])
        keeper.cancel()
        await link.close()
        self.backend = None

    async def _keep(self, server: uvicorn.Server) -> None:
        assert self.backend is not None
        while not self._stop.is_set():
            await self.backend.keep()
            await asyncio.sleep(0.05)
        server.should_exit = True

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self.sock.close()

    def beat(self, worker: int = 0, age: float = 0.0, **more: Any) -> None:
        now = time.time() - age
        values: dict[str, Any] = {
            "taken": now,
            "store_up": True,
            "orders": 10**6,
            "in_flight": 3,
            "rooms": {"checkout": RoomBeat(1, 4210, 5494, 1284, 412, 3.4, 1.9)},
            **more,
        }
        heartbeat.write(self.state / "run", Beat(worker, 100 + worker, now, now - 60, **values))

    def api(self, method: str, path: str, body: str | bytes | None = None, token: str | None = "", **headers: str) -> Reply:
        """A call as olga; ``token=None`` without a token."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.operator}"
        data = body.encode() if isinstance(body, str) else body
        return fetch(self.url + path, method=method, body=data, headers=headers)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreServer]:
    server = StoreServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def gate(tmp_path: Path, store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(heartbeat, "STALE", 50.0)  # a beat is written once, and the test goes on with it
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(io.StringIO()))  # not into the commands' output
    listener = Listener(tmp_path, store).start()
    listener.beat()
    yield listener
    listener.close()
    structlog.reset_defaults()
