"""Our own style sheet and scripts made small: every page carries them, and a page is to fit into the first flight of packets.

No general minifier: of CSS and of ES5 they know what ours use, and the tests run what comes out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from string import ascii_letters

from markupsafe import Markup

_NAME = re.compile(r"(?<![\w.$\\])[A-Za-z_]\w*")
_STRING = re.compile(r'("(?:[^"\\\n]|\\.)*")')
_SIGN = re.compile(r" ?([{}()=*/%!<>?:;,&|]|(?<!\+)(?<!\+ )\+(?! ?\+)|(?<!-)(?<!- )-(?! ?-)) ?")
_ASIDE = re.compile(r"/\*.*?\*/| +// .*")
_ROUND = re.compile(r"(?<![\w.])([1-9])(0{3,})(?![\w.])")
_WORDS = ("do", "if", "in")  # the shortest reserved ones


def small_css(text: str) -> Markup:
    """Without comments and needless space, and with short names; our own sheet only, which has no strings with blanks that
    matter."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    names = dict.fromkeys(re.findall(r"--[a-z]+", text))
    short = {name: f"--{letter}" for name, letter in zip(names, ascii_letters, strict=False)}
    text = re.sub(r"--[a-z]+", lambda found: short[found[0]], text)
    text = re.sub(r"\s+", " ", text)
    return Markup(re.sub(r" ?([{};,>]) ?", r"\1", text).replace(": ", ":").replace(";}", "}").strip())  # noqa: S704 - our own


def small_script(text: str) -> Markup:
    """Without comments, indentation, blanks around signs and line breaks that nothing hangs on. Strings stay as they are."""
    lines = (line.strip() for line in text.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    parts = _STRING.split(code)
    parts[::2] = [_ROUND.sub(_power, _SIGN.sub(r"\1", _ASIDE.sub("", part))) for part in parts[::2]]
    return Markup(re.sub(r"(?<=[{};,])\n", "", "".join(parts)))  # noqa: S704 - our own script


def _power(round_: re.Match[str]) -> str:
    return f"{round_[1]}e{len(round_[2])}"


def short_names(text: str) -> Markup:
    """With short names for all that one function around the whole script declares: variables, functions, parameters.

    A name becomes one other wherever it stands. Two become the same only where one is declared in every function that uses it,
    and the other is used in none of those. What follows a dot, and strings, are left alone. Raises :class:`ValueError` where a
    declared name is an object's key as well: that could not be told from a variable.
    """
    parts = _STRING.split("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))
    code = '""'.join(_ASIDE.sub("", part) for part in parts[::2])
    declared = set(_declared(code))
    keys = declared & set(re.findall(r"[{,]\s*(\w+)\s*:", code))
    if keys:
        raise ValueError(f"declared, and keys of objects: {', '.join(sorted(keys))}")
    *functions, outside = _scopes(code)
    used = [set(_NAME.findall(function)) for function in functions]
    free = chain.from_iterable(names - set(_declared(function)) for names, function in zip(used, functions, strict=True))
    shared = {*_NAME.findall(outside), *free}
    counted = Counter(_NAME.findall(code))
    taken = {*_WORDS, *(counted.keys() - declared)}
    short: dict[str, str] = {}
    for name, _ in counted.most_common():
        if name in declared:
            beside = declared if name in shared else shared.union(*(names for names in used if name in names))
            avoid = taken | {short[other] for other in beside if other in short}
            short[name] = next(each for each in _short() if each not in avoid)
    parts[::2] = [_NAME.sub(lambda found: short.get(found[0], found[0]), part) for part in parts[::2]]
    return Markup("".join(parts))  # noqa: S704 - our own script


def _short() -> Iterator[str]:
    yield from (first + second for first in ("", *ascii_letters) for second in ascii_letters)


def _scopes(code: str) -> Iterator[str]:
    """What each function holds that stands right inside the one around all, parameters first; then all the rest."""
    rest, at = [], 0
    for found in re.finditer(r"\bfunction \w+", code):
        before = code[: found.start()]
        if found.start() < at or before.count("{") - before.count("}") != 1:
            continue
        rest.append(code[at : found.end()])
        depth = 0
        for sign in re.finditer(r"[{}]", code[found.end() :]):
            depth += 1 if sign[0] == "{" else -1
            if not depth:
                at = found.end() + sign.end()
                break
        yield f"function{code[found.end() : at]}"
    yield "".join([*rest, code[at:]])


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
