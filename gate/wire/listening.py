"""HTTPS on the visitors' side: who has connected is counted and timed before TLS is agreed on.

An event loop's own server tells of a connection when its handshake is over. One that never begins it would be nobody's until
then, and enough of them take every file the process may open: from the origin, the store, and all other visitors.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

from gate.wire.crowd import room_for_answers

if TYPE_CHECKING:
    from gate.wire.door import Door, ServerState

AT_ONCE: Final = 64  # connections taken before the loop looks after those that are there already
NO_FILES: Final = 0.5  # seconds until the next try when no file was to be had


class Listener:
    """Takes connections from ``sock``, shakes hands by ``tls`` within ``visitors.head``, and hands them to the door."""

    def __init__(self, door: "Door", tls: ssl.SSLContext, sock: socket.socket, state: "ServerState | None" = None) -> None:
        sock.setblocking(False)
        self._door = door
        self._sock = sock
        self._tls = tls
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._shaking: set[asyncio.Task[None]] = set()
        self._listen()

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _pause(self) -> None:
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock.fileno())

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._pause()
                self._again = self._loop.call_later(NO_FILES, self._listen)
                return
            sock.setblocking(False)
            if self._door.taken >= self._door.most_connections + room_for_answers(self._door.most_connections):
                sock.close()
                continue
            protocol = self._door.protocol(server_state=self._state)
            self._door.shaking.add(protocol)  # until its connection is made
            task = self._loop.create_task(self._shake_hands(sock, protocol))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self._tls, ssl_handshake_timeout=self._door.visitors.head
            )
        except OSError:  # no TLS, an old one, too late, or gone
            sock.close()
        finally:
            self._door.shaking.discard(protocol)

    async def close(self, patience: float) -> None:
        """Take no more; who has begun to shake hands may go on for ``patience`` seconds."""
        self._pause()
        if self._shaking:
            await asyncio.wait(set(self._shaking), timeout=patience)
        for task in self._shaking:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._shaking, return_exceptions=True)
