"""The model's complaints in plain words: what is wrong, and what to write instead."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gate.config.tree import Step, spell, unglued
from gate.core.settings import Settings

SYNONYMS = {
    "address": "listen",
    "backend": "origin",
    "backends": "origin.servers",
    "bind": "listen",
    "cap": "active",
    "capacity": "active",
    "cdn": "edge",
    "color": "colour",
    "domains": "hosts",
    "fail": "fall",
    "host": "hosts",
    "interval": "every",
    "kind": "class",
    "max_active": "active",
    "path": "match",
    "paths": "match",
    "port": "listen",
    "priority": "class",
    "proxies": "edge.trust",
    "queue": "rooms",
    "rate_limit": "rate",
    "rate_limits": "limits",
    "redis": "store",
    "servers": "origin.servers",
    "state_dir": "state",
    "status_code": "status",
    "theme": "brand",
    "trusted_proxies": "edge.trust",
    "ttl": "session",
    "upstream": "origin",
    "upstreams": "origin.servers",
    "url": "match",
    "urls": "match",
    "valkey": "store",
    "waiting_rooms": "rooms",
}
"""What other gateways call it → the word here."""


def _is_secret(path: tuple[Step, ...]) -> bool:
    """A setting whose value no message may show: the password, and the header values of a bypass rule."""
    return path[-1:] == ("store_password",) or ("bypass" in path and "header" in path[:-1])


EXAMPLES = {"match": "/checkout/**", "rate": "120/minute"}


def explain(error: ErrorDetails, path: tuple[Step, ...]) -> str:
    """One sentence for one complaint of pydantic about the value at ``path``."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    name = str(path[-1]) if path else ""
    if _is_secret(path) and given is not None:
        return f"is not {_wanted(kind, name)}; put it in quotes"
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "missing":
        example = f"; write `{name}: {EXAMPLES[name]}`" if name in EXAMPLES else ""
        return f"is missing{example}"
    if given is None:
        if name == "colour":
            return 'has no value: without quotes, # begins a comment; write "#0b57d0"'
        needed = name in EXAMPLES or (len(path) == 2 and path[0] == "rooms")
        return f"has no value; give {_wanted(kind, name)}{'' if needed else ', or delete the line to get the default'}"
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind in ("literal_error", "enum"):
        return _one_of(given, str(context["expected"]))
    if kind.startswith(("int", "float", "bool", "string", "list", "dict", "model", "path")) and kind.endswith(
        ("_type", "_parsing", "_from_float")
    ):
        cure = _section(path, given) if kind.startswith(("model", "dict")) else ""
        return f"{_shown(given)} is not {_wanted(kind, name)}{cure or _cure(kind, given, name)}"
    bounds = {
        "greater_than": ("gt", "more than"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "less than"),
        "less_than_equal": ("le", "at most"),
    }
    if kind in bounds:
        key, words = bounds[kind]
        return f"{_shown(given)} is out of range; write {words} {context[key]:g}"
    if kind == "too_short":
        return "is empty; give at least one"
    if kind == "string_too_long":
        return f"is {len(str(given))} characters long; at most {context['max_length']} fit"
    if kind.endswith("_size"):
        return f"{_shown(given)} is out of range; write a smaller number"
    return f"{_shown(given)} is not possible here; `gate schema` says what is"


def unknown_key(path: tuple[Step, ...]) -> str:
    """What a key that the model does not know was probably meant to be."""
    name = str(path[-1])
    here = keys_at(path[:-1])
    if name.partition(":")[0] in here and (advice := unglued(name)):
        return advice
    spelling = name.lower().replace("-", "_").replace(" ", "_")
    camel = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
    synonym = SYNONYMS.get(spelling, "")
    if "." in synonym and synonym.partition(".")[0] == str(path[-2] if len(path) > 1 else ""):
        synonym = synonym.partition(".")[2]
    for word in (name.lower(), spelling, camel, synonym):
        if word in here:
            return f"unknown setting; did you mean `{word}`?"
    close = get_close_matches(spelling, here, n=1, cutoff=0.7)
    if close:
        return f"unknown setting; did you mean `{close[0]}`?"
    elsewhere = [place for place, keys in _places() if spelling in keys]
    if elsewhere:
        return f"unknown setting here; `{spelling}` belongs {_under(elsewhere)}"
    if "." in synonym or synonym in keys_at(()):
        return f"unknown setting; it is called `{synonym}` here"
    distant = {key: place for place, keys in reversed(_places()) for key in keys}
    close = get_close_matches(spelling, distant, n=1, cutoff=0.8)
    if close:
        return f"unknown setting here; did you mean `{close[0]}`, which belongs {_under([distant[close[0]]])}?"
    known = ", ".join(sorted(here)) if here else ""
    return f"unknown setting; known here are {known}" if known else "unknown setting; delete it"


def _under(places: list[str]) -> str:
    words = ["at the top level" if place == "" else f"under {place}" for place in places]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


