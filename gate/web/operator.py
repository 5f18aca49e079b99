"""The operator listener: the JSON API, metrics, probes, and (in :mod:`gate.web.console`) the console.

The API takes bearer tokens only, never a cookie, so no page of another site can use it through an operator's browser.
``/metrics``, ``/live``, ``/ready`` and ``/openapi.json`` are open: they hold no visitor and no secret, and the listener is
not the visitors'.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gate.operators import Operator, Operators, Role
from gate.web import metrics, openapi
from gate.web.backend import Backend
from gate.web.changes import FallbackChange, RoomChange, SheddingChange
from gate.web.console import console_routes
from gate.web.problems import HANDLERS, Problem, read_body

AUDIT_LIMIT = 1000  # entries
Handler = Callable[[Request, Operator], Awaitable[Response]]


def operator_app(backend: Backend, operators: Operators | None = None) -> ASGIApp:
    """The ASGI app of the operator listener."""
    known = operators or Operators(backend.state)
    api = Api(backend, known)
    app = Starlette(
        routes=[*api.routes(), *console_routes(backend, known)],
        exception_handlers=HANDLERS,
    )
    return Guarded(app)


# --------------------------------------------------------------------------- the API


class Api:
    def __init__(self, backend: Backend, operators: Operators) -> None:
        self._backend = backend
        self._operators = operators

    def routes(self) -> list[Route]:
        viewer, operator = Role.VIEWER, Role.OPERATOR
        return [
            self._route("GET", "/api/v1/status", viewer, self.status),
            self._route("PATCH", "/api/v1/rooms/{room}", operator, self.room),
            self._route("POST", "/api/v1/rooms/{room}/preview", viewer, self.preview),
            self._route("PUT", "/api/v1/fallback", operator, self.fallback),
            self._route("PUT", "/api/v1/shedding", operator, self.shedding),
            self._route("GET", "/api/v1/audit", viewer, self.audit),
            self._route("GET", "/api/v1/config", viewer, self.config),
            self._route("POST", "/api/v1/config/reload", operator, self.reload),
            self._route("GET", "/api/v1/emails.csv", operator, self.emails),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/live", live, methods=["GET"]),
            Route("/ready", self.ready, methods=["GET"]),
        ]

    def _route(self, method: str, path: str, role: Role, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(request, self._authenticate(request, role))

        return Route(path, endpoint, methods=[method], name=handler.__name__)

    def _authenticate(self, request: Request, role: Role) -> Operator:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        operator = self._operators.who(token.strip()) if scheme.lower() == "bearer" and token else None
        if operator is None:
            challenge = 'Bearer realm="gate"' + (', error="invalid_token"' if token else "")
            raise Problem(
                401,
                "Send an operator's token: Authorization: Bearer …; `gate operators add NAME --role operator` makes one.",
                headers={"WWW-Authenticate": challenge},
            )
        if not operator.may(role):
            raise Problem(403, f"{operator.name} is a {operator.role.value}; this needs an {role.value}.")
        return operator

    async def status(self, request: Request, operator: Operator) -> Response:
        return await self._status()

    async def _status(self) -> Response:
        return Response((await self._backend.status()).model_dump_json(), media_type="application/json")

    async def room(self, request: Request, operator: Operator) -> Response:
        name = self._room(request)
        asked = await read_body(request, RoomChange)
        await self._backend.change(lambda orders: asked.apply(orders, name), who=operator.name)
        return await self._status()

    async def preview(self, request: Request, operator: Operator) -> Response:
        name = self._room(request)
        asked = await read_body(request, RoomChange)
        found = self._backend.preview(name, lambda orders: asked.apply(orders, name))
        return Response(found.model_dump_json(), media_type="application/json")

    def _room(self, request: Request) -> str:
        name: str = request.path_params["room"]
        if name not in self._backend.settings.rooms:
            rooms = ", ".join(self._backend.settings.rooms) or "none"
            raise Problem(404, f"There is no room {name!r}; the config has: {rooms}.")
        return name

    async def fallback(self, request: Request, operator: Operator) -> Response:
        asked = await read_body(request, FallbackChange)
        await self._backend.change(asked.apply, who=operator.name)
        return await self._status()

    async def shedding(self, request: Request, operator: Operator) -> Response:
        asked = await read_body(request, SheddingChange)
        await self._backend.change(asked.apply, who=operator.name)
        return await self._status()

    async def audit(self, request: Request, operator: Operator) -> Response:
        asked = request.query_params.get("limit", "100")
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= AUDIT_LIMIT:
            raise Problem(422, f"limit is a whole number from 1 to {AUDIT_LIMIT}.")
        return JSONResponse({"entries": await self._backend.audit(int(asked))})

    async def config(self, request: Request, operator: Operator) -> Response:
        return JSONResponse(self._backend.config())

    async def reload(self, request: Request, operator: Operator) -> Response:
        reload = await self._backend.reload(who=operator.name)
        if reload.problems:
            raise Problem(422, "The config file cannot be used; the last good one stays in force.", problems=reload.problems)
        told = {"accepted": True, "need_restart": reload.need_restart, "warnings": reload.warnings}
        return JSONResponse(told, status_code=202)

    async def emails(self, request: Request, operator: Operator) -> Response:
        body = await asyncio.to_thread(self._backend.emails_csv)
        return Response(
            body, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": 'attachment; filename="emails.csv"'}
        )

    async def metrics(self, request: Request) -> Response:
        status = await self._backend.status()
        return Response(metrics.exposition(self._backend.metrics, status), media_type=metrics.CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.document())

    async def ready(self, request: Request) -> Response:
        """200 when at least one worker can serve visitors."""
        status = await self._backend.status()
        if not any(worker.alive for worker in status.workers):
            raise Problem(503, "No worker is alive.", headers={"Retry-After": "1"})
        return PlainTextResponse("ready\n")


async def live(_: Request) -> Response:
    return PlainTextResponse("alive\n")


class Guarded:
    """Adds to every response what keeps a browser from framing, sniffing, caching or leaking it."""

    FIELDS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
        (b"x-robots-tag", b"noindex"),
    )
    CSP = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(field for field in (*self.FIELDS, self.CSP) if field[0] not in names),
                ]
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
