"""More connections than this worker takes: a short answer, and out. Their memory and time are bounded like nobody else's."""

import asyncio
import resource
from typing import TYPE_CHECKING, Final, cast

from gate.core.facts import Refusal
from gate.core.settings import Settings
from gate.core.words import Reason
from gate.wire.deadlines import NEVER
from gate.wire.heads import RETRY_LATER, answer_bytes

if TYPE_CHECKING:
    from gate.wire.door import Door

PATIENCE: Final = 2.0  # seconds such a visitor has to say something, and then to take the answer
ROOM: Final = 64  # one in so many connections on top may wait for that answer (two at least); beyond, they are cut off at once
OWN: Final = 128  # files for what is neither a visitor nor the origin: the store, logs, metrics, listening sockets


def most_connections(settings: Settings) -> int:
    """How many visitors' connections a worker takes: ``visitors.connections``, or what its limit of open files allows.

    Those to the origin and the answers here need files too. Of a limit that is hardly above these, visitors get half.
    """
    wanted = settings.visitors.connections
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    left = files - OWN - settings.origin.connections * len(settings.origin.servers)
    return max(1, min(wanted, max(left, files // 2) * ROOM // (ROOM + 1)))


def room_for_answers(most: int) -> int:
    """How many connections on top of ``most`` may be told that they are too many."""
    return max(2, most // ROOM)


class Crowded(asyncio.Protocol):
    """A connection too many."""

    __slots__ = ("_door", "_seen", "due", "look", "transport")

    transport: asyncio.Transport

    def __init__(self, door: "Door") -> None:
        self._door = door
        self._seen = b""
        self.due = self.look = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        door = self._door
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has no common base with asyncio's
        door.shaking.discard(self)
        if door.taken >= door.most_connections + room_for_answers(door.most_connections):
            self.transport.abort()
            return
        door.connections.add(self)
        door.wheel.watch(self, PATIENCE)

    def data_received(self, data: bytes) -> None:
        if self._seen.endswith(b"\r\n\r\n"):
            return  # answered
        self._seen = (self._seen + data)[-(16 << 10) :]
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return
        self._seen = b"\r\n\r\n"
        door = self._door
        refusal = Refusal(503, Reason.OVERLOAD, "too many connections at the moment")
        answer = door.engine.refuse(refusal).plus(*RETRY_LATER)
        self.transport.write(answer_bytes(answer, b"GET", 1, keep=False, date=door.date))
        if self.transport.can_write_eof():
            self.transport.write_eof()  # and wait: a reset must not overtake the answer
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.connections.discard(self)
        self._door.wheel.forget(self)

    def expired(self, now: float) -> None:
        self.transport.abort()

    def shutdown(self) -> None:
        """The worker ends."""
        self.transport.close()
