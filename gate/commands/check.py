"""``gate check``: every mistake in a config, with its line."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from gate import config
from gate.core.instants import format_instant, format_moment, format_relative
from gate.core.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(check)


def check(
    file: Annotated[Path | None, typer.Argument(help="The config; without it, the one that `gate serve` would take.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The same, as other commands take it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON.")] = False,
) -> None:
    """Report every problem of a config at once, with its line and what to write instead. Exit 1 when it cannot be used."""
    from gate.examination import examine  # here: other commands need neither pages nor what makes them

    report = examine(config.find(file or config_file))
    if as_json:
        found = {
            "file": str(report.path),
            "ok": report.settings is not None,
            "problems": [problem.to_json() for problem in report.problems],
            "times": [
                {"room": name, "what": what, "at": format_instant(moment)} for name, what, moment in _moments(report.settings)
            ],
        }
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for problem in report.problems:
            typer.echo(str(problem), err=problem.severity == "error")
        if report.settings is not None:
            for name, what, moment in _moments(report.settings):
                typer.echo(f"{name} {what} {format_moment(moment)} ({format_relative(moment, time.time())})")
            typer.echo(f"{report.path}: fine ({_summary(report.settings)})")
        else:
            count = len(report.errors)
            typer.echo(f"{report.path}: {count} {'problem' if count == 1 else 'problems'}; nothing would start", err=True)
    if report.settings is None:
        raise typer.Exit(1)


def _moments(settings: Settings | None) -> Iterator[tuple[str, str, float]]:
    """Every opening and closing: a time with a zone is easily another one than was meant."""
    for name, room in settings.rooms.items() if settings is not None else ():
        for what, moment in (("opens", room.opens), ("closes", room.closes)):
            if moment is not None:
                yield name, what, moment


def _summary(settings: Settings) -> str:
    counts = (
        (len(settings.rooms), "room"),
        (len(settings.limits), "limit"),
        (len(settings.routes), "route"),
        (len(settings.origin.servers), "origin server"),
    )
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
