"""Templates rendered once, at start, into bytes with gaps; a request only fills the gaps."""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gate.web.languages import Language
from gate.web.small import short_names, small_css, small_script

_TOKEN = secrets.token_hex(8)  # nothing that is configured can look like a gap
_GAP = re.compile(rf"\x1a{_TOKEN}:([a-z]+)\x1a".encode())
_INLINE = {kind: re.compile(rf"<{kind}>(.*?)</{kind}>".encode(), re.DOTALL) for kind in ("style", "script")}
_TEMPLATE_MARK = re.compile(rb"\{#-? floodgate template\b")


def slot(name: str) -> Markup:
    """A gap named ``name``."""
    return Markup(f"\x1a{_TOKEN}:{name}\x1a")  # noqa: S704 - names are literals in our templates


class Prepared:
    """A page: literal pieces and named gaps, and the Content-Security-Policy that its inline parts need."""

    def __init__(self, page: str) -> None:
        pieces = _GAP.split(page.encode())
        self._first, *literals = pieces[0::2]
        self._gaps = list(zip((name.decode() for name in pieces[1::2]), literals, strict=True))
        self.policy = policy_for(page.encode())

    @property
    def gaps(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._gaps)

    def fill(self, values: Mapping[str, bytes]) -> bytes:
        """The page. Values are put in as they are: text must be escaped before. Raises :class:`KeyError`."""
        parts = [self._first]
        for name, literal in self._gaps:
            parts.append(values[name])
            parts.append(literal)
        return b"".join(parts)

    def around(self, names: Sequence[str]) -> list[bytes]:
        """What stands around the gaps ``names``: at even places; the odd ones are empty. Raises :class:`ValueError` when
        these are not the page's gaps, in the order in which they come."""
        if list(names) != [name for name, _ in self._gaps]:
            raise ValueError(f"the gaps are {', '.join(name for name, _ in self._gaps)}")
        return [self._first, *(part for _, literal in self._gaps for part in (b"", literal))]

    def with_filled(self, values: Mapping[str, bytes]) -> "Prepared":
        """The same page with some of its gaps filled; the others stay."""
        page = copy(self)
        page._gaps = []
        for name, literal in self._gaps:
            if name not in values:
                page._gaps.append((name, literal))
            elif page._gaps:
                before, text = page._gaps[-1]
                page._gaps[-1] = before, text + values[name] + literal
            else:
                page._first += values[name] + literal
        return page


def policy_for(page: bytes) -> bytes:
    """Nothing may be loaded or run but the page's own inline parts, named by their hashes (CSP level 3)."""
    rules = ["default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'self'", "img-src data:"]
    for kind, pattern in _INLINE.items():
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(part).digest()).decode()}'" for part in pattern.findall(page)]
        if hashes:
            rules.append(f"{kind}-src {' '.join(hashes)}")
    if _INLINE["script"].search(page):
        rules.append("connect-src 'self'")
    return "; ".join(rules).encode()


class Templates:
    """The Jinja environment over the packaged templates. Used at start only."""

    def __init__(self, folder: Path) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(css=small_css, script=small_script, names=short_names)
        self._environment.globals["slot"] = slot

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """Template ``name`` of the folder, as text. Raises :class:`jinja2.TemplateError`."""
        return self._environment.get_template(name).render(context)

    def prepare(self, name: str, context: Mapping[str, Any], language: Language, source: str | None = None) -> Prepared:
        """Template ``name`` of the folder, or ``source``. Raises :class:`jinja2.TemplateError`."""
        template = self._environment.get_template(name) if source is None else self._environment.from_string(source)
        return Prepared(template.render({**context, "_": language.text, "ngettext": language.ngettext}))


def is_template(content: bytes) -> bool:
    """Does this file say that it is a template of ours?"""
    return _TEMPLATE_MARK.match(content.lstrip()) is not None
