"""Real processes for tests: a shop, gates, a store; each on free ports of the loopback, each ended by its id."""

import contextlib
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent


class Ports:
    """Ports that nobody else is given: neither by the kernel, whose own begin higher (``ip_local_port_range``: 32768 on
    Linux, 49152 elsewhere), nor by another run of the tests, which claims a block of its own by binding its first port.

    A port that the kernel picked and that is closed again may belong to anybody by the time it is needed.
    """

    FIRST, BLOCK, BLOCKS = 12000, 50, 200  # the bus of a cluster's node is 10000 further on: 22000 to 31999

    def __init__(self) -> None:
        self._left: list[int] = []

    def take(self) -> int:
        while True:
            if not self._left:
                self._claim_a_block()
            port = self._left.pop(0)
            with socket.socket() as sock, contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                return port

    def _claim_a_block(self) -> None:
        for block in random.sample(range(self.BLOCKS), self.BLOCKS):
            claim, first = socket.socket(), self.FIRST + block * self.BLOCK
            try:
                claim.bind(("127.0.0.1", first))
            except OSError:
                claim.close()
                continue
            claim.detach()  # stays bound until this process ends
            self._left = list(range(first + 1, first + self.BLOCK))
            return
        raise AssertionError("no block of ports is left")


_ports = Ports()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody else takes until this process ends."""
    return _ports.take()


def eventually(true: Callable[[], Any], seconds: float = 30.0, every: float = 0.05, what: str = "") -> Any:
    """The first truthy value of ``true()``; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or true}")
        time.sleep(every)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _opener(trust: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    handlers = [urllib.request.HTTPSHandler(context=trust)] if trust is not None else []
    return urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}), *handlers)


_plain = _opener()


class Reply:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (line.split(";", 1)[0].split("=", 1) for line in self.headers.get_all("set-cookie") or [])
        return dict(pairs)

    @property
    def decision(self) -> str:
        return str(self.headers.get("gate-decision", ""))


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    cookies: dict[str, str] | None = None,
    timeout: float = 30,
    trust: ssl.SSLContext | None = None,
) -> Reply:
    """One request, redirects not followed, error statuses returned like any other. ``trust``: for https."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    if cookies:
        request.add_header("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))
    try:
        with (_plain if trust is None else _opener(trust)).open(request, timeout=timeout) as response:
            return Reply(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, error.read())


class Process:
    """One child with its output in a file."""

    def __init__(self, name: str, command: list[str], directory: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._out = self.log.open("ab")
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("GATE_") and not key.lower().endswith("_proxy")
        }
        self.popen = subprocess.Popen(
            command,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=directory,
            env={**clean, **(env or {})},
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def children(self) -> list[int]:
        """Ids of the direct children now."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def command_lines(self) -> dict[int, str]:
        found = {}
        for pid in self.children():
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def signal(self, number: Signals) -> None:
        self.popen.send_signal(number)

    def stop(self, number: Signals = SIGTERM, seconds: float = 60.0) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                raise AssertionError(f"{self.name} did not end within {seconds} s:\n{self.tail()}") from None
        self._out.close()
        return self.popen.returncode

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Gate:
    """A running ``gate serve``."""

    def __init__(self, directory: Path, settings: dict[str, Any], name: str = "gate") -> None:
        self.directory = directory
        self.port, self.operator_port = free_port(), free_port()
        self.url, self.operator_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.operator_port}"
        self.state = directory / f"{name}-state"
        self.config = directory / f"{name}.yaml"
        self.settings = {
            "listen": f"127.0.0.1:{self.port}",
            "operator": {"listen": f"127.0.0.1:{self.operator_port}"},
            "state": str(self.state),
            "workers": 2,
            **settings,
        }
        self.name = name
        self.trust: ssl.SSLContext | None = None  # of who asks over https
        self.process: Process | None = None

    def write(self) -> None:
        with self.config.open("w") as file:
            YAML().dump(self.settings, file)

    def start(self) -> "Gate":
        self.write()
        self.process = Process(self.name, [sys.executable, "-m", "gate", "serve", "--config", str(self.config)], self.directory)
        try:
            eventually(self._up, 120, what=f"{self.name} is ready")
        except AssertionError as error:
            self.process.stop(signal.SIGKILL)
            raise AssertionError(f"{error}\n{self.process.tail()}") from None
        return self

    def _up(self) -> bool:
        assert self.process is not None
        assert self.process.popen.poll() is None, self.process.tail()
        for url in (self.url + "/__gate/ready", self.operator_url + "/ready"):
            try:
                if fetch(url, timeout=5, trust=self.trust).status != 200:
                    return False
            except OSError:
                return False
        return True

    def api(self, method: str, path: str, change: dict[str, Any] | None = None) -> Any:
        """The operator API, with this machine's credential."""
        token = (self.state_directory / "local.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = None if change is None else json.dumps(change).encode()
        reply = fetch(self.operator_url + path, method=method, headers=headers, body=body)
        assert reply.status == 200, reply.text
        return reply.json()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", "/api/v1/status")
        return found

    @property
    def state_directory(self) -> Path:
        return Path(self.settings["state"])

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``gate WORDS --config …``, as an operator on this machine would type it."""
        done = subprocess.run(  # noqa: PLW1510 - the caller says whether a failure is one
            [sys.executable, "-m", "gate", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=90,
            cwd=self.directory,
        )
        assert not check or done.returncode == 0, f"gate {' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def order(self, *words: str) -> None:
        """``gate room WORDS``. When it returns, every worker follows."""
        self.command("room", *words)
        eventually(lambda: self.status()["in_force"], 60, what="the order is in force")

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


class Program:
    """A visitor that asks for JSON and keeps its cookies."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._jar: dict[str, str] = {}

    def ask(self, path: str) -> Reply:
        reply = fetch(self._gate.url + path, cookies=self._jar, headers={"Accept": "application/json"})
        self._jar |= reply.cookies
        return reply


class Shop:
    """The demo shop, as an origin with knobs and a journal."""

    def __init__(self, directory: Path, name: str = "shop", stock: int = 1000, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.journal = directory / f"{name}.jsonl"
        self._directory, self._name, self._stock = directory, name, stock
        self.process: Process | None = None

    def start(self) -> "Shop":
        command = [
            sys.executable,
            "-m",
            "gate.demo.shop",
            "--port",
            str(self.port),
            "--db",
            str(self._directory / f"{self._name}.db"),
        ]
        command += ["--journal", str(self.journal), "--stock", str(self._stock)]
        self.process = Process(self._name, command, self._directory)
        eventually(self._up, 60, what="the shop is up")
        return self

    def _up(self) -> bool:
        try:
            return fetch(self.url + "/healthz", timeout=5).status == 200
        except OSError:
            return False

    def knob(self, part: str, mode: str, delay: float = 0.0) -> None:
        body = json.dumps({part: {"mode": mode, "delay": delay}}).encode()
        reply = fetch(self.url + "/__shop/knobs", method="POST", body=body, headers={"Content-Type": "application/json"})
        assert reply.status == 200, reply.text

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


@contextlib.contextmanager
def running(*things: Any) -> Iterator[None]:
    """Start in order, stop in reverse order."""
    with contextlib.ExitStack() as stack:
        for thing in things:
            thing.start()
            stack.callback(thing.stop)
        yield
