"""Templates rendered once, at start, into bytes with gaps; a request only fills the gaps."""

import base64
import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from string import ascii_letters
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gate.web.languages import Language

_TOKEN = secrets.token_hex(8)  # nothing that is configured can look like a gap
_GAP = re.compile(rf"\x1a{_TOKEN}:([a-z]+)\x1a".encode())
_INLINE = {kind: re.compile(rf"<{kind}>(.*?)</{kind}>".encode(), re.DOTALL) for kind in ("style", "script")}
_NAME = re.compile(r"(?<![\w.$\\])[A-Za-z_]\w*")
_STRING = re.compile(r'("(?:[^"\\\n]|\\.)*")')
_SIGN = re.compile(r" ?([{}()=*/%!<>?:;,&|]|(?<!\+)\+(?! ?\+)|(?<!-)-(?! ?-)) ?")
_ASIDE = re.compile(r"/\*.*?\*/| +// .*")
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

    def as_format(self, names: Sequence[str]) -> bytes:
        """The page for the ``%`` operator, with one value for each of ``names``. Raises :class:`ValueError` when these are
        not its gaps, in the order in which they come."""
        if list(names) != [name for name, _ in self._gaps]:
            raise ValueError(f"the gaps are {', '.join(name for name, _ in self._gaps)}")
        return b"%b".join(literal.replace(b"%", b"%%") for literal in (self._first, *(literal for _, literal in self._gaps)))

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


def small_css(text: str) -> Markup:
    """Without comments and needless space, and with short names; our own sheet only, which has no strings with blanks that
    matter."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    names = dict.fromkeys(re.findall(r"--[a-z]+", text))
    short = {name: f"--{letter}" for name, letter in zip(names, ascii_letters, strict=False)}
    text = re.sub(r"--[a-z]+", lambda found: short[found[0]], text)
    text = re.sub(r"\s+", " ", text)
    return Markup(re.sub(r" ?([{};,>]) ?", r"\1", text).replace(": ", ":").replace(";}", "}").strip())  # noqa: S704


def small_script(text: str) -> Markup:
    """Without comments, indentation, blanks around signs and line breaks that nothing hangs on. Strings stay as they are."""
    lines = (line.strip() for line in text.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    parts = _STRING.split(code)
    parts[::2] = [_SIGN.sub(r"\1", _ASIDE.sub("", part)) for part in parts[::2]]
    return Markup(re.sub(r"(?<=[{};,])\n", "", "".join(parts)))  # noqa: S704


def short_names(text: str) -> Markup:
    """With the shortest names for what the script declares itself: variables, functions, parameters.

    One name becomes one other everywhere, so no scope changes what it means. What follows a dot, and strings, are left alone.
    Raises :class:`ValueError` where a declared name is an object's key as well: that could not be told from a variable.
    """
    parts = _STRING.split("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))
    code = '""'.join(parts[::2])
    declared = set(_declared(code))
    keys = declared & set(re.findall(r"[{,]\s*(\w+)\s*:", code))
    if keys:
        raise ValueError(f"declared, and keys of objects: {', '.join(sorted(keys))}")
    seen = Counter(name for name in _NAME.findall(code))
    letters = "".join(sorted(ascii_letters))
    names = (first + second for first in ("", *letters) for second in letters)
    free = (name for name in names if (name not in seen or name in declared) and name not in ("do", "if", "in"))
    short = {name: next(free) for name, _ in seen.most_common() if name in declared}
    parts[::2] = [_NAME.sub(lambda found: short.get(found[0], found[0]), part) for part in parts[::2]]
    return Markup("".join(parts))  # noqa: S704


def _declared(code: str) -> Iterator[str]:
    for name, parameters in re.findall(r"\bfunction\s*(\w*)\(([^)]*)\)", code):
        yield from filter(None, (name, *(each.strip() for each in parameters.split(","))))
    yield from re.findall(r"\bcatch \((\w+)\)", code)
    for found in re.finditer(r"\bvar\b", code):
        depth, expected = 0, True
        for token in re.finditer(r"\w+|[^\w\s]", code[found.end() :]):
            if expected:
                yield token[0]
            expected = token[0] == "," and not depth
            depth += (token[0] in "([{") - (token[0] in ")]}")
            if depth < 0 or (token[0] == ";" and not depth):
                break


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
