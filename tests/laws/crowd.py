"""Clients that write down what they did and saw. Each is a cookie jar that follows what it is told, or does not."""

import asyncio
import base64
import json
import random
import time
from http.cookies import SimpleCookie

import aiohttp

from tests.laws.records import Saw

JSON = {"Accept": "application/json"}
KINDS = (("present", 0.5), ("racer", 0.1), ("sleeper", 0.1), ("leaver", 0.3))
SLEEP = 6.0  # seconds a sleeper is offline for


class Client:
    def __init__(self, number: int, kind: str, urls: list[str], http: aiohttp.ClientSession, rng: random.Random) -> None:
        self.number, self.kind, self._urls, self._http, self._rng = number, kind, urls, http, rng
        self._jar: dict[str, str] = {}
        self.saws: list[Saw] = []

    async def live(self, until: float) -> None:
        """Until it is in, or gone, or ``until`` (Unix time)."""
        slept = False
        while time.time() < until:
            tabs = 4 if self.kind == "racer" and self.ticket is not None else 1  # on both gates
            saws = await asyncio.gather(*(self._ask() for _ in range(tabs)))
            self.saws += saws
            if any(saw.status == 200 for saw in saws) or self.kind == "leaver":
                return
            if self.kind == "sleeper" and not slept:
                slept = True
                await asyncio.sleep(SLEEP)
                continue
            again = min((saw.again for saw in saws if saw.again is not None), default=1.0)
            await asyncio.sleep(min(5.0, max(0.2, again)))

    @property
    def ticket(self) -> str | None:
        """The id in the cookie; the payload is readable, only signed."""
        token = self._jar.get("gate_ticket_checkout") or None
        if token is None:
            return None
        payload = token.split(".")[0]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[4])

    async def _ask(self) -> Saw:
        sent = time.time()
        held = self.ticket
        headers = {**JSON, "Cookie": "; ".join(f"{name}={value}" for name, value in self._jar.items())} if self._jar else JSON
        try:
            async with self._http.get(self._rng.choice(self._urls) + "/checkout", headers=headers) as reply:
                text = await reply.text()
                self._keep(reply.headers.getall("Set-Cookie", []))
                told = json.loads(text) if reply.status == 503 else {}
                return Saw(
                    self.number,
                    self.kind,
                    sent,
                    time.time(),
                    reply.status,
                    str(told.get("state", "")) or reply.headers.get("Gate-Decision", ""),
                    told.get("ahead"),
                    float(told.get("retry_after") or reply.headers.get("Retry-After") or 1.0),
                    self._entered(reply.headers.get("Gate-Decision", "")) or self.ticket or held,
                )
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            return Saw(self.number, self.kind, sent, time.time(), 0, "", None, 1.0, held, type(error).__name__)

    def _entered(self, decision: str) -> str | None:
        """The id of the pass that came with this answer; it is the id of its ticket."""
        token = self._jar.get("gate_pass_checkout")
        if not token or not decision.startswith("forward"):
            return None
        claims = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])

    def _keep(self, fields: list[str]) -> None:
        for field in fields:
            for name, morsel in SimpleCookie(field).items():
                if morsel.value:
                    self._jar[name] = morsel.value
                else:
                    self._jar.pop(name, None)


async def crowd(urls: list[str], count: int, over: float, seconds: float, rng: random.Random) -> list[Saw]:
    """``count`` clients come within ``over`` seconds; those who stay have ``seconds`` in all."""
    begin = time.time()
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each request may meet another worker
    timeout = aiohttp.ClientTimeout(total=20.0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        kinds = rng.choices([kind for kind, _ in KINDS], [share for _, share in KINDS], k=count)
        clients = [Client(number, kind, urls, http, rng) for number, kind in enumerate(kinds)]

        async def come(client: Client) -> None:
            await asyncio.sleep(over * client.number / count)
            await client.live(begin + seconds)

        await asyncio.gather(*(come(client) for client in clients))
    return sorted((saw for client in clients for saw in client.saws), key=lambda saw: saw.got)
