"""The pattern language of rooms, routes and limits: ``[METHOD ]/path`` with ``*`` and ``**``.

``*`` stands for one path segment or a part of it, ``**`` for any number of segments. ``/checkout/**`` means ``/checkout``
and everything below it. Patterns are matched on the widened form of a path (:mod:`gate.core.path`), so they ignore case.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property

from gate.core.path import fold

_METHOD = re.compile(r"[A-Z]{3,10}")


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
        if method is not None and not _METHOD.fullmatch(method):
            raise ValueError(f"{text!r}: {method!r} is not a method; write it in capitals, like 'POST {path}'")
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: a path starts with /; write '/{path}'")
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

    def __str__(self) -> str:
        return self.text
