"""YAML 1.2 as a tree in which every key and value knows its line and column.

Deliberate: aliases (``*name``) work, because repeating a list of paths by hand invites mistakes; merge keys (``<<``) are
refused, because YAML 1.2 dropped them and they hide where a setting comes from; tags other than YAML's own are refused.
Dates stay text. ``no``, ``on`` and ``off`` are text, as YAML 1.2 has it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gate.config.problems import ConfigError, Place, Problem

_TAG = "tag:yaml.org,2002:"
_MAX_BYTES = 1 << 20
_MAX_NODES = 20_000  # a file of aliases to aliases unfolds to more values than any config has
SURROGATE = re.compile(r"[\ud800-\udfff]")  # what a \u escape may write and no text holds (RFC 3629 section 3)
HALF_CHARACTER = "\\u escapes the half of a character, which is none; write the character itself"
GLUED = re.compile(r"\s*(?:-\s+)*(?P<key>[A-Za-z_][\w-]*):(?!//)(?P<value>[^\s:].*?)\s*")  # no space: no key, for YAML
Step = str | int


def unglued(text: str) -> str | None:
    """What to write instead of ``listen:127.0.0.1:8080``; None for anything else."""
    found = GLUED.fullmatch(text)
    return found and f"no space after `{found['key']}:`; write `{found['key']}: {found['value']}`"


@dataclass(slots=True)
class Branch:
    """A value with its place, the place of its key, and its path in the file as it was written."""

    value: "str | int | float | bool | dict[str, Branch] | list[Branch] | None"
    place: Place
    key: Place
    path: tuple[Step, ...] = ()
    broken: bool = False  # something of it is missing that was in the file, and was complained about

    def plain(self) -> Any:
        """The value as Python's own types."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, step: Step) -> "Branch | None":
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        if isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None

    def walk(self, steps: tuple[Step, ...]) -> "tuple[Branch, tuple[Step, ...]]":
        """The branch as far down ``steps`` as there is one, and the steps that are left."""
        branch = self
        for index, step in enumerate(steps):
            below = branch.child(step)
            if below is None:
                return branch, steps[index:]
            branch = below
        return branch, ()


