"""The pattern language of rooms, routes and limits: ``[METHOD ]/path`` with ``*`` and ``**``.

``*`` stands for one path segment or a part of it, ``**`` for any number of segments. ``/checkout/**`` means ``/checkout``
and everything below it. Patterns are matched on the widened form of a path (:mod:`gate.core.path`), so they ignore case.
"""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from itertools import product

from gate.core.path import fold

METHODS = frozenset({
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
    "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY",
    "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK",
    "UNSUBSCRIBE",
})  # fmt: skip
"""What llhttp reads, without CONNECT and TRACE, which are refused: no rule ever sees another method."""


@dataclass(frozen=True)
class Pattern:
    """One pattern. ``method`` is None when any will do; ``GET`` covers HEAD."""

    text: str
    method: str | None = field(compare=False)
    path: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Raises :class:`ValueError` with what to write instead."""
        before, space, after = text.strip().partition(" ")
        method, path = (before, after.strip()) if space else (None, before)
        if method is not None and method not in METHODS:
            raise ValueError(f"{text!r}: {method!r} is not a method; {_instead(method, _rooted(path))}")
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: a path starts with /; write '{method + ' ' if method else ''}{_rooted(path)}'")
        if "?" in path or "#" in path or " " in path or "%" in path or ";" in path:
            raise ValueError(f"{text!r}: a pattern is a plain path, without query, fragment, ';', '%' or spaces")
        if re.search(r"[^/]\*\*|\*\*[^/]", path):
            raise ValueError(f"{text!r}: ** stands alone between slashes, like /checkout/**")
        if "//" in path:
            raise ValueError(f"{text!r}: empty segment; slashes are collapsed before matching, write it with one /")
        return cls(text.strip(), method, path)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts: list[str] = []
        for segment in fold(self.path).split("/")[1:]:
            if segment == "**":
                parts.append("(?:/.*)?")
            else:
                parts.append("/" + "[^/]*".join(re.escape(piece) for piece in segment.split("*")))
        return re.compile("".join(parts) + "/?", re.DOTALL)

    def matches(self, method: str, widened: str) -> bool:
        method = method.upper()  # RFC 9110 section 9.1 makes methods case-sensitive; not every shop does
        if self.method is not None and method != self.method and (self.method, method) != ("GET", "HEAD"):
            return False
        return self._regex.fullmatch(widened) is not None

    def covers(self, other: "Pattern") -> bool:
        """Does this pattern match whatever ``other`` matches? Wildcards are tried as a character that no literal is, and
        ``**`` in every length that could make a difference: one segment more than this pattern has must meet its own ``**``.
        """
        if self.method not in (None, other.method) and (self.method, other.method) != ("GET", "HEAD"):
            return False
        longest = self.path.count("/") + 1
        parts = re.split(r"/\*\*(?=/|$)", other.path)
        for lengths in product(range(longest + 1), repeat=len(parts) - 1):
            runs = [_ANY_SEGMENT * length for length in lengths]
            path = "".join(part.replace("*", _ANY) + run for part, run in zip(parts, [*runs, ""], strict=True))
            if not self._regex.fullmatch(fold(path) or "/"):
                return False
        return True

    def __str__(self) -> str:
        return self.text


_ANY = "\ue000"  # a private character (Unicode section 23.5)
_ANY_SEGMENT = "/" + _ANY


def _rooted(path: str) -> str:
    """``path`` as it was probably meant: with its slash, and without scheme and host."""
    return "/" + re.sub(r"^[a-z]+://[^/]*", "", path).lstrip("/")


def _instead(method: str, path: str) -> str:
    if method.startswith("/"):
        return f"give each path an entry of its own: [{method}, {path}]"
    if method in ("CONNECT", "TRACE", "TRACK"):
        return "the gate refuses such requests by itself; delete it"
    if method.upper() in METHODS:
        return f"write it in capitals, like '{method.upper()} {path}'"
    close = get_close_matches(method.upper(), sorted(METHODS), n=1)
    return f"did you mean '{close[0]} {path}'?" if close else f"write one like GET or POST, or only '{path}'"
