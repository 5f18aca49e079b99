"""docs/visitor-api.md names every field that programs get, and no other; the README shows some as they are."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "visitor-api.md").read_text()
README = (ROOT / "README.md").read_text()
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


async def test_the_answer_in_the_readme_is_the_one_that_programs_get(gate):
    (block,) = re.findall(r"^```json\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    shown = json.loads(block)
    answer = await gate.ask("GET", "/checkout", **JSON)
    found = json.loads(answer.body)
    assert f"`Gate-Decision: {answer['gate-decision']}`" in README
    for name, value in shown.items():
        assert type(found[name]) is type(value), name
        assert name not in ("state", "reason", "room", "pass_url") or found[name] == value
    assert set(shown["wait"]) == set(found["wait"])