def spell(path: tuple[Step, ...]) -> str:
    """``("rooms", "checkout", "match", 0)`` → ``rooms.checkout.match[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read(path: Path) -> tuple[Branch, list[Problem]]:
    """The tree in the file, and what is wrong with its YAML. Raises :class:`ConfigError` when there is no tree."""
    return parse(_text_of(path), str(path))


def parse(text: str, source: str) -> tuple[Branch, list[Problem]]:
    """As :func:`read`, for text at hand."""
    if directive := re.match(r"(?s)(?:#[^\n]*\n|\s)*%YAML\s+1\.[01]\b", text):
        line = directive[0].count("\n") + 1
        raise ConfigError([Problem(Place(source, line), "", "a config is YAML 1.2, where `no` is a text; delete this line")])
    try:
        document = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([_explain(error, text, source)]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([Problem(Place(source), "", f"not YAML: {str(error).splitlines()[0]}")]) from error
    if document is None:
        raise ConfigError([Problem(Place(source, 1), "", "the file is empty; start from the annotated config/gate.yaml")])
    builder = _Builder(source)
    root = builder.build(document, Place(source, 1, 1), (), ())
    if not isinstance(root.value, dict):
        if isinstance(root.value, str) and (advice := unglued(text.splitlines()[(root.place.line or 1) - 1])):
            raise ConfigError([*builder.problems, Problem(root.place, "", advice)])
        found = "a list" if isinstance(root.value, list) else "a single value"
        text = f"the file is {found}; at its top level it has settings like `listen: 127.0.0.1:8080`"
        raise ConfigError([*builder.problems, Problem(root.place, "", text)])
    return root, builder.problems


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(Place(str(path)), "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > _MAX_BYTES:
        raise ConfigError([Problem(Place(str(path)), "", "larger than 1 MiB; this is hardly a gate.yaml")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ConfigError([Problem(Place(str(path), line), "", text)]) from error


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.count = 0

    def place(self, node: Node) -> Place:
        return Place(self.source, node.start_mark.line + 1, node.start_mark.column + 1)

    def complain(self, place: Place, path: tuple[Step, ...], text: str) -> None:
        self.problems.append(Problem(place, spell(path), text))

    def build(self, node: Node, key: Place, path: tuple[Step, ...], above: tuple[int, ...]) -> Branch:
        self.count += 1
        if self.count > _MAX_NODES:
            raise ConfigError([Problem(Place(self.source), "", f"more than {_MAX_NODES} values; aliases of aliases?")])
        place = self.place(node)
        if id(node) in above:
            self.complain(key, path, "an alias to something that contains it; write it out")
            return Branch(None, place, key, path, broken=True)
        above = (*above, id(node))
        if isinstance(node, MappingNode):
            return self.mapping(node, Branch({}, place, key, path), above)
        if isinstance(node, SequenceNode):
            items = [self.build(item, self.place(item), (*path, i), above) for i, item in enumerate(node.value)]
            return Branch(list(items), place, key, path)
        if SURROGATE.search(node.value):
            self.complain(place, path, HALF_CHARACTER)
            return Branch(None, place, key, path, broken=True)
        return Branch(self.scalar(node, path), place, key, path)

    def mapping(self, node: MappingNode, branch: Branch, above: tuple[int, ...]) -> Branch:
        found: dict[str, Branch] = {}
        path = branch.path
        for key_node, value_node in node.value:
            at = self.place(key_node)
            if not isinstance(key_node, ScalarNode) or SURROGATE.search(key_node.value):
                self.complain(at, path, "a key is a plain word; write `name: value`")
                branch.broken = True
                continue
            key = str(key_node.value)
            if key_node.tag == _TAG + "merge":
                self.complain(at, path, "merge keys (<<) are not part of YAML 1.2; repeat the settings, or alias single values")
                branch.broken = True
                continue
            if key in found:
                first = found[key].key.line
                self.complain(at, (*path, key), f"given twice, first in line {first}; keep one of them")
                continue
            found[key] = self.build(value_node, at, (*path, key), above)
        branch.value = found
        return branch

    def scalar(self, node: Node, path: tuple[Step, ...]) -> str | int | float | bool | None:
        text = str(node.value)
        tag = str(node.tag)
        kind = tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            return _whole(text)
        if kind == "float":
            number = float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
            return number if math.isfinite(number) else text
        if kind not in ("str", "timestamp"):
            self.complain(self.place(node), path, f"tags like {tag.replace(_TAG, '!!')} have no meaning here; leave it out")
        return text


def _whole(text: str) -> int | str:
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:  # 014: decimal in YAML 1.2, an error in Python
        digits = text.replace("_", "")
        return int(digits) if digits.lstrip("+-").isdigit() else text


def _explain(error: MarkedYAMLError, text: str, source: str) -> Problem:
    """A syntax error in plain words."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(Place(source), "", f"not YAML: {error.problem}")
    place = Place(source, mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem = str(error.problem or error.context or "cannot be read")
    opened = error.context_mark.line + 1 if error.context_mark is not None else None
    if "'\\t'" in problem or "\t" in line[: _indent(line)]:
        return Problem(place, "", "a tab; YAML indents with spaces")
    if "mapping values are not allowed" in problem:
        above = [at for at in range(mark.line) if lines[at].strip() and not lines[at].lstrip().startswith("#")]
        previous = lines[above[-1]] if above else ""
        glued = list(takewhile(lambda at: unglued(lines[at]), reversed(above)))
        if glued and _indent(previous) == _indent(line):
            return Problem(Place(source, glued[-1] + 1), "", unglued(lines[glued[-1]]) or "")
        if line.count(":") > 1 or not previous:
            return Problem(place, "", "a second `:` in one value; put the value in quotes")
        return Problem(place, "", "indented deeper than the line above, which already has a value; align the two")
    if "cannot start any token" in problem:
        character = line[mark.column : mark.column + 1]
        return Problem(place, "", f"a value cannot start with {character}; put it in quotes")
    if "undefined alias" in problem:
        return Problem(
            place, "", f"{problem.removeprefix('found ')}; an anchor (&name) comes first, or put the value in quotes"
        )
    if "another document" in problem:
        return Problem(place, "", "a second document (---); a config is one document")
    if "end of stream" in problem and opened is not None:
        return Problem(Place(source, opened, place.column), "", "a quote that is opened here is never closed")
    if "flow sequence" in str(error.context) and opened is not None:
        return Problem(Place(source, opened), "", "a `[` that is opened here is not closed; end the list with `]`")
    if "flow mapping" in str(error.context) and opened is not None:
        return Problem(Place(source, opened), "", "a `{` that is opened here is not closed; end it with `}`")
    if "block mapping" in str(error.context) or "block collection" in str(error.context):
        return Problem(place, "", "not in line with the settings around it; check the indentation")
    if "could not find expected ':'" in problem:
        at = opened or place.line or 1
        return Problem(Place(source, at), "", unglued(lines[at - 1]) or "a line without `:`; write `name: value`")
    return Problem(place, "", f"not YAML: {problem}")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def overlay(root: Branch, data: Mapping[str, Any], place: Place, path: tuple[Step, ...] = ()) -> None:
    """Lay values from elsewhere over a tree, each with the place it came from. Mappings merge, all else replaces."""
    if not isinstance(root.value, dict):
        raise TypeError("an overlay goes over a mapping")
    for key, value in data.items():
        below = root.value.get(key)
        steps = (*path, key)
        if isinstance(value, Mapping) and below is not None and isinstance(below.value, dict):
            overlay(below, value, place, steps)
        else:
            root.value[key] = graft(value, place, steps)


def graft(value: Any, place: Place, path: tuple[Step, ...]) -> Branch:
    """Plain data as a tree with one place throughout."""
    if isinstance(value, Mapping):
        return Branch({str(key): graft(v, place, (*path, str(key))) for key, v in value.items()}, place, place, path)
    if isinstance(value, list):
        return Branch([graft(v, place, (*path, i)) for i, v in enumerate(value)], place, place, path)
    return Branch(value, place, place, path)
