"""The same line behind a sentinel and on a cluster: real ones, of one node each."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from gate.core.line import Terms
from gate.core.settings import Limit
from gate.store.link import Link, StoreUnavailable
from gate.store.quotas import Quotas
from tests.processes import free_port
from tests.store.conftest import binary, make_line

pytestmark = pytest.mark.slow
TERMS = Terms(60, 60, burst=3)


class Node:
    def __init__(self, directory: Path, command: list[str], port: int) -> None:
        directory.mkdir()
        self.port = port
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--logfile", "log"],
            cwd=directory,
        )
        self.client = Redis(port=port, protocol=2)

    def wait_until(self, *command: str, says: bytes) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if says in str(self.client.execute_command(*command)).encode():
                    return
            except RedisError:
                pass
            assert time.monotonic() < deadline, f"{command} never said {says!r}"
            time.sleep(0.05)

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> str:
    return str(binary(request.param))


async def works(url: str) -> None:
    link = Link(url, deadline=10.0)
    await link.start()
    assert link.up, link.trouble
    line = make_line(link, "checkout")
    entries = [await line.join(TERMS) for _ in range(4)]
    assert [entry.status for entry in entries] == ["entered"] * 3 + ["waiting"]
    assert (await line.claim(entries[0].ticket, TERMS)).expires == pytest.approx(entries[0].expires, abs=1)
    assert await line.release(entries[0].ticket.id)
    assert (await line.tick(TERMS)).inside == 2
    limit = Limit(match=["/x"], rate="1/hour")
    hits = [await Quotas(link).hit(limit, "a") for _ in range(2)]
    assert [hit.allowed for hit in hits if hit] == [True, False]
    await link.close()


@pytest.fixture
def cluster(server: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with Node(tmp_path / "node", [server, "--cluster-enabled", "yes", "--save", ""], port) as node:
        node.wait_until("PING", says=b"True")
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        node.wait_until("CLUSTER", "INFO", says=b"cluster_state:ok")
        yield f"redis+cluster://127.0.0.1:{port}"


@pytest.fixture
def sentinel(server: str, tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "sentinel.conf"
    with Node(tmp_path / "master", [server, "--save", ""], free_port()) as master:
        master.wait_until("PING", says=b"True")
        config.write_text(f"sentinel monitor shop 127.0.0.1 {master.port} 1\n")
        with Node(tmp_path / "sentinel", [server, str(config), "--sentinel"], free_port()) as watch:
            watch.wait_until("SENTINEL", "MASTER", "shop", says=str(master.port).encode())
            yield f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watch.port}/shop/0"


async def test_a_line_works_on_a_cluster(cluster: str) -> None:
    await works(cluster)


async def test_a_line_works_behind_a_sentinel_and_one_sentinel_may_be_away(sentinel: str) -> None:
    await works(sentinel)


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:{}", "redis+sentinel://127.0.0.1:{}/shop"])
async def test_one_that_is_away_is_away_and_no_error(url: str) -> None:
    link = Link(url.format(free_port()), deadline=0.5)
    await link.start()
    assert not link.up
    with pytest.raises(StoreUnavailable):
        await link.command("GET", "x")
    await link.close()
