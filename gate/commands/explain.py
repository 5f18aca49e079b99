"""``gate explain``: which rules a request meets, and what would be decided about it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gate import config


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    url: Annotated[str, typer.Argument(help="https://shop.example/checkout, or only the path.")],
    *,
    method: Annotated[str, typer.Option("--method", "-X", help="The request's method.")] = "GET",
    address: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="The visitor's address.")] = "198.51.100.7",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="`Name: value`; may be repeated.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The config; see `gate check`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which room, route and limits a request meets, and what would be decided in each situation."""
    from gate.explanation import explain as explained  # brings the signing libraries, which `gate --help` can do without

    try:
        settings = config.load(config.find(config_file))
    except config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    try:
        found = explained(url, method, address, header or [], settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(found.lines()))
