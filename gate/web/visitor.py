"""The visitors' endpoints under ``/__gate/``: status, ticket, pass, the e-mail form, liveness.

``request.scope["gate.visit"]`` holds the :class:`~gate.core.visit.Visit` that the wire has read; nothing here looks at the
raw headers again. Programs get JSON, the forms of the pages get redirects and pages.
"""

import json
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gate.core.answer import Answer, Fields
from gate.core.decision import Decision
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.private import NotKept
from gate.web import authorize, invitation
from gate.web.documents import PRIVATE
from gate.web.emails import BadAddress, Emails, parse_address
from gate.web.forms import KeptForm, OverForm, UnknownForm, unseal
from gate.web.links import checked_path
from gate.web.status import StatusBoard
from gate.web.unlisted import Unlisted

MAX_MAIL_FORM = 2048  # bytes
MAX_KEPT_FORM = 20_000  # and the kept form, which is longer than what it keeps
MAX_PASS_FORM = 8192  # it names a path of up to 2 KiB, percent-encoded
STALE = 10.0  # seconds without a new snapshot, and this worker is not ready
_PRIVATE_NAMES = frozenset(name for name, _ in PRIVATE)


class Meter(Protocol):
    def decided(self, decision: Decision) -> None: ...


class Engine(authorize.Engine, invitation.Engine, Protocol):
    """What the endpoints need of :class:`gate.engine.Engine`."""

    @property
    def meter(self) -> Meter: ...
    async def consider_room(self, visit: Visit, name: str, *, claim: bool = True) -> Decision: ...
    async def hit_form(self, visit: Visit) -> bool: ...


class TooMuch(Exception):
    """The body is longer than this form can be."""


def visitor_app(engine: Engine, emails: Emails, unlisted: Unlisted | None = None) -> Starlette:
    """The app the door calls for everything under ``/__gate/``. ``unlisted`` hears who asks about requests and may not."""
    endpoints = Endpoints(engine, emails, unlisted or Unlisted())
    app = Starlette(
        routes=[
            Route("/__gate/rooms/{room}/status", endpoints.status, methods=["GET"]),
            Route("/__gate/rooms/{room}/ticket", endpoints.ticket, methods=["GET"]),
            Route("/__gate/rooms/{room}/pass", endpoints.claim, methods=["POST"]),
            Route("/__gate/rooms/{room}/form", endpoints.form, methods=["POST"]),
            Route("/__gate/rooms/{room}/invitation", endpoints.invitation, methods=["GET"]),
            Route("/__gate/notify-me", endpoints.notify_me, methods=["POST"]),
            _whatever(Route("/__gate/authorize", endpoints.authorize)),
            _whatever(Route("/__gate/authorize/{rest:path}", endpoints.authorize)),
            Route("/__gate/live", endpoints.live, methods=["GET"]),
            Route("/__gate/ready", endpoints.ready, methods=["GET"]),
        ],
        exception_handlers={HTTPException: endpoints.refused, Exception: endpoints.broken},
    )
    app.router.redirect_slashes = False  # it would send visitors to an absolute address made of the Host field
    return app


def _whatever(route: Route) -> Route:
    """For every method: some edges ask with the one of the request that they ask about. Starlette alone would take GET."""
    route.methods = None
    return route


