"""Connections to the shop: an aiohttp client that adds nothing, decodes nothing and remembers nothing.

aiohttp repeats a request once by itself when the connection died before an answer came, for idempotent methods only and
never when a part of a body was sent (RFC 9112 section 9.3.1). There is no other retry.
"""

import random
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from gate.core.settings import Settings
from gate.core.settle import Trouble
from gate.core.visit import Headers, Visit

MAX_RESPONSE_FIELD = 65536  # bytes; shops send Content-Security-Policy and Link fields beyond aiohttp's 8190
MAX_RESPONSE_FIELDS = 256
IDLE_CONNECTION = 4.0  # seconds; less than the 5 s after which common application servers close theirs


class Unreachable(Exception):
    """No answer came from the origin. ``trouble`` says how it failed."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble}: {detail}")
        self.trouble = trouble


@dataclass(slots=True, eq=False)
class Server:
    """One origin server as this worker sees it."""

    url: str
    outstanding: int = 0
    up: bool = True

    def __enter__(self) -> "Server":
        self.outstanding += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.outstanding -= 1


class Origin:
    """The pool. ``async with`` it. One per worker."""

    def __init__(self, settings: Settings, *, rng: random.Random | None = None) -> None:
        self._settings = settings.origin
        self._rng = rng or random.Random()  # noqa: S311 - which server, not a secret
        self.servers = [Server(url) for url in settings.origin.servers]
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Origin":
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._settings.connections,
            keepalive_timeout=IDLE_CONNECTION,
            ttl_dns_cache=30,
        )
        connect = self._settings.timeouts.connect
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # a jar would send one visitor's cookies with another's request
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect, sock_read=None),
            max_line_size=MAX_RESPONSE_FIELD,
            max_field_size=MAX_RESPONSE_FIELD,
            max_headers=MAX_RESPONSE_FIELDS,
            requote_redirect_url=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def mark(self, url: str, up: bool) -> None:
        """What the health checks found about one server."""
        for server in self.servers:
            if server.url == url:
                server.up = up

    def pick(self) -> Server:
        """The less busy of two servers picked at random, among those that are up (all, when none is).

        Raises :class:`Unreachable` when it has all its connections in use: waiting here would hide the overload.
        """
        able = [server for server in self.servers if server.up] or self.servers
        pair = self._rng.sample(able, 2) if len(able) > 1 else able
        chosen = min(pair, key=lambda server: server.outstanding)
        if chosen.outstanding >= self._settings.connections:
            raise Unreachable(Trouble.BUSY, chosen.url)
        return chosen

    async def request(self, server: Server, visit: Visit, headers: Headers, body: Any) -> aiohttp.ClientResponse:
        """Send, and return when the head of the answer is there. The caller closes the response.

        ``body`` is None or an async iterator. Raises :class:`Unreachable`.
        """
        assert self._session is not None  # noqa: S101 - a program error
        try:
            response = await self._session.request(
                visit.method, target(server, visit), headers=_text(headers), data=body, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(trouble_of(error), repr(error)) from error
        if response.status == 101 or response.status > 599:
            response.close()
            raise Unreachable(Trouble.GARBAGE, f"status {response.status}")
        return response

    async def tunnel(self, server: Server, visit: Visit, headers: Headers, protocols: list[str]) -> Any:
        """A WebSocket to the origin. Raises :class:`Unreachable`, or aiohttp's WSServerHandshakeError when it says no."""
        assert self._session is not None  # noqa: S101 - a program error
        try:
            return await self._session.ws_connect(
                target(server, visit),
                headers=_text(headers),
                protocols=protocols,
                autoclose=False,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
            )
        except aiohttp.WSServerHandshakeError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(trouble_of(error), repr(error)) from error


def target(server: Server, visit: Visit) -> URL:
    """The address of the same bytes at ``server``: yarl would otherwise decode ``%63`` and resolve dots."""
    text = server.url + visit.path.raw.decode() + ("?" + visit.query.decode() if visit.query else "")
    return URL(text, encoded=True)


def trouble_of(error: Exception) -> Trouble:
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return Trouble.CONNECT
        case TimeoutError():
            return Trouble.TIMEOUT
        case aiohttp.ClientResponseError() | ValueError():
            return Trouble.GARBAGE
        case _:
            return Trouble.RESET


def _text(headers: Headers) -> list[tuple[str, str]]:
    """aiohttp writes text as UTF-8. Latin-1 bytes, which are rare, become the same letters in UTF-8."""
    fields = []
    for name, value in headers:
        try:
            fields.append((name.decode(), value.decode()))
        except UnicodeDecodeError:
            fields.append((name.decode(), value.decode("latin-1")))
    return fields


def fields_of(response: aiohttp.ClientResponse) -> Headers:
    return tuple((name.lower(), value) for name, value in response.raw_headers)
