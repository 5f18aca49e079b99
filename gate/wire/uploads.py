"""Bodies that are still to come, and the connections to the origin that are kept for them.

A body may come as slowly as ``visitors.body_rate`` lets it, for minutes. Were a connection taken for each as soon as its head
is read, a few hundred visitors whose bodies drip would keep every connection from everybody else. So:

* while half of a server's connections are free, one is taken at once;
* else the body is gathered here, until it is whole or longer than may be gathered;
* a longer one goes on while such bodies keep less than half of the connections. Else it waits for its turn, no longer than
  any request waits for a connection; and those that keep one have to come faster from then on.
"""

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from gate.core.settle import Trouble

if TYPE_CHECKING:
    from gate.wire.origin import Origins, Server

TURNS: Final = 128  # how many long bodies may wait for a connection
GATHERED: Final = 16 << 20  # bytes of all bodies gathered; beyond, the one that has taken longest so far is given up
HASTE: Final = 8  # times the least rate, for those who keep a connection …
HASTE_FOR: Final = 10.0  # … seconds after somebody had to wait for one


class Upload(Protocol):
    """A request whose body is still to come."""

    gone: bool

    @property
    def uploading(self) -> bool:
        """It has a connection, or will get one, and its body is not whole yet."""
        ...

    def begin(self, server: "Server") -> None: ...
    def failed(self, trouble: Trouble) -> None: ...
    def too_slow(self) -> None: ...


class Uploads:
    """Those of one worker."""

    def __init__(self, origins: "Origins") -> None:
        self._origins = origins
        self._half = max(1, origins.limit // 2)
        self._gathering: dict[Upload, int] = {}  # with its bytes; the first is the one that came first
        self._bytes = 0
        self._turns: deque[tuple[float, Upload]] = deque()
        self._haste_until = 0.0  # loop time

    def begin_at_once(self, upload: Upload) -> bool:
        """Let ``upload`` go to the origin, if there is room."""
        server = self._origins.choose()
        if server.outstanding >= self._half:
            return False
        upload.begin(server)
        return True

    def gather(self, upload: Upload, size: int) -> None:
        """There are ``size`` bytes of it now. What there is of another may be given up for it, or of its own."""
        self._bytes += size - self._gathering.get(upload, 0)
        self._gathering[upload] = size
        while self._bytes > GATHERED:
            next(iter(self._gathering)).too_slow()

    def forget(self, upload: Upload) -> None:
        """It is gathered no longer."""
        self._bytes -= self._gathering.pop(upload, 0)

    def queue(self, upload: Upload) -> None:
        """It is too long to be gathered: let it begin, now or later."""
        server = self._origins.choose()
        if not self._turns and self._lets_begin(server):
            upload.begin(server)
            return
        now = self._origins.wheel.now
        self._haste_until = now + HASTE_FOR
        if len(self._turns) < TURNS:
            self._turns.append((now + self._origins.connect_timeout, upload))
        else:
            upload.failed(Trouble.BUSY)

    def haste(self, job: object) -> int:
        """How many times the least rate the body for ``job`` has to come at."""
        if self._origins.wheel.now >= self._haste_until:
            return 1
        full = any(len(server.unfinished) >= self._half and job in server.unfinished for server in self._origins.servers)
        return HASTE if full else 1

    def tick(self, now: float) -> None:
        """Who waits for a turn gets one, or hears that it will not come."""
        while self._turns:
            due, upload = self._turns[0]
            server = self._origins.choose()
            if not upload.gone:
                if self._lets_begin(server):
                    upload.begin(server)
                elif due <= now:
                    upload.failed(Trouble.BUSY)
                else:
                    break
            self._turns.popleft()
        for server in self._origins.servers:
            if server.unfinished:
                self._lets_begin(server)

    def _lets_begin(self, server: "Server") -> bool:
        """Do unfinished bodies keep less than half of its connections?"""
        unfinished = server.unfinished
        for upload in [upload for upload in unfinished if not upload.uploading]:
            unfinished.discard(upload)
        return len(unfinished) < self._half
