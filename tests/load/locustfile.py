"""Visitors who look round, fill a cart and buy: at the demo shop, or at yours.

    locust -f tests/load/locustfile.py --host https://shop.example --users 500 --spawn-rate 50 \
        --browse /,/sale --product /p/42 --cart-form /basket/add --checkout /checkout \
        --fill 'name=Ann Example&email=ann@example.org'

Forms are read from the pages and sent back with every hidden field (tokens against forgery too), so most shops need no
more than the paths. A waiting answer is no failure: the visitor stands in line, asks again when told to, and how long
it took is reported as ``LINE``. What counts as one: a ``Gate-Decision: wait``, or 202, 429 or 503 with ``Retry-After``.
Every option can come from the environment (``SHOP_BROWSE``, ``SHOP_PRODUCT``, …).
"""

import random
import re
import time
from argparse import Namespace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from locust import HttpUser, between, events, task
from locust.exception import StopUser

_OPTIONS = (
    ("--browse", "/,/product/lantern,/product/mug", "pages to look at, with commas between them"),
    ("--product", "/product/lantern", "the page of what is bought"),
    ("--cart-form", "/cart/add", "what the action of the form on it begins with"),
    ("--checkout", "/checkout", "the page with the order form"),
    ("--fill", "name=Visitor&email=visitor@example.org", "what is typed into forms, as a query string"),
    ("--done", "done|thank|confirm|success", "what the address after a bought order matches"),
    ("--patience", "600", "seconds in line after which a visitor gives up"),
)


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    for name, default, text in _OPTIONS:
        parser.add_argument(name, default=default, help=text, env_var="SHOP_" + name[2:].replace("-", "_").upper())


class Form:
    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.fields: dict[str, str] = {}


class Forms(HTMLParser):
    """The forms of a page, with the values their fields have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(given.get("action", ""), given.get("method", "get").upper()))
            self._open = True
        elif self._open and tag in ("input", "button", "select", "textarea") and given.get("name"):
            unchecked = given.get("type") in ("checkbox", "radio") and "checked" not in given
            if not unchecked:
                self.found[-1].fields.setdefault(given["name"], given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


class Buyer(HttpUser):
    """One visitor after the other: each buys once, then somebody new comes."""

    wait_time = between(0.5, 2)

    @task
    def visit(self) -> None:
        self.client.cookies.clear()
        options = self._options
        for page in random.sample(pages := options.browse.split(","), k=min(2, len(pages))):
            self._ask("GET", page)
            self.wait()
        product = self._ask("GET", options.product)
        form = self._form(product, options.cart_form)
        if form is None:
            return  # sold out: nothing to press
        self._send(product, form)
        self.wait()
        checkout = self._ask("GET", options.checkout)
        order = self._form(checkout, options.checkout)
        if order is None:
            return
        order.fields |= {key: value for key, value in parse_qsl(options.fill) if key in order.fields}
        self.wait()
        done = self._send(checkout, order, refused=(409,))
        self._report("BUY", "bought" if re.search(options.done, urlsplit(done.url).path) else "not bought", 0)

    # -- the wire

    @property
    def _options(self) -> Namespace:
        options: Namespace = self.environment.parsed_options
        return options

    def _form(self, page: Any, action: str) -> Form | None:
        here = urlsplit(page.url).path
        return next((form for form in Forms(page.text).found if _path(page, form.action or here).startswith(action)), None)

    def _send(self, page: Any, form: Form, *, refused: tuple[int, ...] = ()) -> Any:
        return self._ask(form.method, _path(page, form.action or page.url), form.fields, refused=refused)

    def _ask(self, method: str, path: str, data: dict[str, str] | None = None, *, refused: tuple[int, ...] = ()) -> Any:
        """The shop's answer, after standing in line for as long as it takes; ``refused``: statuses that are no failure."""
        since: float | None = None
        while True:
            name = "/".join(path.partition("?")[0].split("/")[:3])
            with self.client.request(method, path, data=data, name=name, catch_response=True) as answer:
                waiting = seconds_to_wait(answer)
                if waiting is not None:
                    answer.request_meta["name"] = f"{name} (in line)"
                    answer.success()
                elif answer.status_code in refused:
                    answer.success()
            if waiting is None:
                if since is not None:
                    self._report("LINE", name, time.monotonic() - since)
                return answer
            since = since or time.monotonic()
            if time.monotonic() - since > float(self._options.patience):
                self._report("LINE", "gave up", time.monotonic() - since)
                raise StopUser
            if answer.history and urlsplit(answer.url).path != path:  # the form went through; the page behind it waits
                method, path, data = "GET", urlsplit(answer.url).path, None
            time.sleep(waiting * random.uniform(1.0, 1.2))

    def _report(self, kind: str, name: str, seconds: float) -> None:
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=seconds * 1000, response_length=0, exception=None, context={}
        )


def seconds_to_wait(answer: Any) -> float | None:
    """None for a final answer; else the seconds after which to ask again."""
    after = answer.headers.get("Retry-After", "")
    is_waiting = answer.headers.get("Gate-Decision", "").startswith("wait")
    if is_waiting or (answer.status_code in (202, 429, 503) and after.isdigit()):
        return max(0.2, float(after) if after.isdigit() else 5.0)
    return None


def _path(page: Any, target: str) -> str:
    parts = urlsplit(urljoin(page.url, target))
    return parts.path + (f"?{parts.query}" if parts.query else "")
