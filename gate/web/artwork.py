"""What the pages are made of at start: templates in every language, the brand, canned answers and files."""

import base64
import json
import mimetypes
import re
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from markupsafe import Markup

from gate import resources
from gate.core.answer import Answer
from gate.core.settings import Brand, Canned, Settings
from gate.core.words import Order
from gate.web import sentences
from gate.web.colours import DARK, LIGHT, accent_on
from gate.web.languages import Language, Languages, UnknownLanguage, script_json
from gate.web.templates import Prepared, Templates, is_template

MAX_LOGO = 6 << 10
_FRAMING = {"content-length", "transfer-encoding", "connection", "trailer", "upgrade", "keep-alive"}
_TEMPLATES = ("waiting", "fallback", "notice", "form")


class PageError(ValueError):
    """The configuration asks for a page that cannot be made. The text says which setting, and what is wrong with it."""


class Artwork:
    """Everything rendered, and every file read, once. Raises :class:`PageError`."""

    def __init__(self, settings: Settings) -> None:
        folder = resources.static("page.html").parent
        try:
            self.languages = Languages(settings.brand.languages, folder / "locale")
        except UnknownLanguage as error:
            raise PageError(f"brand.languages: {error}") from error
        self.fallback_file: bytes | None = None
        templates = Templates(folder)
        own_fallback: str | None = None
        if settings.fallback.page is not None:
            content = _read(settings.fallback.page, "fallback.page")
            if is_template(content):
                own_fallback = content.decode()
            else:
                self.fallback_file = content
        look = {
            "brand": settings.brand,
            "logo": logo_of(settings.brand),
            "light": accent_on(settings.brand.colour, LIGHT),
            "dark": accent_on(settings.brand.colour, DARK),
            "fallback": settings.fallback,
            "tel": re.sub(r"[^0-9+*#;,]", "", settings.fallback.phone),
        }
        rooms = settings.rooms.values()
        opens = any(room.opens is not None for room in rooms)
        draws = any(room.order is Order.RANDOM for room in rooms)
        self._pages: dict[tuple[str, str], Prepared] = {}
        for language in self.languages.known.values():
            context = {**look, **words_of(language, settings.brand.name, opens=opens, draws=draws)}
            for name in _TEMPLATES:
                source = own_fallback if name == "fallback" else None
                try:
                    page = templates.prepare(f"{name}.html", context, language, source)
                except TemplateError as error:
                    raise PageError(f"fallback.page: {error}" if source else f"{name}.html: {error}") from error
                self._pages[language.tag, name] = page
        self._canned = {id(route.fallback): can(route.fallback) for route in settings.routes if route.fallback is not None}
        self._settings = settings  # keeps the ids above from being used again

    def of(self, language: Language, name: str) -> Prepared:
        return self._pages[language.tag, name]

    def canned(self, canned: Canned) -> Answer:
        return self._canned.get(id(canned)) or can(canned)


SPOKEN = {
    "wait": sentences.WAIT,
    "next": sentences.NEXT,
    "asking": sentences.ASKING,
    "resend": sentences.RESEND,
    "lost": sentences.LOST,
    "cookies": sentences.COOKIES,
    "left": sentences.LEFT,
    "few": sentences.FEW,
    "back": sentences.RETURN,
    "opens": sentences.OPENS,
    "here": sentences.HERE,
    "drawn": sentences.DRAWN,
}


def words_of(language: Language, shop: str, *, opens: bool = True, draws: bool = True) -> dict[str, Any]:
    """What the templates and the script of one language need. ``opens``, ``draws``: some room does."""
    said: dict[str, object] = {
        "name": shop,
        "heads": {state: language.text(sentences.HEADS[state]) for state in ("line", "called")},
        "whys": {state: language.text(sentences.WHYS[state]) for state in ("line", "called")},
        **{name: language.text(sentence) for name, sentence in SPOKEN.items()},
    }
    return {
        "lang": language.tag,
        "dir": language.direction,
        "words": {name: script_json(value) for name, value in language.script_words().items()},
        "said": {name: script_json(value) for name, value in said.items()},
        "plural": Markup(language.plural),  # noqa: S704 - from our own catalogue
        "group": script_json(language.group),
        "opens": opens,
        "draws": draws,
    }


def logo_of(brand: Brand) -> str | None:
    """The logo as a ``data:`` URI. In an ``img`` element an SVG can neither run scripts nor load anything."""
    if brand.logo is None:
        return None
    content = _read(brand.logo, "brand.logo")
    if len(content) > MAX_LOGO:
        raise PageError(
            f"brand.logo: {brand.logo} has {len(content)} bytes; every page carries it, so at most {MAX_LOGO} may be"
        )
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "image/png"
    elif b"<svg" in content[:1024]:
        kind = "image/svg+xml"
    else:
        raise PageError(f"brand.logo: {brand.logo} is neither SVG nor PNG")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def can(canned: Canned) -> Answer:
    """A route's canned answer as bytes."""
    if canned.file is not None:
        body = _read(canned.file, "fallback.file")
        kind = mimetypes.guess_type(canned.file.name)[0] or "application/octet-stream"
    elif canned.json_ is not None:
        body, kind = json.dumps(canned.json_, ensure_ascii=False).encode(), "application/json"
    elif canned.html is not None:
        body, kind = canned.html.encode(), "text/html; charset=utf-8"
    else:
        body, kind = (canned.text or "").encode(), "text/plain; charset=utf-8"
    headers: dict[bytes, bytes] = {b"content-type": kind.encode()} if body else {}
    for name, value in canned.headers.items():
        if name.lower() in _FRAMING or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^`|~-]+", name):
            raise PageError(f"fallback.headers: {name!r} cannot be set here")
        if not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise PageError(f"fallback.headers: the value of {name} must be printable ASCII on one line")
        headers[name.lower().encode()] = value.strip().encode()
    return Answer(canned.status, tuple(headers.items()), body)


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise PageError(f"{setting}: {path} cannot be read ({error.strerror})") from error
