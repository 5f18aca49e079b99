"""What the docs tell people to type, and what they tell them to look for."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from gate.cli import app
from gate.commands.look import overview
from gate.core.orders import Orders, RoomOrders
from gate.core.words import RoomMode, Switch
from gate.heartbeat import Condition
from tests.operator.test_heartbeat import BEAT, picture

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "edge").rglob("*.*"))]
PAGES += [ROOT / "config/gate.yaml", *sorted((ROOT / "config/profiles").glob("*.yaml"))]


def typed(page: Path) -> Iterator[str]:
    """Every `gate …` in a line or a block."""
    text = page.read_text()
    yield from re.findall(r"`(gate [^`\n]+(?:\n[^`\n]+)?)`", text)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.startswith("gate "))


@pytest.mark.parametrize("page", [page for page in PAGES if list(typed(page))], ids=lambda page: page.name)
def test_commands_and_options_in_the_docs_are_there(page: Path) -> None:
    for line in typed(page):
        command: Any = typer.main.get_command(app)
        words = shlex.split(line, comments=True)[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command.name != "gate", f"no such command: {line}"
        known = {"-h", "--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known, line


def test_what_the_runbooks_look_for_in_gate_status_is_what_it_says() -> None:
    away = {"store_up": False, "condition": Condition.STORE_AWAY}
    orders = Orders(1, fallback=Switch.ON, rooms={"checkout": RoomOrders(RoomMode.HOLD)})
    pictures = [
        picture(BEAT),
        picture(replace(BEAT, **away), orders=orders),
        picture(
            replace(BEAT, condition=Condition.LOCAL_SHARE), orders=Orders(1, rooms={"checkout": RoomOrders(RoomMode.CLOSED)})
        ),
    ]
    shown = StringIO()
    for each in pictures:
        Console(file=shown, width=200).print(overview(each.model_dump(mode="json")))
    runbooks = (ROOT / "docs/operations.md").read_text()
    said = [
        span
        for sentence in re.findall(r"does `gate status` say (.*)|`gate status` says ((?:(?![.;]).)*)", runbooks)
        for span in re.findall(r"`([^`]+)`", "".join(sentence))
    ]
    assert len(said) >= 8
    for word in said:
        assert re.search(rf"\b{re.escape(word)}\b", shown.getvalue()), word
    for column in ("Waiting", "Inside", "Serving", "A minute"):
        assert f"*{column}*" in runbooks
        assert column in shown.getvalue()
