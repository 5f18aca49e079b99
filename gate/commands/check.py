"""``gate check``: every mistake in a config, with its line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gate import config
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
        }
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for problem in report.problems:
            typer.echo(str(problem), err=problem.severity == "error")
        if report.settings is not None:
            typer.echo(f"{report.path}: fine ({_summary(report.settings)})")
        else:
            count = len(report.errors)
            typer.echo(f"{report.path}: {count} {'problem' if count == 1 else 'problems'}; nothing would start", err=True)
    if report.settings is None:
        raise typer.Exit(1)


def _summary(settings: Settings) -> str:
    counts = (
        (len(settings.rooms), "room"),
        (len(settings.limits), "limit"),
        (len(settings.routes), "route"),
        (len(settings.origin.servers), "origin server"),
    )
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
