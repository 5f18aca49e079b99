"""What the visitor can read: HTML or JSON, and in which languages (RFC 9110 section 12.5)."""

import re
from functools import lru_cache

from gate.core.visit import Form, Headers

_HTML = ("text/html",)
_JSON = ("application/json", "application/problem+json")
_TAG = re.compile(r"[a-z]{1,8}(?:-[a-z0-9]{1,8})*")
_MOST = 32  # members of a list that are looked at
_LONGEST = 1024  # bytes of a list that are looked at
_LANGUAGES = 10


def form(headers: Headers) -> Form:
    """``html`` for people and ``json`` for programs.

    The higher quality wins; then what is named over what a wildcard covers; then what is named first. When Accept leaves it
    open (``*/*``, nothing), scripts get JSON: a Sec-Fetch-Mode other than ``navigate``, or XMLHttpRequest. All else is HTML.
    """
    named = _preference(b",".join([value for name, value in headers if name == b"accept"])[:_LONGEST])
    if named is not None:
        return named
    return "json" if _is_script(headers) else "html"


@lru_cache(maxsize=512)
def _preference(accept: bytes) -> Form | None:
    """What Accept prefers; None when it names neither. Browsers send a handful of values, so each is read once."""
    ranges = [_media_range(item) for item in accept.decode("latin-1").split(",")[:_MOST] if item.strip()]
    html, json = (_best(ranges, types) for types in (_HTML, _JSON))
    if html[:2] == json[:2] and html[1] == 0:
        return None
    return "html" if html > json else "json"


def _media_range(item: str) -> tuple[str, float]:
    media, *params = (part.strip().lower() for part in item.split(";"))
    return media, next((_quality(p[2:]) for p in params if p.startswith("q=")), 1.0)


def _quality(text: str) -> float:
    return float(text) if re.fullmatch(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", text) else 0.0


def _best(ranges: list[tuple[str, float]], types: tuple[str, ...]) -> tuple[float, int, int]:
    """Quality, how exactly it is named (2 type, 1 ``text/*``, 0 ``*/*``), and minus the place in the list."""
    best = (0.0, 0, 0)
    for media in types:
        found: tuple[int, float, int] | None = None
        for place, (pattern, quality) in enumerate(ranges):
            exact = _exactness(pattern, media)
            if exact is not None and (found is None or exact > found[0]):
                found = (exact, quality, -place)
        if found is not None:
            best = max(best, (found[1], found[0] if found[1] else 0, found[2]))
    return best


def _exactness(pattern: str, media: str) -> int | None:
    if pattern == media:
        return 2
    if pattern == media.partition("/")[0] + "/*":
        return 1
    return 0 if pattern == "*/*" else None


def _is_script(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"sec-fetch-mode":
            return value.strip().lower() != b"navigate"
        if name == b"x-requested-with" and value.strip().lower() == b"xmlhttprequest":
            return True
    return False


def languages(headers: Headers) -> tuple[str, ...]:
    """Language tags of Accept-Language in lower case, best first; at most ten."""
    return _tags(b",".join([value for name, value in headers if name == b"accept-language"])[:_LONGEST])


@lru_cache(maxsize=512)
def _tags(accept: bytes) -> tuple[str, ...]:
    wanted: dict[str, float] = {}
    for item in accept.decode("latin-1").split(",")[:_MOST]:
        tag, quality = _media_range(item)
        if quality > 0 and _TAG.fullmatch(tag):
            wanted.setdefault(tag, quality)
    return tuple(sorted(wanted, key=lambda tag: -wanted[tag]))[:_LANGUAGES]
