"""Commands that look at a running gate and steer it, over its operator API.

On the gate's own machine the local credential in the state directory says who one is; elsewhere GATE_TOKEN does.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gate import private
from gate.commands import credentials
from gate.commands.gateway import CommandFailed, Gate
from gate.commands.terminal import ConfigOption, JsonOption, fail, print_json, table_of, when
from gate.core.words import RoomMode, Shedding, Switch


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(top)
    app.command()(room)
    app.command()(fallback)
    app.command()(shed)
    app.command()(audit)
    app.command("export-emails")(export_emails)
    credentials.register(app)


# --------------------------------------------------------------------------- looking


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The gate at a glance: rooms, workers, store, shop, and what to look at."""
    found = _ask(config, "GET", "/api/v1/status")
    if as_json:
        print_json(found)
    else:
        Console().print(overview(found))


def top(
    config: ConfigOption = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many looks; 0: at Ctrl-C.")] = 0,
) -> None:
    """The same, live. Ctrl-C ends it."""
    try:
        gate = Gate.named(config)
        with Live(overview(gate.ask("GET", "/api/v1/status")), screen=sys.stdout.isatty(), auto_refresh=False) as live:
            looks = 1
            while looks != count:
                time.sleep(every)
                try:
                    shown = overview(gate.ask("GET", "/api/v1/status"))
                except CommandFailed as error:
                    shown = Group(Text(str(error), style="bold red"))
                live.update(shown, refresh=True)
                looks += 1
    except CommandFailed as error:
        fail(error)
    except KeyboardInterrupt:
        pass


def overview(found: dict[str, Any]) -> Group:
    """The status as tables."""
    head = Text.assemble(
        ("Floodgate ", "bold"),
        f"{found['gate']}   shop ",
        _up(found["origin"]["up"], "up", "down"),
        "   store ",
        _up(found["store"]["up"], "up", "away"),
        f"   at the shop {found['in_flight']}   connections {found['connections']}",
    )
    switches = Text(
        f"fallback {found['fallback']['mode']} ({'shown' if found['fallback']['on'] else 'not shown'})   "
        f"shedding {found['shedding']['mode']} (level {found['shedding']['level']})   orders {found['version']}",
        style="dim",
    )
    numbers = ("Waiting", "Inside", "Called", "Tokens", "A minute", "Orders", "At the shop")
    rooms = table_of("Room", "Mode", "Waiting", "Inside", "Called", "Tokens", "A minute", "Rate", numbers=numbers)
    for room in found["rooms"]:
        inside = f"{room['inside']}/{room['active']}" if room["active"] else str(room["inside"])
        rooms.add_row(
            escape(room["name"]),
            Text(room["mode"], style="" if room["mode"] == "auto" else "bold yellow"),
            str(room["waiting"]),
            inside,
            f"{room['serving']}/{room['last']}",
            f"{room['tokens']:.1f}/{room['burst']}",
            f"{room['admitted_per_second'] * 60:.0f}",
            escape(room["rate"]),
        )
    workers = table_of("Worker", "Pid", "Condition", "Heard", "Up", "Orders", "At the shop", numbers=numbers)
    for worker in found["workers"]:
        fine = worker["alive"] and worker["condition"] == "normal"
        workers.add_row(
            str(worker["number"]),
            str(worker["pid"]),
            _up(fine, "normal", worker["condition"] if worker["alive"] else "gone"),
            f"{worker['age']:.0f} s ago",
            f"{worker['uptime']:.0f} s",
            str(worker["version"]),
            str(worker["in_flight"]),
        )
    problems = [Text(f"! {problem}", style="bold yellow") for problem in found["problems"]]
    return Group(head, switches, *problems, rooms, workers)


def _up(fine: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if fine else Text(no, style="bold red")


def audit(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Who ordered what, newest first."""
    entries = _ask(config, "GET", f"/api/v1/audit?limit={limit}")["entries"]
    if as_json:
        print_json(entries)
        return
    table = table_of("When", "Who", "What")
    for entry in entries:
        table.add_row(when(entry["at"]), escape(entry["who"]), Text(entry["what"]))
    Console().print(table if entries else "Nobody has ordered anything yet.")


# --------------------------------------------------------------------------- steering


def room(
    name: Annotated[str, typer.Argument(help="The room, as the config names it.")],
    mode: Annotated[
        RoomMode | None,
        typer.Argument(help="auto: by the rate. open: everybody passes. hold: nobody new enters. closed: no line either."),
    ] = None,
    *,
    rate: Annotated[str | None, typer.Option(help="New visitors per time, like 120/minute; 'config' gives it back.")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="How many may enter at once after a quiet time.")] = None,
    active: Annotated[int | None, typer.Option(min=0, help="At most so many inside; 0 lifts the cap.")] = None,
    message: Annotated[str | None, typer.Option(help="A word to everybody in line; '' for none.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a room while it runs; without anything to change, show it."""
    given = {"mode": mode, "rate": rate, "burst": burst, "active": active, "message": message}
    change: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if change.get("rate") == "config":
        change["rate"] = None
    found = _ask(config, "PATCH", f"/api/v1/rooms/{name}", change) if change else _ask(config, "GET", "/api/v1/status")
    shown = next((room for room in found["rooms"] if room["name"] == name), None)
    if shown is None:
        fail(f"There is no room {name!r}; the config has: {', '.join(room['name'] for room in found['rooms']) or 'none'}.")
    if as_json:
        print_json(shown)
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    for label, key in (("Room", "name"), ("Mode", "mode"), ("Rate", "rate"), ("Burst", "burst"), ("Most inside", "active")):
        by_hand = "  (set by hand)" if key in shown["ordered"] else ""
        table.add_row(Text(label, style="dim"), Text(f"{'no cap' if shown[key] is None else shown[key]}{by_hand}"))
    for label, key in (("Waiting", "waiting"), ("Inside", "inside"), ("Serving", "serving"), ("Message", "message")):
        table.add_row(Text(label, style="dim"), Text(str(shown[key])))
    Console().print(table)


def fallback(
    mode: Annotated[Switch, typer.Argument(help="auto: by the health checks. on: for everybody. off: never.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order the static page on or off, or leave it to the health checks."""
    found = _ask(config, "PUT", "/api/v1/fallback", {"mode": mode})
    if as_json:
        print_json(found["fallback"])
    else:
        typer.echo(f"fallback {mode.value}: the page is {'shown' if found['fallback']['on'] else 'not shown'}")


def shed(
    mode: Annotated[Shedding, typer.Argument(help="auto: by the load. off: never. 1: sheddable routes. 2: normal ones too.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order a level of shedding, or leave it to the measured load."""
    found = _ask(config, "PUT", "/api/v1/shedding", {"mode": mode})
    if as_json:
        print_json(found["shedding"])
    else:
        typer.echo(f"shedding {mode.value}: level {found['shedding']['level']}")


def export_emails(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Instead of standard output.")] = None,
) -> None:
    """The e-mail addresses that visitors left, as CSV."""
    try:
        table = Gate.named(config).read("GET", "/api/v1/emails.csv")
        if out is None:
            sys.stdout.write(table.decode())
        else:
            private.write(out, table)
            count = max(0, table.count(b"\n") - 1)
            typer.echo(f"{count} {'address' if count == 1 else 'addresses'} in {out}", err=True)
    except CommandFailed as error:
        fail(error)
    except OSError as error:
        fail(f"Cannot write {out}: {error.strerror}.")


def _ask(config: Path | None, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    try:
        return Gate.named(config).ask(method, path, body)
    except CommandFailed as error:
        fail(error)
