"""The reference tables of docs/configuration.md, made from the model so that they cannot drift from it.

After a change of the model, ``python -m gate.config.reference`` writes them and config/gate.schema.json anew.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gate import resources
from gate.config import advice
from gate.config.load import schema
from gate.core import notation

BEGIN, END = "<!-- settings: generated -->\n", "<!-- /settings -->"

_NAMES = {
    json.dumps(TypeAdapter(kind).json_schema(), sort_keys=True): name
    for kind, name in (
        (notation.Duration, "duration"),
        (notation.Size, "size"),
        (notation.Rate, "rate"),
        (notation.Cidr, "network"),
        (notation.Match, "pattern"),
        (notation.Matches, "pattern, or list of them"),
        (notation.Listen, "address:port"),
        (notation.Server, "URL"),
        (notation.Store, "`embedded` or URL"),
        (notation.Trusted, "network or preset"),
        (notation.Host, "host name"),
        (notation.FieldName, "header name"),
    )
}


def markdown() -> str:
    """One table per section, in the order of the model."""
    root = schema()
    definitions = root["$defs"]
    parts = []
    for place, model in advice.sections():
        section = root if place == "" else definitions[model.__name__]
        title = f"### `{place}`" if place else "### Top level"
        about = "" if place == "" else f"\n{section.get('description', '')}\n"
        rows = "\n".join(_rows(section, definitions, place))
        parts.append(f"{title}\n{about}\n| Setting | Type | Default | Meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _rows(section: dict[str, Any], definitions: dict[str, Any], place: str) -> Iterator[str]:
    required = section.get("required", ())
    for name, given in section["properties"].items():
        default = "**required**" if name in required else _default(given)
        meaning = " ".join(given.get("description", "").split())  # a line of the table must not break
        inner = _section_at(f"{place}.{name}" if place else name)
        if inner is not None:
            meaning = f"{meaning} See [`{inner}`](#{_anchor(inner)}).".strip()
        yield f"| `{name}` | {_type(given, definitions)} | {default} | {meaning.replace('|', chr(92) + '|')} |"


def _default(given: dict[str, Any]) -> str:
    if given.get("default") is None:
        return "—"
    default = given["default"]
    text = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if text else '`""`'


def _section_at(place: str) -> str | None:
    """The section that a setting holds, spelt as its heading; None for a single value."""
    for found, _ in advice.sections():
        if found in (place, f"{place}[]", f"{place}.<name>"):
            return found
    return None


def _anchor(place: str) -> str:
    """As GitHub makes one of the heading."""
    return "".join(letter for letter in place.lower() if letter.isalnum() or letter in "_-")


def _type(given: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON Schema in words."""
    if "$ref" in given:
        target = definitions[given["$ref"].rpartition("/")[2]]
        return _type(target, definitions)
    bare = {key: value for key, value in given.items() if key not in ("default", "description")}
    named = _NAMES.get(json.dumps(bare, sort_keys=True))
    if named:
        return named
    if "enum" in bare:
        return ", ".join(f"`{value}`" for value in bare["enum"])
    if "anyOf" in bare:
        kinds = [_type(option, definitions) for option in bare["anyOf"] if option.get("type") != "null"]
        null = any(option.get("type") == "null" for option in bare["anyOf"])
        return " or ".join(kinds) + (" or null" if null and bare["anyOf"][0].get("$ref") else "")
    kind = bare.get("type")
    if kind == "array":
        return f"list of {_plural(_type(bare['items'], definitions))}"
    if kind == "object":
        return "section" if "properties" in bare else "names and values"
    if kind == "string" and bare.get("format") == "path":
        return "path"
    bounds = ", ".join(
        f"{sign} {bare[key]:g}" for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤")) if key in bare
    )
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(str(kind), "anything") + (f" {bounds}" if bounds else "")


def _plural(word: str) -> str:
    if word == "section":
        return "sections"
    word = {"network or preset": "networks and presets"}.get(word, word)
    return word if " or " in word else f"{word}s" if not word.endswith("s") else word


def schema_text() -> str:
    """What config/gate.schema.json holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def inserted(page: str) -> str:
    """docs/configuration.md with today's tables between its marks."""
    before, begin, rest = page.partition(BEGIN)
    return f"{before}{begin}\n{markdown()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    page.write_text(inserted(page.read_text()))
    resources.config("gate.schema.json").write_text(schema_text())


if __name__ == "__main__":
    main()
