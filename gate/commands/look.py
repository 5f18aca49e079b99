"""Commands that look at a running gate, over its operator API."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from gate.commands.gateway import CommandFailed, Gate, ask
from gate.commands.terminal import ConfigOption, JsonOption, Misuse, fail, print_json, print_whole, screen, table_of, when
from gate.core.instants import format_relative


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(top)
    app.command()(audit)


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The gate at a glance: rooms, workers, store, shop, and what to look at."""
    found = ask(config, "GET", "/api/v1/status")
    if as_json:
        print_json(found)
    else:
        screen().print(overview(found))


def top(
    config: ConfigOption = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many looks; 0: at Ctrl-C.")] = 0,
) -> None:
    """The same, live. Ctrl-C ends it."""
    alive = sys.stdout.isatty()
    if not alive and not count:
        raise Misuse("gate top needs a terminal; `gate status` says the same once")
    try:
        gate = Gate.named(config)
        shown = overview(gate.ask("GET", "/api/v1/status"))
        with Live(shown, console=screen(), screen=alive, auto_refresh=False) as live:
            looks = 1
            while looks != count:
                time.sleep(every)
                try:
                    shown = overview(gate.ask("GET", "/api/v1/status"))
                except CommandFailed as error:
                    shown = Group(Text(str(error), style="bold red"))
                live.update(shown, refresh=True)
                looks += 1
        if not alive:  # the last picture ends its line
            print()
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
    numbers = ("Waiting", "Inside", "Serving", "Tokens", "A minute", "Orders", "At the shop")
    rooms = table_of("Room", "Mode", "Waiting", "Inside", "Serving", "Tokens", "A minute", "Rate", numbers=numbers)
    for room in found["rooms"]:
        inside = f"{room['inside']}/{room['active']}" if room["active"] else str(room["inside"])
        rooms.add_row(
            escape(room["name"]),
            Text(room["mode"], style="" if room["mode"] == "auto" else "bold yellow"),
            str(room["waiting"]),
            inside,
            f"{room['serving']}/{room['last']}",
            f"{room['tokens']:.1f}/{room['burst']}",
            "–" if room["admitted_per_second"] is None else f"{room['admitted_per_second'] * 60:.0f}",
            escape(room["rate"]),
        )
    sales = table_of("Sale", "")
    for room in found["rooms"]:
        facts = [f"{label.lower()} {text}" for label, text in sale_of(room, found["time"], briefly=True)]
        if facts:
            sales.add_row(escape(room["name"]), Text("; ".join(facts)))
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
    return Group(head, switches, *problems, rooms, *([sales] if sales.row_count else []), workers)


def sale_of(room: dict[str, Any], now: float, *, briefly: bool = False) -> Iterator[tuple[str, str]]:
    """What a room has of a sale: names and values, in the order of its life. ``briefly`` without what one would copy."""

    def at(moment: float) -> str:
        return format_relative(moment, now) if briefly else f"{when(moment)} ({format_relative(moment, now)})"

    if room["opens"] is not None:
        yield "Opens" if now < room["opens"] else "Opened", at(room["opens"])
    if room["closes"] is not None:
        yield "Closes" if now < room["closes"] else "Closed", at(room["closes"])
    if room["draw"] is not None:
        yield "Draw", _draw(room["draw"], briefly=briefly)
    if room["maximum"] is not None:
        yield "Longest line", str(room["maximum"])
    if room["left"] is not None:
        yield "Left to sell", str(room["left"]) if room["left"] else "0 (sold out)"
    if room["groups"]:
        yield (
            "Groups",
            ", ".join(f"{group['name']} {group['waiting']} waiting ({group['share']:.0%})" for group in room["groups"]),
        )


def _draw(draw: dict[str, Any], *, briefly: bool) -> str:
    said = "not yet" if draw["drawn"] is None else f"of {draw['drawn']}"
    if briefly:
        return said
    seed = f", seed {draw['seed']}" if draw["seed"] else ""
    return said + seed + (f", commitment {draw['commitment']}" if draw["commitment"] else "")


def _up(fine: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if fine else Text(no, style="bold red")


def audit(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Who ordered what, newest first."""
    entries = ask(config, "GET", f"/api/v1/audit?limit={limit}")["entries"]
    if as_json:
        print_json(entries)
        return
    if not entries:
        typer.echo("Nobody has ordered anything yet.")
        return
    print_whole([("When", "Who", "What"), *((when(entry["at"]), entry["who"], entry["what"]) for entry in entries)], head=True)
