"""The console: one page that shows the gate and steers it, with plain forms; a script only makes it live.

Every button is a form post, so it works without JavaScript. A post counts only when the browser says that it comes from
this very site (Sec-Fetch-Site, else Origin), beside the SameSite=Strict cookie.
"""

import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, StrictUndefined, select_autoescape
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from gate import resources
from gate.core.instants import format_relative
from gate.core.orders import Orders
from gate.core.words import RoomMode, Shedding, Switch
from gate.operators import Operators, Role
from gate.private import NotKept
from gate.status import RoomStatus
from gate.web.backend import Backend
from gate.web.changes import FallbackChange, RoomChange, SheddingChange
from gate.web.figures import ago, clock, curve, number
from gate.web.problems import Problem, explain, read_bytes
from gate.web.sessions import COOKIE, LONGEST, SECURE_COOKIE, Session, Sessions, Tries

NOTICE = 10.0  # seconds a notice is shown
AUDIT_SHOWN = 8

MODES = {
    RoomMode.AUTO: ("Auto", "Admit at the rate; a line forms beyond it."),
    RoomMode.OPEN: ("Open", "Everybody passes; nobody needs a pass."),
    RoomMode.HOLD: ("Hold", "Nobody new enters; the line keeps its order."),
    RoomMode.CLOSED: ("Closed", "Nobody new enters, and no line forms."),
}
FALLBACKS = {
    Switch.AUTO: ("Auto", "When the shop fails its health checks."),
    Switch.ON: ("On", "Everybody gets the static page."),
    Switch.OFF: ("Off", "Never, whatever the checks say."),
}
SHEDDINGS = {
    Shedding.AUTO: ("Auto", "The measured load decides."),
    Shedding.OFF: ("Off", "Nothing is shed."),
    Shedding.SHEDDABLE: ("Level 1", "Sheddable routes answer their fallback."),
    Shedding.NORMAL: ("Level 2", "Only critical routes are forwarded."),
}
CONFIRM = {
    ("mode", "open"): "Everybody in line and everybody who comes goes straight through, past the rate and the cap.",
    ("mode", "closed"): "Nobody new enters and nobody can join the line, until you choose another mode.",
    ("fallback", "on"): "Every visitor gets the static page instead of the shop, on every page.",
    ("shedding", "2"): "Only critical routes reach the shop; all others answer their fallback.",
    ("left", "0"): "Nobody new enters, and everybody in line reads that it is sold out, until you give another number.",
}


def console_routes(backend: Backend, operators: Operators) -> list[Route]:
    console = Console(backend, operators)
    return [
        Route("/", console.page, methods=["GET"]),
        Route("/login", console.login, methods=["POST"]),
        Route("/logout", console.logout, methods=["POST"]),
        Route("/rooms/{room}", console.guarded(console.room), methods=["POST"]),
        Route("/rooms/{room}/preview", console.guarded(console.preview), methods=["POST"]),
        Route("/fallback", console.guarded(console.fallback), methods=["POST"]),
        Route("/shedding", console.guarded(console.shedding), methods=["POST"]),
        Route("/reload", console.guarded(console.reload), methods=["POST"]),
    ]