class Endpoints:
    def __init__(self, engine: Engine, emails: Emails, unlisted: Unlisted) -> None:
        self._engine = engine
        self._emails = emails
        self._unlisted = unlisted
        self._board = StatusBoard(engine)

    # ------------------------------------------------------------------ the room

    async def status(self, request: Request) -> Response:
        visit = visit_of(request)
        answer = self._board.answer(request.path_params["room"], visit.header(b"if-none-match"))
        return response(answer) if answer is not None else self._problem(visit, 404, "no such room")

    async def ticket(self, request: Request) -> Response:
        """Own place; joins when there is no ticket. JSON: never claims. A page: where forms are sent back to, so it does."""
        visit, name = visit_of(request), request.path_params["room"]
        if name not in self._engine.settings.rooms:
            return self._problem(visit, 404, "no such room")
        if visit.accepts == "json":
            decision = await self._engine.consider_room(visit, name, claim=False)
            return self._standing(visit, decision, name, waiting=200)
        back = checked_path(dict(_pairs(visit.query)).get("to", "")) or "/"
        decision = await self._engine.consider_room(visit, name)
        if decision.outcome is Outcome.FORWARD:
            return self._go(visit, decision, back)
        return self._page(visit, decision, name, back)

    async def claim(self, request: Request) -> Response:
        """The pass when called and a token is free, else 202 and when to ask again. One ticket, one pass."""
        visit, name = visit_of(request), request.path_params["room"]
        if name not in self._engine.settings.rooms:
            return self._problem(visit, 404, "no such room")
        if is_foreign(visit):
            return self._problem(visit, 403, "sent from another site")
        try:
            form = dict(_pairs(await body_of(request, MAX_PASS_FORM)))
        except TooMuch:
            return self._problem(visit, 413, f"at most {MAX_PASS_FORM} bytes")
        decision = await self._engine.consider_room(visit, name)
        if visit.accepts == "json":
            return self._standing(visit, decision, name, waiting=202)
        back = checked_path(form.get("to", "")) or "/"
        if decision.outcome is Outcome.LIMIT:
            return self._page(visit, decision, name, back)
        if decision.outcome is not Outcome.FORWARD and form.get("resend"):
            return self._go(visit, decision, f"/__gate/rooms/{name}/ticket?to={quote(back, safe='')}", inside=True)
        return self._go(visit, decision, back)

    async def form(self, request: Request) -> Response:
        """A form that was sent before the wait, as the line page has kept it. In line: the page again. Inside: what was sent,
        to be sent again with one press, and only to whom it was kept for."""
        visit, name = visit_of(request), request.path_params["room"]
        engine = self._engine
        if name not in engine.settings.rooms:
            return self._problem(visit, 404, "no such room")
        if is_foreign(visit):
            return self._problem(visit, 403, "sent from another site")
        try:
            given = dict(_pairs(await body_of(request, MAX_KEPT_FORM)))
        except TooMuch:
            return self._problem(visit, 413, f"at most {MAX_KEPT_FORM} bytes")
        back, sealed = checked_path(given.get("to", "")) or "/", given.get("form", "")
        try:
            kept = unseal(engine.keyring, sealed, name, engine.now())
        except OverForm:
            return response(engine.pages.not_resent(visit, 410, back))
        except UnknownForm:
            return response(engine.pages.not_resent(visit, 400, back))
        if not _is_of(kept, visit, name):
            return response(engine.pages.not_resent(visit, 403, back))
        decision = await engine.consider_room(visit, name)
        if decision.outcome is Outcome.FORWARD:
            carried = decision.granted or decision.held
            if carried is not None and carried.id != kept.ticket:
                return self._personal(visit, decision, engine.pages.not_resent(visit, 403, back))
            return self._personal(visit, decision, engine.pages.form(visit, kept))
        if decision.outcome is Outcome.WAIT and (decision.ticket is None or decision.ticket.id == kept.ticket):
            view, now = engine.snapshot.rooms[name], engine.now()
            page = engine.pages.waiting(visit, decision, view, now, back=back, kept=sealed)
            return self._personal(visit, decision, page)
        return self._page(visit, decision, name, back)

    async def invitation(self, request: Request) -> Response:
        """A signed link leads into one of the room's groups (:mod:`gate.web.invitation`): 303 with its ticket."""
        visit, name = visit_of(request), request.path_params["room"]
        if name not in self._engine.settings.rooms:
            return self._problem(visit, 404, "no such room")
        query = dict(_pairs(visit.query))
        back = checked_path(query.get("to", "")) or "/"
        followed = await invitation.follow(visit, self._engine, name, request.url.path, query, back)
        if isinstance(followed, Answer):
            return response(followed)
        if visit.accepts == "json":
            return self._standing(visit, followed, name, waiting=200)
        if followed.outcome in (Outcome.CLOSED, Outcome.LIMIT):
            return self._page(visit, followed, name, back)
        return self._go(visit, followed, back, silent=True)

    def _standing(self, visit: Visit, decision: Decision, name: str, *, waiting: int) -> Response:
        pages, now = self._engine.pages, self._engine.now()
        view = self._engine.snapshot.rooms[name]
        if decision.outcome is Outcome.FORWARD:
            answer = pages.entered(visit, decision, name, now)
        elif decision.outcome is Outcome.CLOSED:
            answer = pages.closed(visit, decision, view)
        elif decision.outcome is Outcome.LIMIT:
            answer = pages.limited(visit, decision)
        else:
            given = pages.waiting(visit, decision, view, now)
            answer = Answer(waiting, given.headers, given.body)
        if decision.granted is not None or decision.ticket is not None:
            answer = self._for_apps(visit, decision, answer)
        return self._personal(visit, decision, answer)

    def _for_apps(self, visit: Visit, decision: Decision, answer: Answer) -> Answer:
        """A program without cookies gets what it must send back, as header fields. Browsers never do: they always say where
        a request comes from, and their cookies are out of reach for scripts."""
        if any(visit.header(name) is not None for name in (b"sec-fetch-site", b"origin", b"cookie")):
            return answer
        fields: list[tuple[bytes, bytes]] = []
        if decision.granted is not None:
            fields.append((b"gate-pass", self._engine.keyring.sign_pass(decision.granted).encode()))
        elif decision.ticket is not None:
            fields.append((b"gate-ticket", self._engine.keyring.sign_ticket(decision.ticket).encode()))
        return answer.plus(*fields)

    def _page(self, visit: Visit, decision: Decision, name: str, back: str) -> Response:
        pages, view = self._engine.pages, self._engine.snapshot.rooms[name]
        if decision.outcome is Outcome.CLOSED:
            answer = pages.closed(visit, decision, view, back=back)
        elif decision.outcome is Outcome.LIMIT:
            answer = pages.limited(visit, decision)
        else:
            answer = pages.waiting(visit, decision, view, self._engine.now(), back=back)
        return self._personal(visit, decision, answer)

    def _go(self, visit: Visit, decision: Decision, to: str, *, inside: bool = False, silent: bool = False) -> Response:
        """303 to a path on this host. ``to`` was checked, unless it is ``inside``: one of our own."""
        location = to if inside else checked_path(to) or "/"
        answer = Answer(303, (*PRIVATE, (b"location", location.encode())))
        return self._personal(visit, decision, invitation.silenced(answer) if silent else answer)

    def _personal(self, visit: Visit, decision: Decision, answer: Answer) -> Response:
        """With the cookies and the decision's label; our cache fields stay the strictest."""
        self._engine.meter.decided(decision)
        fields = self._engine.headers_for_visitor(visit, decision)
        return response(answer.plus(*(field for field in fields if field[0] not in _PRIVATE_NAMES)))

    # ------------------------------------------------------------------ the e-mail form

    async def notify_me(self, request: Request) -> Response:
        """202 once the address is on disk. The answer is the same whether it was known or not."""
        visit = visit_of(request)
        if is_foreign(visit):
            return self._problem(visit, 403, "sent from another site")
        if not self._engine.settings.fallback.emails:
            return self._problem(visit, 404, "this shop takes no addresses")
        try:
            fields = fields_of(visit, await body_of(request, MAX_MAIL_FORM))
        except TooMuch:
            return self._problem(visit, 413, f"at most {MAX_MAIL_FORM} bytes")
        if fields is None:
            return self._problem(visit, 415, "send a form or JSON with a field named email")
        if fields.get("website"):  # people do not see this field
            return response(self._engine.pages.kept(visit))
        try:
            address = parse_address(fields.get("email", ""))
        except BadAddress as error:
            return self._problem(visit, 422, str(error))
        if not await self._engine.hit_form(visit):
            return response(self._engine.pages.limited(visit, Decision(Outcome.LIMIT, Reason.RATE_LIMIT, retry_after=60.0)))
        try:
            await self._emails.keep(address, self._engine.pages.language(visit).tag)
        except NotKept:
            return response(self._engine.pages.not_kept(visit))
        return response(self._engine.pages.kept(visit))

    # ------------------------------------------------------------------ for machines

    async def authorize(self, request: Request) -> Response:
        """An edge asks whether a request may go to the shop (:mod:`gate.web.authorize`)."""
        visit = visit_of(request)
        if not visit.asks:
            self._unlisted.asked(visit, self._engine.now())
        return response(await authorize.authorize(visit, self._engine))

    async def live(self, request: Request) -> Response:
        """The process answers."""
        del request
        return response(_plain(200, {"live": True}))

    async def ready(self, request: Request) -> Response:
        """Send visitors here? A lost store or origin is no reason not to: what happens then is declared."""
        del request
        snapshot = self._engine.snapshot
        fresh = self._engine.now() - snapshot.taken < STALE
        state = {"ready": fresh, "store_up": snapshot.store_up, "origin_up": snapshot.origin_up}
        return response(_plain(200 if fresh else 503, state))

    # ------------------------------------------------------------------ refused

    def _problem(self, visit: Visit, status: int, detail: str, fields: Fields = ()) -> Response:
        return response(self._engine.pages.problem(status, detail, visit.accepts, visit.languages, fields=fields))

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        allow = (error.headers or {}).get("Allow")
        fields: Fields = ((b"allow", allow.encode()),) if allow else ()
        return self._problem(visit_of(request), error.status_code, error.detail, fields)

    async def broken(self, request: Request, error: Exception) -> Response:
        """Ours, and still no reason to answer 500: the visitor is asked to come back. Starlette raises it on, to be logged."""
        del error
        answer = self._engine.pages.problem(503, "", visit_of(request).accepts, retry_after=10.0)
        return response(answer)


