"""The processes that the demo and the tests start beside the gate, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy knows the way to our own machine


class DidNotStart(Exception):
    """A child ended, or did not answer in time; the message carries the end of its log."""


def launch(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start ``command`` in a session of its own, its output appended to ``log``; ``env`` is added to ours.

    A session of its own: Ctrl-C reaches only the parent, which ends its children in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )


def end(process: "subprocess.Popen[bytes]", *, grace: float = 10.0) -> int:
    """SIGTERM, and SIGKILL for its whole session after ``grace`` seconds. Returns the exit code (negative: the signal)."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def tail(log: Path, lines: int = 12) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path, *, within: float) -> None:
    """Return when ``url`` answers 2xx. Raises :class:`DidNotStart` when it does not within so many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DidNotStart(f"it ended with code {process.returncode}\n{tail(log)}")
        if _answers(url):
            return
        time.sleep(0.05)
    raise DidNotStart(f"{url} did not answer within {within:g} s\n{tail(log)}")


def _answers(url: str) -> bool:
    try:
        with _direct.open(url, timeout=1) as answer:
            return bool(200 <= answer.status < 300)
    except OSError:
        return False


class ShopProcess:
    """The demo shop as a child. ``start`` after ``stop`` or ``kill`` brings it back on the same port with the same data."""

    def __init__(self, directory: Path, *, port: int, stock: int = 2000) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.journal = directory / "shop.jsonl"
        self.log = directory / "shop.log"
        self._command = [sys.executable, "-m", "gate.demo.shop", "--port", str(port), "--db", str(directory / "shop.db")]
        self._command += ["--journal", str(self.journal), "--stock", str(stock), "--parent", str(os.getpid())]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises :class:`DidNotStart`."""
        self.process = launch(self._command, log=self.log)
        wait_for(f"{self.url}/__shop/knobs", self.process, self.log, within=15)

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, grace=5)

    def kill(self) -> None:
        """As a crash would: no goodbye to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def turn(self, **knobs: Any) -> dict[str, Any]:
        """``turn(reviews="dead", search={"mode": "slow", "delay": 2})``."""
        return turn_knobs(self.url, knobs)


def turn_knobs(shop: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """All knobs after turning some. Raises :class:`ValueError` (what is wrong with them) or :class:`OSError` (no shop)."""
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{shop}/__shop/knobs", json.dumps(knobs).encode(), {"content-type": "application/json"}
    )
    try:
        with _direct.open(request, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise ValueError(json.load(error)["problem"]) from None
