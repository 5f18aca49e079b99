"""Every store test runs against embedded Valkey and against Debian's Redis."""

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gate.core.credentials import new_id
from gate.store.embedded import Embedded, find_server
from gate.store.line import Line
from gate.store.link import Link
from gate.store.memory import Memory


def binary(name: str) -> Path:
    if name == "valkey":
        return find_server()
    found = shutil.which("redis-server", path=f"/usr/bin:{os.environ['PATH']}")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing: apt-get install redis-server")
        pytest.skip("no redis-server here")
    return Path(found)


@pytest.fixture(scope="session", params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One server for the whole run; tests keep apart by the names of their rooms."""
    server = Embedded(tmp_path_factory.mktemp(request.param), persist=False, server=binary(request.param))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["valkey", "redis"])
def own_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Embedded]:
    """A server that the test may empty, stop and start."""
    server = Embedded(tmp_path / "store", persist=False, server=binary(request.param))
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def link(store: Embedded) -> AsyncIterator[Link]:
    link = Link(store.url, deadline=10.0)  # the machine of a test may be busy
    await link.start()
    assert link.up, link.trouble
    yield link
    await link.close()


@pytest.fixture
def room() -> str:
    """A name that no other test has used."""
    return f"r{secrets.token_hex(6)}"


def make_line(link: Link, room: str, memory: Memory | None = None, clock: Callable[[], float] = time.time) -> Line:
    return Line(link, room, new_id=lambda: new_id(secrets.token_bytes), clock=clock, memory=memory or Memory())


@pytest.fixture
def line(link: Link, room: str) -> Line:
    return make_line(link, room)
