"""A crowd that wants the same lantern: ``python -m gate.demo.crowd --url http://127.0.0.1:8080 --visitors 200``.

Each visitor looks round, puts a lantern into the cart and buys it; stands in line where the gate says so, asks again when
it was told to, and gives up when its patience is over. Half of them are browsers without JavaScript, which only know
``Retry-After``; the other half are apps, which watch the shared status document and claim their pass when called.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from rich.console import Console
from rich.live import Live

from gate.demo.tally import State, Tally

CONNECTIONS = 200
TRIES = 5  # requests in a row without any answer, and the visitor takes the shop for broken
_FORM = re.compile(r'name="form" value="([^"]+)"')
_FLAT = re.compile(r'name="rate" value="([^"]+)"')


class _GaveUp(Exception):
    """Patience, or the time of the whole crowd, is over."""


class _Broken(Exception):
    """An answer that no visitor can do anything with."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    path: str  # after redirects
    decision: str  # the gate's word, "" where there is none
    retry_after: float | None  # seconds
    text: str

    @property
    def outcome(self) -> str:
        return self.decision.partition(";")[0].strip()

    @property
    def room(self) -> str | None:
        found = re.search(r"room=([a-z0-9-]+)", self.decision)
        return found[1] if found else None


class Crowd:
    """``arrive`` and ``patience`` in seconds: all come within the one, and stand in line no longer than the other."""

    def __init__(
        self,
        url: str,
        visitors: int,
        *,
        arrive: float = 5.0,
        patience: float = 900.0,
        product: str = "lantern",
        seed: int | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.visitors = visitors
        self.arrive = arrive
        self.patience = patience
        self.product = product
        self.tally = Tally()
        self.rng = random.Random(seed)  # noqa: S311 - a simulation
        self.tally.states[State.COMING] = visitors

    async def run(self, *, within: float) -> Tally:
        """Returns when every visitor has come to an end, or after ``within`` seconds (those left have given up)."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with connector:
            visits = [
                asyncio.create_task(Visitor(self, connector, number).live(delay=self.rng.uniform(0, self.arrive)))
                for number in range(self.visitors)
            ]
            try:
                await asyncio.wait(visits, timeout=within)
            finally:
                for visit in visits:
                    visit.cancel()
                await asyncio.gather(*visits, return_exceptions=True)
        return self.tally


class Visitor:
    def __init__(self, crowd: Crowd, connector: aiohttp.TCPConnector, number: int) -> None:
        self.crowd = crowd
        self.tally = crowd.tally
        self.number = number
        self.state = State.COMING
        self.is_app = number % 2 == 1
        self.rng = random.Random(crowd.rng.random())  # noqa: S311 - whims, not secrets
        self._connector = connector
        self._session: aiohttp.ClientSession | None = None
        self._in_line_since: float | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # the demo's host is an IP address
            timeout=aiohttp.ClientTimeout(60),
            headers={"User-Agent": f"crowd/{self.number}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def live(self, *, delay: float) -> None:
        """One visit, from arrival to its end."""
        end = State.GAVE_UP
        try:
            await asyncio.sleep(delay)
            self._become(State.BROWSING)
            async with self:
                end = await self._visit()
        except _GaveUp:
            pass
        except _Broken as error:
            self.tally.problems[str(error)] += 1
            end = State.FAILED
        finally:
            self._become(end)

    async def _visit(self) -> State:
        product = self.crowd.product
        await self._ask("GET", "/")
        await self._think()
        await self._ask("GET", f"/product/{product}")
        for extra in ("reviews", "recommendations"):
            await self._ask("GET", f"/{extra}/{product}", matters=False)
        await self._think()
        await self._ask("POST", "/cart/add", {"product": product})
        page = await self._ask("GET", "/checkout")
        form, rate = _FORM.search(page.text), _FLAT.search(page.text)
        if form is None or rate is None:
            raise _Broken("no form on the checkout page")
        await self._think()
        order = {"form": form[1], "rate": await self._rate(rate[1])}
        done = await self._ask("POST", "/checkout", order | {"name": f"Visitor {self.number}", "email": "crowd@example.org"})
        if done.status == 409:
            return State.SOLD_OUT
        if done.status != 200 or not done.path.startswith("/checkout/done/"):
            raise _Broken(f"checkout answered {done.status}")
        return State.BOUGHT

    async def _rate(self, flat: str) -> str:
        reply = await self._ask("GET", "/api/shipping-rates", matters=False)
        try:
            return f"{json.loads(reply.text)['rate']:.2f}"
        except (ValueError, KeyError, TypeError):
            return flat

    async def _think(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.1, 0.8))

    # -- asking, and asking again

    async def _ask(self, method: str, path: str, form: dict[str, str] | None = None, *, matters: bool = True) -> Reply:
        """The shop's answer; waits for as long as the gate says. What does not matter is asked for once."""
        silent = 0
        while True:
            try:
                reply = await self._request(method, path, form)
            except (aiohttp.ClientError, TimeoutError) as error:
                silent += 1
                if not matters:
                    return Reply(0, path, "", None, "")
                if silent == TRIES:
                    raise _Broken(type(error).__name__) from error
                await asyncio.sleep(self.rng.uniform(0.5, 1.5) * silent)
                continue
            silent = 0
            if not matters:
                return reply
            if reply.retry_after is None or reply.outcome == "forward":
                if reply.status >= 500:
                    raise _Broken(
                        f"{method} {path.split('/')[1] or '/'} answered {reply.status} ({reply.decision or 'no decision'})"
                    )
                self._through(reply)
                return reply
            await self._wait(reply)

    def _through(self, reply: Reply) -> None:
        if self._in_line_since is not None or reply.room is not None:
            if self.state is State.WAITING or not self._entered:
                self._become(State.INSIDE if reply.room else State.BROWSING)
            if reply.room and not self._entered:
                self._entered = True
                self.tally.entered += 1
                self.tally.waits.append(time.monotonic() - (self._in_line_since or time.monotonic()))
            self._in_line_since = None

    async def _wait(self, reply: Reply) -> None:
        """Stand in line (or wait for a shop that is down) until it is time to ask again."""
        self._become(State.WAITING)
        now = time.monotonic()
        self._in_line_since = self._in_line_since or now
        left = self.crowd.patience - (now - self._in_line_since)
        if left <= 0:
            raise _GaveUp
        seconds = max(0.2, reply.retry_after or 0.0) * self.rng.uniform(1.0, 1.2)
        await asyncio.sleep(min(left, seconds))
        if self.is_app and reply.outcome == "wait" and reply.room is not None:
            await self._claim(reply.room, self._in_line_since + self.crowd.patience)

    async def _claim(self, room: str, deadline: float) -> None:
        """As an app does: own number once, then the document that is the same for all, then the pass."""
        try:
            number = _number(await self._request("GET", f"/__gate/rooms/{room}/ticket"))
            while time.monotonic() < deadline:
                status = await self._request("GET", f"/__gate/rooms/{room}/status")
                if number is not None and _serving(status) < number:
                    await asyncio.sleep(self.rng.uniform(1.0, 2.0))
                    continue
                claim = await self._request("POST", f"/__gate/rooms/{room}/pass")
                if claim.status != 202:
                    return
                await asyncio.sleep(max(0.2, claim.retry_after or 1.0))
        except (aiohttp.ClientError, TimeoutError):
            return  # ask for the page again: that always tells what is the matter

    async def _request(self, method: str, path: str, form: dict[str, str] | None = None) -> Reply:
        assert self._session is not None  # noqa: S101 - made before the first request
        self.tally.requests += 1
        accept = "application/json" if path.startswith(("/__gate/", "/api/")) else "text/html"
        async with self._session.request(method, self.crowd.url + path, data=form, headers={"Accept": accept}) as answer:
            after = answer.headers.get("Retry-After", "")
            return Reply(
                answer.status,
                answer.url.path,
                answer.headers.get("Gate-Decision", ""),
                float(after) if after.isdigit() else None,
                await answer.text(errors="replace"),
            )

    def _become(self, state: State) -> None:
        self.tally.states[self.state] -= 1
        self.tally.states[state] += 1
        self.state = state


def _number(reply: Reply) -> int | None:
    found = _document(reply).get("number")
    return found if isinstance(found, int) else None


def _serving(reply: Reply) -> float:
    """Infinite when the document does not say: then ask for the pass and see."""
    found = _document(reply).get("serving")
    return found if isinstance(found, int) else float("inf")


def _document(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def watch(crowd: Crowd, *, within: float, console: Console) -> Tally:
    """Run the crowd and show it: a live table on a terminal, a line every two seconds elsewhere."""
    run = asyncio.create_task(crowd.run(within=within))
    if console.is_terminal:
        with Live(crowd.tally.table(), console=console, refresh_per_second=4) as live:
            while not run.done():
                await asyncio.wait([run], timeout=0.25)
                live.update(crowd.tally.table())
    else:
        while not run.done():
            console.print(f"crowd: {crowd.tally.line()}", highlight=False, soft_wrap=True)
            await asyncio.wait([run], timeout=2)
        console.print(f"crowd: {crowd.tally.line()}", highlight=False, soft_wrap=True)
    return await run


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m gate.demo.crowd", description="Visitors who all want the same thing.")
    options.add_argument("--url", default="http://127.0.0.1:8080", help="the gate (default %(default)s)")
    options.add_argument("--visitors", type=int, default=200, help="how many (default %(default)s)")
    options.add_argument("--arrive", type=float, default=5, help="seconds within which all of them come (default %(default)s)")
    options.add_argument("--patience", type=float, default=900, help="seconds after which one gives up (default %(default)s)")
    options.add_argument("--within", type=float, default=900, help="seconds after which all go home (default %(default)s)")
    options.add_argument("--product", default="lantern", help="what they want (default %(default)s)")
    options.add_argument("--seed", type=int, help="of their random choices")
    given = options.parse_args()
    crowd = Crowd(
        given.url, given.visitors, arrive=given.arrive, patience=given.patience, product=given.product, seed=given.seed
    )
    try:
        tally = asyncio.run(watch(crowd, within=given.within, console=Console()))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1 if tally.problems else 0)


if __name__ == "__main__":
    main()
