"""A small real shop in its own process: ``python -m gate.demo.shop --port 9000 --db shop.db``.

Catalogue, search, cart, checkout with finite stock, and knobs (:mod:`gate.demo.knobs`) that break any part of it. It knows
nothing of the gate but two headers: it writes down ``Gate-Visitor`` and ``Gate-Room``, and its order confirmation says
``Gate-Command: release``.
"""

import argparse
import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import uvicorn
from itsdangerous import BadData, URLSafeSerializer
from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from uvicorn.protocols.http.h11_impl import H11Protocol

from gate.demo.catalogue import PRODUCTS, Product, find
from gate.demo.journal import Journal
from gate.demo.knobs import Breakable, Knobs
from gate.demo.warehouse import Order, SoldOut, Warehouse
from gate.process import die_with_parent

LIVE_RATE = "4.99"  # what the shipping service says today
FLAT_RATE = "7.99"  # what is charged when it says nothing
MAX_PIECES = 5  # of one product in one cart
MAX_FORM = 16 << 10  # bytes
COOKIE = "shop_cart"
_FORWARDED = ("via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "gate-room", "gate-visitor")

Cart = dict[str, int]


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} €"


def _pieces(left: int) -> str:
    return "Sold out" if left == 0 else f"Only {left} left" if left <= 20 else "In stock"


