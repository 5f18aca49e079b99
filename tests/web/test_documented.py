"""docs/visitor-api.md names every field that programs get, and no other."""

import json
import re
from pathlib import Path

DOCS = (Path(__file__).parents[2] / "docs" / "visitor-api.md").read_text()
JSON = {"accept": "application/json"}


def fields_of_table(after: str) -> set[str]:
    table = DOCS.split(after, 1)[1].split("|---|---|", 1)[1].split("\n\n", 1)[0]
    return {name for line in table.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


async def test_the_status_document_is_documented(gate):
    found = json.loads((await gate.ask("GET", "/__gate/rooms/checkout/status")).body)
    assert set(found) - {"room"} == fields_of_table("The status document:")
    for name in found["poll"]:
        assert f"`{name}`" in DOCS


async def test_the_standing_is_documented(gate):
    waiting = json.loads((await gate.ask("GET", "/__gate/rooms/checkout/ticket", **JSON)).body)
    gate.room.serving, gate.room.tokens = 600, 1
    entered = json.loads((await gate.ask("POST", "/__gate/rooms/checkout/pass", **JSON)).body)
    assert (set(waiting) | set(entered)) - {"room"} == fields_of_table("Your own standing")
