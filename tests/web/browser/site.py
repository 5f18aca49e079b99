"""A gate in memory on a real port, and a clock that stands still: it moves when the test says so, at once for gate and page."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from tests.browser import PATIENCE
from tests.processes import eventually
from tests.web.conftest import ROOM, Gate, build

INSIDE = "h1:text-is('The shop')"
UNSEEN = 'window.unseen = true; Object.defineProperty(document, "hidden", {get: () => window.unseen});'
SEEN = "() => { window.unseen = false; document.dispatchEvent(new Event('visibilitychange')); }"
TAGS = ["en", "de", "ar"]
SEED = bytes(range(32)).hex()

# What takes real time is counted in `pending`: to load, to leave, to ask, to hash. A request has no stopwatch of its own
# (XMLHttpRequest's would run in real time), and no die is thrown.
STANDS_STILL = """
window.pending = 1;
addEventListener("load", () => pending--);
navigation.addEventListener("navigate", () => pending++);
for (const [kind, name] of [[HTMLFormElement, "submit"], [XMLHttpRequest, "send"], [SubtleCrypto, "digest"]]) {
  const real = kind.prototype[name], done = () => pending--;
  kind.prototype[name] = function (...given) {
    pending++;
    if (name === "send") this.addEventListener("loadend", done);
    const result = real.apply(this, given);
    if (name === "digest") result.then(done, done);
    return result;
  };
}
Object.defineProperty(XMLHttpRequest.prototype, "timeout", {set() {}});
Math.random = () => 0;
"""


class Site:
    """A gate on a real port, in a thread with its own loop. The test turns its knobs between requests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gate: Gate
        self.now = float(int(time.time()))  # seconds
        self.asked: list[tuple[str, str]] = []
        self.broken = False  # answer nothing but rubbish to scripts
        self.body: Callable[[bytes], bytes] | None = None  # changes pages on the way, as some CDNs do
        self.built = 0
        config = uvicorn.Config(
            self._serve,
            host="127.0.0.1",
            port=0,
            http="h11",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_level="warning",
            access_log=False,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        eventually(lambda: self.server.started, PATIENCE)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def reset(self, **settings: Any) -> Gate:
        """Another gate, as if nothing had been."""
        self.asked.clear()
        self.broken, self.body = False, None
        self.built += 1
        self.gate = build(self.directory / str(self.built), clock=lambda: self.now, **settings)
        return self.gate

    def sale(self, opens: float, **room: Any) -> Gate:
        """A gate whose room opens in so many seconds."""
        gate = self.reset(rooms={"checkout": {**ROOM, "opens": self.now + opens, **room}})
        gate.room.serving = gate.room.last = 0
        return gate

    def stop_the_clock(self, page: Any, *, ahead: float = 0.0) -> None:
        """The page's clock, from the next document on: so many seconds ahead of the gate's."""
        page.context.add_init_script(STANDS_STILL)
        page.clock.install(time=self.now + ahead - 3600)  # it ticks at first, and cannot be paused at what has passed
        page.clock.pause_at(self.now + ahead)

    def passes(self, page: Any, seconds: float, until: Callable[[], Any] | None = None, *, step: float = 0.5) -> None:
        """Lets so many seconds pass, for the gate and for the page, and after each step all that the page began come to its
        end: however long that takes, no time passes meanwhile. ``until``: ends as soon as this is true, fails if it is not."""
        for _ in range(round(seconds / step)):
            if until is not None and until():
                return
            self.now += step
            page.clock.run_for(1000 * step)
            settles(page)
        assert until is None or until(), f"not within {seconds} s of the page's time"

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self.gate.engine.refresh()
        self.asked.append((scope["method"], scope["path"]))
        if self.broken and scope["path"].startswith("/__gate"):
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"bad"})
            return

        async def through(message: Any) -> None:
            if self.body is not None and message["type"] == "http.response.start":
                message = {**message, "headers": [field for field in message["headers"] if field[0] != b"content-length"]}
            if self.body is not None and message["type"] == "http.response.body":
                message = {**message, "body": self.body(message["body"])}
            await send(message)

        await self.gate.serve(scope, receive, through)

    def count(self, method: str, end: str) -> int:
        return sum(seen[0] == method and seen[1].endswith(end) for seen in self.asked)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)


def settles(page: Any) -> None:
    """Returns when the page waits for nothing but for its clock."""
    page.wait_for_function("() => pending === 0")


def near(gate: Gate) -> None:
    """Only a few ahead, so that polls come every two seconds."""
    gate.room.last = gate.room.serving + 3


def text(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())


def ahead(page: Any) -> str:
    """The number of people ahead, as it is shown."""
    return text(page, "#place").split()[0]


def is_inside(page: Any) -> bool:
    return bool(page.locator(INSIDE).count())
