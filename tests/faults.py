"""A small TCP proxy that misbehaves on demand, between a client and a real server."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Literal

from tests.processes import free_port

Mode = Literal["pass", "refuse", "blackhole", "reset"]


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends RST
    with contextlib.suppress(AttributeError):  # CPython 3.11: a transport that has ended has no loop to abort on
        writer.transport.abort()


class FaultProxy:
    """Listens on ``127.0.0.1:port`` and carries bytes to ``upstream``: a unix socket's path, or (host, port).

    ``mode``: ``pass``; ``refuse``: nobody listens; ``blackhole``: accepts, takes everything, answers nothing;
    ``reset``: resets new connections. ``cut_replies`` n: the next n replies are cut by a reset after ``cut_after`` bytes.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self.upstream = upstream
        self.mode: Mode = "pass"
        self.cut_replies = 0
        self.cut_after = 1
        self.latency = 0.0  # seconds, before each chunk from the server
        self.port = free_port()  # and no other's while nobody listens
        self.accepted = 0
        self.heard: Callable[[bytes], None] = lambda chunk: None  # told of every chunk from a client
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "FaultProxy":
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        self.reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def turn(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "refuse":
            await self._stop_listening()
            self.reset_all()
        elif self._server is None:
            await self._listen()

    def reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, reuse_address=True)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        try:
            if self.mode == "reset":
                _reset(writer)
                self._open.discard(writer)
                return
            if isinstance(self.upstream, str):
                up_reader, up_writer = await asyncio.open_unix_connection(self.upstream)
            else:
                up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            _reset(writer)
            self._open.discard(writer)
            return
        self._open.add(up_writer)
        try:
            up = asyncio.create_task(self._carry(reader, up_writer, from_server=False, other=writer))
            down = asyncio.create_task(self._carry(up_reader, writer, from_server=True, other=up_writer))
            with contextlib.suppress(asyncio.CancelledError):  # the proxy ends: to asyncio's server that would be an error
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for side in (up, down):
                side.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        finally:
            for each in (writer, up_writer):
                self._open.discard(each)
                each.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_server: bool, other: asyncio.StreamWriter
    ) -> None:
        try:
            while chunk := await reader.read(65536):
                if not from_server:
                    self.heard(chunk)
                if self.mode == "blackhole":
                    continue
                if from_server and self.latency:
                    await asyncio.sleep(self.latency)
                if from_server and self.cut_replies > 0:
                    self.cut_replies -= 1
                    writer.write(chunk[: self.cut_after])
                    await writer.drain()
                    _reset(writer)
                    _reset(other)
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return