# --------------------------------------------------------------------------- reading


def visit_of(request: Request) -> Visit:
    found = request.scope["gate.visit"]
    assert isinstance(found, Visit)  # noqa: S101 - the door's side of the contract
    return found


def is_foreign(visit: Visit) -> bool:
    """Does this come from a page of another site? Programs say nothing, and are taken at that: they hold no cookies of others.

    Fetch Metadata where the browser sends it, else Origin, which must name the host that was asked.
    """
    site = visit.header(b"sec-fetch-site")
    if site is not None:
        return site.lower() not in (b"same-origin", b"same-site", b"none")
    origin = visit.header(b"origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower() != visit.host
    except ValueError:
        return True


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body. Raises :class:`TooMuch` as soon as it is longer than ``limit``."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooMuch
        parts.append(part)
    return b"".join(parts)


def fields_of(visit: Visit, body: bytes) -> dict[str, str] | None:
    """The text fields of a form or JSON object; None when it is neither."""
    kind = (visit.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        return dict(_pairs(body))
    if kind != b"application/json":
        return None
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else None


def _pairs(form: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(form.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return []


def _is_of(kept: KeptForm, visit: Visit, room: str) -> bool:
    """Does the visitor carry the ticket that it was kept for, or the pass of it?"""
    ticket, held = visit.tickets.get(room), visit.passes.get(room)
    return kept.ticket in (ticket.id if ticket is not None else None, held.id if held is not None else None)


def _plain(status: int, document: dict[str, bool]) -> Answer:
    return Answer(status, (*PRIVATE, (b"content-type", b"application/json")), json.dumps(document).encode())


def response(answer: Answer) -> Response:
    """As Starlette sends it, with exactly our fields and a Content-Length."""
    made = Response(answer.body, answer.status)
    length = [] if answer.status in (204, 304) else [(b"content-length", b"%d" % len(answer.body))]
    made.raw_headers = [*answer.headers, *length]
    return made