class Console:
    def __init__(self, backend: Backend, operators: Operators) -> None:
        self._backend = backend
        self._operators = operators
        self._sessions = Sessions(operators)
        self._tries = Tries()
        style, script = (resources.static(name).read_text(encoding="utf-8") for name in ("console.css", "console.js"))
        environment = Environment(
            autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters.update(number=number, ago=ago, clock=clock, far=format_relative)
        environment.globals.update(style=style, script=script, modes=MODES, fallbacks=FALLBACKS, sheddings=SHEDDINGS)
        self._template = environment.from_string(resources.static("console.html").read_text(encoding="utf-8"))
        self._csp = (
            f"default-src 'none'; style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
            "connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )

    # ------------------------------------------------------------------ pages

    async def page(self, request: Request) -> Response:
        session = self._sessions.find(request)
        if session is None:
            return self._render("login", problem="")
        return await self._overview(session)

    async def _overview(
        self,
        session: Session,
        *,
        confirm: dict[str, Any] | None = None,
        tried: dict[str, dict[str, str]] | None = None,
        effects: dict[str, list[str]] | None = None,
    ) -> Response:
        """``tried`` are the fields of a room's form as the operator has filled them in, ``effects`` what is said of them."""
        status = await self._backend.status()
        shown = time.monotonic() - session.noticed < NOTICE
        return self._render(
            "overview",
            status=status,
            operator=session.operator,
            may=session.operator.may(Role.OPERATOR),
            notice=session.notice if shown else "",
            failed=session.failed,
            confirm=confirm,
            tried=tried or {},
            effects=effects or {},
            curves={room.name: curve(self._backend.history(room.name), status.time) for room in status.rooms},
            audit=await self._backend.audit(AUDIT_SHOWN),
        )

    def _render(self, view: str, status_code: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
        text = self._template.render(view=view, **values)
        return HTMLResponse(text, status_code, {"Content-Security-Policy": self._csp, **(headers or {})})

    # ------------------------------------------------------------------ coming and going

    async def login(self, request: Request) -> Response:
        _same_site(request)
        address = request.client.host if request.client else ""
        wait = self._tries.wait(address)
        if wait:
            problem = f"Too many wrong tokens. Try again in {wait:.0f} seconds."
            return self._render("login", 429, {"Retry-After": str(int(wait) + 1)}, problem=problem)
        form = await _form(request)
        operator = self._operators.who(form.get("token", "").strip())
        if operator is None:
            self._tries.wrong(address)
            return self._render("login", 401, problem="That is not an operator's token of this gate.")
        self._sessions.end(request)
        response = _back()
        secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
        response.set_cookie(
            SECURE_COOKIE if secure else COOKIE,
            self._sessions.begin(operator),
            max_age=int(LONGEST),
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return response

    async def logout(self, request: Request) -> Response:
        _same_site(request)
        self._sessions.end(request)
        response = _back()
        for name, secure in ((SECURE_COOKIE, True), (COOKIE, False)):
            response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
        return response

    # ------------------------------------------------------------------ changes

    def guarded(
        self, handler: Callable[[Request, Session, dict[str, str]], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The handler for operators with a session, from our own pages, with problems shown on the page."""

        async def endpoint(request: Request) -> Response:
            _same_site(request)
            session = self._sessions.find(request)
            if session is None:
                return self._render("login", 401, problem="You have been signed out. Sign in again.")
            if not session.operator.may(Role.OPERATOR):
                raise Problem(403, "A viewer cannot change anything.")
            try:
                return await handler(request, session, await _form(request))
            except ValidationError as error:
                return self._say(session, f"Nothing was changed. {_wrong(error)}", failed=True)
            except NotKept as error:
                return self._say(session, f"Nothing was changed: {error}.", failed=True)

        return endpoint

    async def room(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        room = await self._room(request)
        name = room.name
        if form.get("reset"):
            given: dict[str, Any] = dict.fromkeys(("rate", "burst", "active", "session", "message", "left"))
        elif "mode" in form:
            given = {"mode": form["mode"]}
            if form.get("confirm") != "yes" and ("mode", form["mode"]) in CONFIRM and form["mode"] != room.mode:
                title = f"{_mode(form['mode'])} {name}?"
                return await self._ask(session, f"/rooms/{name}", title, CONFIRM["mode", form["mode"]], mode=form["mode"])
        else:
            given = _edited(form, room)
            if not given:
                return self._say(session, "Nothing was changed: the values are those in force.", at=f"room-{name}")
        change = RoomChange.model_validate(given)
        if given.get("left") == 0 and form.get("confirm") != "yes":
            return await self._ask(session, f"/rooms/{name}", f"Say that {name} is sold out?", CONFIRM["left", "0"], **form)
        return await self._change(session, lambda orders: change.apply(orders, name), f"room-{name}")

    async def preview(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        """The page again, with what the form as it is filled in would do to the wait."""
        room = await self._room(request)
        given = _edited(form, room)
        if not given:
            text = ["These are the values in force."]
        else:
            try:
                change = RoomChange.model_validate(given)
                text = self._backend.preview(room.name, lambda orders: change.apply(orders, room.name)).text
            except ValidationError as error:
                text = [_wrong(error)]
        return await self._overview(session, tried={room.name: form}, effects={room.name: text})

    async def _room(self, request: Request) -> RoomStatus:
        name: str = request.path_params["room"]
        status = await self._backend.status()
        room = next((room for room in status.rooms if room.name == name), None)
        if room is None:
            raise Problem(404, f"There is no room {name!r}.")
        return room

    async def fallback(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        change = FallbackChange.model_validate({"mode": form.get("mode")})
        if change.mode is Switch.ON and form.get("confirm") != "yes":
            return await self._ask(session, "/fallback", "Switch the fallback page on?", CONFIRM["fallback", "on"], mode="on")
        return await self._change(session, change.apply)

    async def shedding(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        change = SheddingChange.model_validate({"mode": form.get("mode")})
        if change.mode is Shedding.NORMAL and form.get("confirm") != "yes":
            return await self._ask(session, "/shedding", "Shed normal routes too?", CONFIRM["shedding", "2"], mode="2")
        return await self._change(session, change.apply)

    async def reload(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        reload = await self._backend.reload(who=session.operator.name)
        if reload.problems:
            return self._say(
                session, "The config file cannot be used; the last good one stays. " + " ".join(reload.problems), failed=True
            )
        text = "The config file is valid; the workers are being replaced."
        if reload.need_restart:
            text += f" {', '.join(reload.need_restart)}: a change there needs a restart of the gate."
        return self._say(session, " ".join([text, *reload.warnings]))

    async def _change(self, session: Session, change: Callable[[Orders], Orders], at: str = "switches") -> Response:
        before = (await self._backend.status()).version
        orders = await self._backend.change(change, who=session.operator.name)
        text = "Nothing was changed: it was so already."
        if orders.version != before:
            text = f"Done. Every worker follows within 2 seconds (order {orders.version})."
        return self._say(session, text, at=at)

    async def _ask(self, session: Session, action: str, title: str, text: str, /, **fields: str) -> Response:
        confirm = {"action": action, "title": title, "text": text, "fields": {**fields, "confirm": "yes"}}
        return await self._overview(session, confirm=confirm)

    def _say(self, session: Session, text: str, *, failed: bool = False, at: str = "") -> Response:
        session.notice, session.noticed, session.failed = text, time.monotonic(), failed
        return _back(at)


def _wrong(error: ValidationError) -> str:
    return " ".join(f"{found['field'] or 'Change'}: {found['problem']}." for found in explain(error))


def _edited(form: dict[str, str], room: RoomStatus) -> dict[str, Any]:
    """Only what the operator has edited, so that the rest goes on following the config."""
    now = {
        "rate": room.rate,
        "burst": str(room.burst),
        "active": "" if room.active is None else str(room.active),
        "session": room.session,
        "message": room.message,
        "left": str(room.left) if "left" in room.ordered else "",
    }
    edited: dict[str, Any] = {}
    for name in ("rate", "session", "message"):
        if name in form and form[name].strip() != now[name]:
            edited[name] = form[name].strip()
    nothing = {"active": 0, "left": None}  # what an empty field says
    for name in ("burst", "active", "left"):
        text = form.get(name, now[name]).strip()
        if text != now[name]:
            edited[name] = int(text) if text.isascii() and text.isdigit() else (text or nothing.get(name, text))
    return edited


def _same_site(request: Request) -> None:
    """Raises :class:`Problem` unless the browser says that our own page sent this (OWASP, fetch metadata and origin)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    elif (origin := request.headers.get("origin")) is not None and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise Problem(403, "This request does not come from the console's own page.")


async def _form(request: Request) -> dict[str, str]:
    body = await read_bytes(request)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except (ValueError, UnicodeDecodeError) as error:
        raise Problem(400, "That is not a form of the console.") from error


def _back(at: str = "") -> Response:
    return RedirectResponse("/" + (f"#{at}" if at else ""), 303)


def _mode(value: str) -> str:
    return {"open": "Open", "closed": "Close"}[value]


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