class Shop:
    """The endpoints, over one warehouse."""

    def __init__(self, warehouse: Warehouse, knobs: Knobs) -> None:
        self.warehouse = warehouse
        self.knobs = knobs
        self._signer = URLSafeSerializer(warehouse.cookie_secret, salt="shop.cart")
        self._templates = Environment(loader=PackageLoader("gate.demo"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._templates.filters |= {"money": _money, "pieces": _pieces}

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.catalogue),
            Route("/search", self.search),
            Route("/product/{id}", self.product),
            Route("/reviews/{id}", self.reviews),
            Route("/recommendations/{id}", self.recommendations),
            Route("/api/shipping-rates", self.shipping_rates),
            Route("/cart", self.cart),
            Route("/cart/add", self.add, methods=["POST"]),
            Route("/cart/empty", self.empty, methods=["POST"]),
            Route("/checkout", self.checkout),
            Route("/checkout", self.buy, methods=["POST"]),
            Route("/checkout/done/{id}", self.done),
            Route("/orders/{id}", self.order),
            Route("/healthz", self.health),
            Route("/__shop/knobs", self.show_knobs),
            Route("/__shop/knobs", self.turn_knobs, methods=["POST"]),
            Mount("/assets", StaticFiles(packages=[("gate.demo", "assets")])),
        ]

    # -- looking round

    async def catalogue(self, request: Request) -> Response:
        stock = await asyncio.to_thread(self.warehouse.stock)
        return self._page(request, "catalogue.html", products=list(PRODUCTS.values()), stock=stock)

    async def search(self, request: Request) -> Response:
        query = request.query_params.get("q", "")[:200].strip()
        stock = await asyncio.to_thread(self.warehouse.stock)
        return self._page(request, "catalogue.html", products=find(query), stock=stock, query=query)

    async def product(self, request: Request) -> Response:
        product = _product(request)
        stock = await asyncio.to_thread(self.warehouse.stock)
        return self._page(request, "product.html", product=product, left=stock[product.id])

    async def reviews(self, request: Request) -> Response:
        return self._page(request, "reviews.html", product=_product(request))

    async def recommendations(self, request: Request) -> Response:
        others = [PRODUCTS[id_] for id_ in _product(request).goes_with]
        return self._page(request, "recommendations.html", others=others)

    async def shipping_rates(self, _request: Request) -> Response:
        return JSONResponse({"rate": float(LIVE_RATE), "currency": "EUR", "carrier": "Pigeon Post"})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})

    # -- buying

    async def cart(self, request: Request) -> Response:
        return self._page(request, "cart.html")

    async def add(self, request: Request) -> Response:
        product = PRODUCTS.get((await _form(request)).get("product", ""))
        if product is None:
            raise HTTPException(400, "There is no such product.")
        cart = self._cart(request)
        cart[product.id] = min(cart.get(product.id, 0) + 1, MAX_PIECES)
        return self._with_cart(RedirectResponse("/cart", 303), request, cart)

    async def empty(self, request: Request) -> Response:
        return self._with_cart(RedirectResponse("/cart", 303), request, {})

    async def checkout(self, request: Request) -> Response:
        return self._checkout_page(request)

    async def buy(self, request: Request) -> Response:
        cart = self._cart(request)
        form = await _form(request)
        name, email = form.get("name", "").strip()[:80], form.get("email", "").strip()[:254]
        problem = ""
        if not cart:
            return self._checkout_page(request, status=400)
        if not name or "@" not in email:
            problem = "Please give a name and an e-mail address."
        elif form.get("rate") not in (LIVE_RATE, FLAT_RATE):
            problem = "The shipping rate has changed. Please look again and press Buy."
        elif not form.get("form"):
            problem = "Please press Buy once more."
        if problem:
            return self._checkout_page(request, problem=problem, name=name, email=email, status=400)
        shipping = round(float(form["rate"]) * 100)
        try:
            order = await asyncio.to_thread(
                self.warehouse.place, form["form"][:64], cart, name=name, email=email, shipping=shipping
            )
        except SoldOut as error:
            problem = f"{PRODUCTS[error.product].name}: {_pieces(error.left).lower()}. Nothing was ordered."
            return self._checkout_page(request, problem=problem, name=name, email=email, status=409)
        return self._with_cart(RedirectResponse(f"/checkout/done/{order.id}", 303), request, {})

    async def done(self, request: Request) -> Response:
        response = self._order_page(request, await self._order(request))
        response.headers["gate-command"] = "release"
        return response

    async def order(self, request: Request) -> Response:
        return self._order_page(request, await self._order(request))

    # -- breaking it

    async def show_knobs(self, request: Request) -> Response:
        _only_direct(request)
        return JSONResponse(self.knobs.to_json())

    async def turn_knobs(self, request: Request) -> Response:
        _only_direct(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send application/json.")  # a page in somebody's browser cannot, unasked
        try:
            self.knobs.turn(await request.json())
        except ValueError as error:
            return JSONResponse({"problem": str(error)}, 400)
        return JSONResponse(self.knobs.to_json())

    # -- pages

    async def error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for no other
        heading = "Not found" if error.status_code == 404 else "That did not work"
        text = "There is nothing here." if error.status_code == 404 else error.detail
        return self._page(request, "message.html", heading=heading, text=text, status=error.status_code)

    def _page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        cart = self._cart(request)
        values |= {
            "cart": [(PRODUCTS[id_], pieces) for id_, pieces in cart.items()],
            "pieces": sum(cart.values()),
            "sum": sum(PRODUCTS[id_].price * pieces for id_, pieces in cart.items()),
        }
        return HTMLResponse(
            self._templates.get_template(template).render(values),
            status,
            {
                "cache-control": "no-cache",
                "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
                "x-content-type-options": "nosniff",
            },
        )

    def _checkout_page(self, request: Request, *, status: int = 200, **values: str) -> Response:
        page = {"problem": "", "name": "", "email": "", "flat": FLAT_RATE, "form": secrets.token_urlsafe(12)} | values
        return self._page(request, "checkout.html", status=status, **page)

    def _order_page(self, request: Request, order: Order) -> HTMLResponse:
        lines = [(PRODUCTS[id_], pieces) for id_, pieces in order.lines.items()]
        return self._page(request, "done.html", order=order, lines=lines)

    async def _order(self, request: Request) -> Order:
        order = await asyncio.to_thread(self.warehouse.order, request.path_params["id"])
        if order is None:
            raise HTTPException(404)
        return order

    # -- the cart lives in a signed cookie, so that a restart of the shop loses nothing

    def _cart(self, request: Request) -> Cart:
        try:
            found = self._signer.loads(request.cookies.get(COOKIE, ""))
        except BadData:
            return {}
        return {id_: pieces for id_, pieces in cast(Mapping[str, int], found).items() if id_ in PRODUCTS}

    def _with_cart(self, response: Response, request: Request, cart: Cart) -> Response:
        value = self._signer.dumps(cart)
        text = value if isinstance(value, str) else value.decode()
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        response.set_cookie(COOKIE, text, max_age=86400, httponly=True, samesite="lax", secure=secure)
        return response


def _product(request: Request) -> Product:
    product = PRODUCTS.get(request.path_params["id"])
    if product is None:
        raise HTTPException(404)
    return product


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM:
            raise HTTPException(413, "That is too much text.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=50))
    except ValueError as error:
        raise HTTPException(400, "That is too many fields.") from error


def _only_direct(request: Request) -> None:
    """The knobs are for whoever sits at the machine, not for visitors: 404 for all that came by a proxy or from afar."""
    peer = request.client.host if request.client else ""
    host = request.headers.get("host", "").rpartition(":")[0]
    if (
        peer not in ("127.0.0.1", "::1")
        or host not in ("127.0.0.1", "localhost", "[::1]")
        or any(name in request.headers for name in _FORWARDED)
    ):
        raise HTTPException(404)


class Protocol(H11Protocol):
    """uvicorn's, with the connection in ``scope["state"]``, for the knob that closes it without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def build(warehouse: Warehouse, knobs: Knobs, log: Path) -> Starlette:
    shop = Shop(warehouse, knobs)
    return Starlette(
        routes=shop.routes(),
        middleware=[Middleware(Journal, path=log), Middleware(Breakable, knobs=knobs)],
        exception_handlers={HTTPException: shop.error},
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m gate.demo.shop", description="A small shop to put the gate in front of.")
    options.add_argument("--port", type=int, default=9000, help="on 127.0.0.1 (default %(default)s; 0 takes a free one)")
    options.add_argument("--db", type=Path, default=Path("shop.db"), help="SQLite file with stock and orders")
    options.add_argument("--journal", type=Path, help="JSON lines of all requests (default: next to the database)")
    options.add_argument("--stock", type=int, default=200, help="lanterns in stock in a new database; ten times it of the rest")
    options.add_argument("--parent", type=int, help="process id of the parent: the shop ends when it does, even by SIGKILL")
    given = options.parse_args()
    if given.parent:
        die_with_parent(given.parent)
    stock = {product: given.stock * (1 if product == "lantern" else 10) for product in PRODUCTS}
    warehouse = Warehouse(given.db, stock=stock)
    app = build(warehouse, Knobs(), given.journal or given.db.with_suffix(".jsonl"))
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=given.port,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
    listening = config.bind_socket()  # exits with a message when the port is taken
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        warehouse.close()


if __name__ == "__main__":
    main()
