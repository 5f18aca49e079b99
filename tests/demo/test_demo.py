"""``gate demo`` as a newcomer runs it, and what is left when it ends in any way: nothing."""

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gate import config
from gate.demo.stage import demo_config
from tests.processes import Process, eventually, fetch, free_port

pytestmark = pytest.mark.slow

GATE = [sys.executable, "-m", "gate"]


def family(pid: int) -> dict[int, str]:
    """A process and all that came of it, with their command lines."""
    found: dict[int, str] = {}
    young = [pid]
    while young:
        one = young.pop()
        try:
            found[one] = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            young += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
    return found


def is_alive(pid: int, command: str) -> bool:
    """The same process still runs (a zombie has no command line)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() == command
    except OSError:
        return False


class Demo:
    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "state" / "gate.yaml"
        command = [*GATE, "demo", "--port", str(self.port), "--state", str(directory / "state"), *options]
        self.process = Process("demo", command, directory)

    def up(self) -> "Demo":
        eventually(lambda: "Floodgate is up" in self.said or self.process.popen.poll() is not None, 120)
        assert self.process.popen.poll() is None, self.said
        return self

    @property
    def said(self) -> str:
        return self.process.log.read_text()

    def type(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*GATE, *words],
            env={**os.environ, "GATE_CONFIG": str(self.config)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path).up()
    yield demo
    demo.process.stop()


def test_the_tour_is_true(demo: Demo) -> None:
    crowded, free = demo.said.split("In the other, meanwhile")
    assert "In two more terminals" in crowded
    assert ("demo crowd" in crowded, "demo crowd" in free) == (True, False)  # it holds its terminal for minutes
    assert all(line in free for line in ("gate top", "room checkout hold", "demo knob reviews dead"))

    assert "Add to cart" in fetch(f"{demo.url}/product/lantern").text
    shop = config.load(demo.config).origin.servers[0]

    assert demo.type("demo", "knob", "reviews", "dead").returncode == 0
    assert fetch(f"{demo.url}/reviews/lantern").status == 204
    assert fetch(f"{demo.url}/product/lantern").status == 200
    demo.type("demo", "knob", "shipping", "dead")
    assert fetch(f"{demo.url}/api/shipping-rates").json() == {"rate": 7.99}
    demo.type("demo", "knob", "all", "dead")
    page = eventually(lambda: (r := fetch(f"{demo.url}/")).status == 503 and r)
    assert 'type="email"' in page.text
    demo.type("demo", "knob", "all", "ok")
    eventually(lambda: fetch(f"{demo.url}/").status == 200)

    crowd = demo.type("demo", "crowd", "8", "--patience", "90")
    assert crowd.returncode == 0, crowd.stdout
    assert re.search(r"bought 8; entered 8", crowd.stdout), crowd.stdout

    wrong = demo.type("demo", "knob", "till", "dead")
    assert (wrong.returncode, "the parts are" in wrong.stderr) == (1, True)
    assert fetch(f"{shop}/__shop/knobs").status == 200
    assert fetch(f"{demo.url}/__shop/knobs").status == 404  # not for visitors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_running_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    demo = Demo(tmp_path, "--crowd", "30").up()
    everybody = family(demo.process.pid)
    assert len(everybody) >= 6  # the demo, the shop, the store, two workers, the operators' side
    code = demo.process.stop(number, 60)
    assert code == (-number if number is signal.SIGKILL else 0), demo.said
    eventually(lambda: not any(is_alive(*one) for one in everybody.items()), what="all its children have ended")
    assert "Traceback" not in demo.said


def test_ctrl_c_in_a_terminal_ends_it_in_order(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the demo and to everything it started, all at once."""
    ours, its = pty.openpty()
    demo = subprocess.Popen(
        [*GATE, "demo", "--port", str(free_port()), "--state", str(tmp_path / "state"), "--crowd", "20"],
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
    )
    os.close(its)
    said = bytearray()

    def listen() -> None:
        while True:
            try:
                said.extend(os.read(ours, 65536))
            except OSError:  # the other side is closed
                return

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        eventually(lambda: b"The crowd" in said, 120)  # its live table, below the tour
        everybody = family(demo.pid)
        os.write(ours, b"\x03")
        assert demo.wait(60) == 0, said.decode()
        eventually(lambda: not any(is_alive(*one) for one in everybody.items()), what="all its children have ended")
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        listener.join()
        os.close(ours)
    assert b"Floodgate is up" in said
    assert b"All ended" in said
    assert b"Traceback" not in said


def test_it_ends_by_itself_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [*GATE, "demo", "--port", str(free_port()), "--for", "1"],
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "All ended." in done.stdout
    assert re.search(r"gate_op_\S{30,}\n", done.stdout)  # the token is not cut, however narrow the screen
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*GATE, "demo", "--port", str(port)], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"gate demo: port {port} is in use; give another --port, or none to take a free one"


def test_two_demos_do_not_share_a_state_directory(demo: Demo) -> None:
    done = demo.type("demo", "--state", str(demo.config.parent), "--port", str(free_port()))
    assert (done.returncode, "another demo is running" in done.stderr) == (1, True)


def test_the_config_it_ships_is_a_good_one_with_any_ports(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(demo_config(1, 2, 3, tmp_path / "state"))
    settings = config.load(path)
    assert (settings.listen, settings.operator.listen) == ("127.0.0.1:1", "127.0.0.1:2")
    assert settings.origin.servers == ["http://127.0.0.1:3"]
    assert YAML(typ="safe").load(path)["state"] == str(tmp_path / "state")
