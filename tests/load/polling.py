"""A crowd of waiting visitors, each of whom looks at the status document as often as the document says."""

import asyncio
import heapq
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

CONNECTIONS = 16  # the crowd shares these: what is measured is what its requests cost, not its connections
FORMS = ("application/json", "*/*", "text/html,application/json;q=0.9", "application/json, text/plain, */*")  # Accept


@dataclass
class Client:
    """An HTTP/1.1 connection that is kept for as long as the server likes; whole answers with a length are all it knows."""

    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(port, *await asyncio.open_connection("127.0.0.1", port))

    async def get(self, target: str, *fields: str) -> tuple[int, bytes, bytes]:
        """Status, head, body."""
        lines = "".join(f"{line}\r\n" for line in fields)
        self.writer.write(f"GET {target} HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        assert length is not None, head
        body = await self.reader.readexactly(int(length[1]))
        if b"\r\nconnection: close\r\n" in head.lower():
            self.writer.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return int(head[9:12]), head, body


@asynccontextmanager
async def clients(port: int, count: int = CONNECTIONS) -> AsyncIterator["asyncio.Queue[Client]"]:
    """So many, to be taken from the queue and put back."""
    free: asyncio.Queue[Client] = asyncio.Queue()
    made = [await Client.connect(port) for _ in range(count)]
    for client in made:
        free.put_nowait(client)
    try:
        yield free
    finally:
        for client in made:
            client.writer.close()
        await asyncio.gather(*(client.writer.wait_closed() for client in made), return_exceptions=True)


async def join(port: int, count: int) -> list[int]:
    """So many newcomers; the numbers of those who have to wait."""
    numbers = []

    async def newcomer(free: "asyncio.Queue[Client]") -> None:
        client = await free.get()
        status, _, body = await client.get("/checkout/pay", "Accept: application/json")
        free.put_nowait(client)
        if status == 503:
            numbers.append(int(json.loads(body)["number"]))

    async with clients(port) as free:
        await asyncio.gather(*(newcomer(free) for _ in range(count)))
    return numbers


@dataclass
class Crowd:
    """Visitors with these numbers, who look at ``port``."""

    port: int
    room: str
    numbers: list[int]
    polls: int = 0
    wrong: list[bytes] = field(default_factory=list)  # answers that were none
    said: list[tuple[float, str]] = field(default_factory=list)  # (loop time of asking, the operator's word)
    _due: list[tuple[float, int]] = field(default_factory=list)  # a heap

    async def wait(self, seconds: float) -> None:
        """Everybody looks within the first second, as after a page that was reloaded everywhere; then as the document says."""
        loop = asyncio.get_running_loop()
        over = loop.time() + seconds
        self._due = [(loop.time() + random.random(), number) for number in self.numbers]
        heapq.heapify(self._due)
        async with clients(self.port) as free, asyncio.TaskGroup() as tasks:
            while loop.time() < over:
                if self._due[0][0] > loop.time():
                    await asyncio.sleep(0.005)
                    continue
                _, number = heapq.heappop(self._due)
                tasks.create_task(self._look(number, await free.get(), free))
                if not self._due:
                    await asyncio.sleep(0.005)

    async def _look(self, number: int, client: Client, free: "asyncio.Queue[Client]") -> None:
        now = asyncio.get_running_loop().time()
        target = f"/__gate/rooms/{self.room}/status" + random.choice(("", f"?t={now}"))  # some pages outwit caches
        status, head, body = await client.get(target, f"Accept: {random.choice(FORMS)}", "Cookie: a=b")
        free.put_nowait(client)
        self.polls += 1
        if status != 200:
            self.wrong.append(head)
            heapq.heappush(self._due, (now + 2, number))
            return
        document = json.loads(body)
        self.said.append((now, document["message"]))
        heapq.heappush(self._due, (now + again(document, number), number))


def again(document: dict[str, Any], number: int) -> float:
    """Seconds until the page of ``number`` looks once more, as ``static/waiting.js`` does."""
    poll = document["poll"]
    seconds = poll["far"]
    if document["pace"] is not None:
        ahead = max(0, number - 1 - document["serving"] + document["at_door"])
        seconds = min(seconds, max(poll["near"], (ahead + 1) * document["pace"][0] * poll["share"]))
    return float(seconds * (1 + poll["jitter"] * random.random()))