# --------------------------------------------------------------------------- the shape of the model


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section inside a type, and how its place is spelt: ``[]`` for a list, ``.<name>`` for a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _model_in(arguments[0])
    if origin in (Union, UnionType):
        return next((found for found in map(_model_in, arguments) if found[0]), (None, ""))
    if origin is list:
        model, rest = _model_in(arguments[0])
        return model, "[]" + rest
    if origin is dict:
        model, rest = _model_in(arguments[1])
        return model, ".<name>" + rest
    return None, ""


def sections(model: type[BaseModel] = Settings, place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section of the model with its place: ``("", Settings)``, ``("rooms.<name>", Room)``, ``("limits[]", Limit)``."""
    yield place, model
    for name, field in model.model_fields.items():
        inner, shape = _model_in(field.annotation)
        if inner is not None:
            word = field.alias or name
            yield from sections(inner, (f"{place}.{word}" if place else word) + shape)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The words a section knows, as written in the file."""
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


@cache
def _places() -> list[tuple[str, frozenset[str]]]:
    return [(place, frozenset(keys_of(model))) for place, model in sections()]


def section_at(path: tuple[Step, ...]) -> tuple[str, type[BaseModel] | None]:
    """The section at a path of the file, with its place as :func:`sections` spells it; None for a path that is no section."""
    wanted = spell(tuple(path))
    for place, model in sections():
        pattern = re.escape(place).replace(re.escape("[]"), r"\[\d+\]").replace(re.escape("<name>"), r"[^.\[]+")
        if re.fullmatch(pattern, wanted):
            return place, model
    return "", None


def keys_at(path: tuple[Step, ...]) -> list[str]:
    """The words known at a path of the file; none for a path that is no section."""
    _, model = section_at(path)
    return [] if model is None else keys_of(model)


# --------------------------------------------------------------------------- words for types


def _wanted(kind: str, name: str) -> str:
    for start, words in (
        ("int", "a whole number"),
        ("float", "a number"),
        ("bool", "true or false"),
        ("list", "a list"),
        ("string", "a text"),
        ("path", "a path"),
        ("value_error", "one"),
    ):
        if kind.startswith(start):
            return words
    example = {
        "rooms": " (`checkout:` and its settings beneath it)",
        "header": " (`Name: value`)",
        "headers": " (`Name: value`)",
    }
    return f"a section with settings{example.get(name, '')}"


def _shown(given: Any) -> str:
    if isinstance(given, dict):
        return "a section with settings"
    if isinstance(given, list):
        return "a list"
    if isinstance(given, bool):
        return str(given).lower()
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "…'"


def _cure(kind: str, given: Any, name: str) -> str:
    if kind.startswith("string") and isinstance(given, (int, float)):
        return f'; put it in quotes: "{_shown(given)}"'
    if kind.startswith("list") and not isinstance(given, (dict, list)):
        return f"; write `{name}: [{given}]`"
    if kind.startswith("list") and isinstance(given, dict):
        return "; begin each entry with `- `"
    if kind.startswith(("model", "dict")) and isinstance(given, list):
        return "; write the names as keys, without `- `"
    if kind == "int_from_float":
        return f"; write {round(given)}"
    return ""


MEANT: dict[str, dict[type, str]] = {
    "origin": {str: "servers: [{}]"},
    "operator": {str: "listen: {}"},
    "origin.health": {str: "path: {}"},
    "origin.timeouts": {str: "first_byte: {}", int: "first_byte: {}s"},
    "edge": {str: "trust: [{}]"},
    "brand": {str: "name: {}"},
    "fallback": {str: "page: {}"},
    "routes[].fallback": {int: "status: {}", str: "text: {}"},
    "routes[].breaker": {int: "failures: {}"},
    "rooms.<name>": {str: "match: {}, rate: 120/minute"},
    "rooms.<name>.groups.<name>": {str: "share: {}"},
}
"""One value where a section belongs → the setting inside that is meant."""


def _section(path: tuple[Step, ...], given: Any) -> str:
    """What to write in the place of a plain value where a section belongs; empty when nobody knows."""
    place, model = section_at(path)
    if model is None:
        return ""
    word = f"`{path[-1]}: "
    if given is False or given in ("no", "off"):
        return "; delete the line"
    needed = [name for name, field in model.model_fields.items() if field.is_required() and not field.exclude]
    if (given is True or given in ("yes", "on")) and all(name in EXAMPLES for name in needed):
        return f"; write {word}{{{', '.join(f'{name}: {EXAMPLES[name]}' for name in needed)}}}`"
    for kind, inside in MEANT.get(place, {}).items():
        if isinstance(given, kind) and not isinstance(given, bool):
            is_file = place == "routes[].fallback" and re.search(r"[^\s/]\.\w+$|/", str(given))
            return f"; write {word}{{{('file: {}' if is_file else inside).format(given)}}}`"
    return ""


def _one_of(given: Any, expected: str) -> str:
    words = re.findall(r"'([^']*)'|(\d+)", expected)
    choices = [text or number for text, number in words]
    close = get_close_matches(str(given).lower(), choices, n=1, cutoff=0.6) if isinstance(given, str) else []
    advice = f"did you mean {close[0]}?" if close else f"write {', '.join(choices[:-1])} or {choices[-1]}"
    return f"{_shown(given)} is not possible; {advice}"
