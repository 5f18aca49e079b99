"""``gate room``: look at one room, change it, and see what that does to the wait."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from gate.commands.gateway import CommandFailed, Gate
from gate.commands.look import sale_of
from gate.commands.terminal import ConfigOption, JsonOption, fail, print_json, print_whole
from gate.core.words import RoomMode

# the word that takes an order back
GIVEN_BACK = {**dict.fromkeys(("rate", "burst", "active", "session", "message"), "config"), "left": "shop"}
LEAST = {"burst": 1, "active": 0, "left": 0}  # of what is a whole number


def register(app: typer.Typer) -> None:
    app.command()(room)


def room(
    name: Annotated[str, typer.Argument(help="The room, as the config names it.")],
    mode: Annotated[
        RoomMode | None,
        typer.Argument(help="auto: by the rate. open: everybody passes. hold: nobody new enters. closed: no line either."),
    ] = None,
    *,
    rate: Annotated[str | None, typer.Option(help="New visitors per time, like 120/minute; 'config' gives it back.")] = None,
    burst: Annotated[
        str | None, typer.Option(metavar="N", help="How many may enter at once after a quiet time; 'config' gives it back.")
    ] = None,
    active: Annotated[
        str | None, typer.Option(metavar="N", help="At most so many inside, 0: no cap; 'config' gives it back.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="How long a pass lives after its last use, like 10m; 'config' gives it back.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="To everybody in line; '' for none, 'config' gives it back.")] = None,
    left: Annotated[
        str | None, typer.Option(metavar="N", help="So much is left to sell, 0: sold out; 'shop' gives it back to the shop.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do to the wait, and change nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a room while it runs, and say what that does to the wait; without anything to change, show it."""
    given = {"mode": mode, "rate": rate, "burst": burst, "active": active, "session": session, "message": message}
    words = {key: value for key, value in {**given, "left": left}.items() if value is not None}
    change: dict[str, Any] = {key: _meant(key, value) for key, value in words.items()}
    if dry_run and not change:
        fail("Nothing to try; give the change too, like --rate 240/minute.")
    try:
        _room(Gate.named(config), name, change, dry_run=dry_run, as_json=as_json)
    except CommandFailed as error:
        fail(error)


def _meant(setting: str, text: str) -> str | int | None:
    if text == GIVEN_BACK.get(setting):
        return None
    if setting not in LEAST:
        return text
    least, back = LEAST[setting], GIVEN_BACK[setting]
    if not text.isascii() or not text.isdigit():
        said = f"{text!r} is not a whole number; write {least} or more, or '{back}'"
    elif int(text) < least:
        said = f"{text!r} is out of range; write at least {least}, or '{back}'"
    else:
        return int(text)
    raise typer.BadParameter(said, param_hint=f"'--{setting}'")


def _room(gate: Gate, name: str, change: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    """Raises :class:`CommandFailed`."""
    effect: dict[str, Any] = gate.ask("POST", f"/api/v1/rooms/{name}/preview", change) if change else {"text": []}
    if dry_run:
        print_json(effect) if as_json else _say(effect)
        return
    found, slow = gate.order("PATCH", f"/api/v1/rooms/{name}", change) if change else (gate.ask("GET", "/api/v1/status"), "")
    shown = next((room for room in found["rooms"] if room["name"] == name), None)
    if shown is None:
        fail(f"There is no room {name!r}; the config has: {', '.join(room['name'] for room in found['rooms']) or 'none'}.")
    if as_json:
        print_json(shown)
        return
    print_whole(list(_rows(shown, found["time"])))
    _say(effect)
    if slow:
        typer.echo(slow, err=True)


def _rows(room: dict[str, Any], now: float) -> Iterator[tuple[str, str]]:
    for label, key in (
        ("Room", "name"),
        ("Mode", "mode"),
        ("Rate", "rate"),
        ("Burst", "burst"),
        ("Most inside", "active"),
        ("Session", "session"),
    ):
        by_hand = "  (set by hand)" if key in room["ordered"] else ""
        yield label, f"{'no cap' if room[key] is None else room[key]}{by_hand}"
    for label, value in sale_of(room, now):
        yield label, value + ("  (set by hand)" if label == "Left to sell" and "left" in room["ordered"] else "")
    yield "Waiting", str(room["waiting"])
    yield "Inside", str(room["inside"])
    yield "Serving", f"{room['serving']} of {room['last']}"
    yield "Message", room["message"]


def _say(effect: dict[str, Any]) -> None:
    for line in effect["text"]:
        typer.echo(line)
