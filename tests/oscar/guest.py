"""A guest who buys at an Oscar shop over plain HTTP: reads the forms, brings back the CSRF token, stands in line if asked."""

import asyncio
import re
import time

import aiohttp

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Unexpected(Exception):
    """The shop answered something a guest cannot go on with."""


class Guest:
    """``async with Guest(url) as guest: number = await guest.buy("lantern")``."""

    def __init__(self, url: str, *, patience: float = 90.0) -> None:
        """``patience``: seconds in line for any one page."""
        self.url = url
        self.patience = patience
        self.waited = 0  # how often it was asked to wait
        self.decisions: list[str] = []
        self.session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(30), headers={"Accept": "text/html"}
        )

    async def __aenter__(self) -> "Guest":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def fetch(self, path: str, form: dict[str, str] | None = None) -> tuple[aiohttp.ClientResponse, str]:
        """The page behind all redirects, after waiting for as long as a gate asks."""
        deadline = time.monotonic() + self.patience
        while True:
            method = "GET" if form is None else "POST"
            headers = {} if form is None else {"Origin": self.url}  # as browsers do, and Django compares it with Host
            async with self.session.request(method, self.url + path, data=form, headers=headers) as answer:
                text = await answer.text()
            self.decisions.append(answer.headers.get("Gate-Decision", ""))
            if not self.decisions[-1].startswith("wait"):
                return answer, text
            if answer.url.path != path:  # sent on to a page that is waited for: the form itself went through
                path, form = answer.url.path, None
            self.waited += 1
            if time.monotonic() > deadline:
                raise Unexpected(f"{path}: patience is over")
            await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))

    async def page(self, path: str, form: dict[str, str] | None = None, *, lands: str) -> str:
        """Raises :class:`Unexpected` unless the shop answers 200 on a path that begins with ``lands``."""
        answer, text = await self.fetch(path, form)
        if answer.status != 200 or not answer.url.path.startswith(lands):
            raise Unexpected(f"{path}: {answer.status} at {answer.url.path}, not {lands}: {_gist(text)}")
        return text

    async def fill_basket(self, name: str) -> None:
        listing = await self.page("/", lands="/")
        found = re.search(rf'href="(/catalogue/[^"]*{name}[^"]*)"', listing)
        if found is None:
            raise Unexpected(f"no {name} on the front page")
        product = await self.page(found[1], lands=found[1])
        action = re.search(r'action="(/basket/add/\d+/)"', product)
        if action is None:
            raise Unexpected(f"{found[1]} cannot be bought")
        await self.page(action[1], {"csrfmiddlewaretoken": _token(product), "quantity": "1"}, lands="/")

    async def check_out(self, email: str = "guest@example.org") -> str:
        """The order number."""
        start = await self.page("/checkout/", lands="/checkout/")
        who = {"csrfmiddlewaretoken": _token(start), "username": email, "options": "anonymous"}
        address = await self.page("/checkout/", who, lands="/checkout/shipping-address/")
        where = {
            "csrfmiddlewaretoken": _token(address),
            "first_name": "Ann",
            "last_name": "Onymous",
            "line1": "1 Quiet Street",
            "line4": "Berlin",
            "postcode": "10115",
            "country": "DE",
        }
        await self.page("/checkout/shipping-address/", where, lands="/checkout/payment-details/")
        preview = await self.page("/checkout/preview/", lands="/checkout/preview/")
        order = {"csrfmiddlewaretoken": _token(preview), "action": "place_order"}
        thanks = await self.page("/checkout/preview/", order, lands="/checkout/thank-you/")
        number = re.search(r"\b(1\d{5})\b", thanks)
        if number is None:
            raise Unexpected(f"no order number: {_gist(thanks)}")
        return number[1]

    async def buy(self, name: str) -> str:
        await self.fill_basket(name)
        return await self.check_out()


def _token(page: str) -> str:
    found = _TOKEN.search(page)
    if found is None:
        raise Unexpected(f"no form: {_gist(page)}")
    return found[1]


def _gist(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<(script|style|head).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)).strip()[:600]
