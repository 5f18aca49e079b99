"""``gate explain``: which rules a request meets, and what would be decided about it."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gate import config
from gate.commands.terminal import Misuse


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    request: Annotated[
        list[str],
        typer.Argument(metavar="[METHOD] URL", help="https://shop.example/checkout, only the path, or POST /cart/add."),
    ],
    *,
    method: Annotated[str | None, typer.Option("--method", "-X", help="The request's method; else GET.")] = None,
    address: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="The visitor's address.")] = "198.51.100.7",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="`Name: value`; may be repeated.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The config; see `gate check`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which room, route and limits a request meets, and what would be decided in each situation.

    Where the gate of this config runs, also the orders in force, and what it would decide right now.
    """
    from gate.explanation import explain as explained  # brings the signing libraries, which `gate --help` can do without

    verb, url = _asked(request, method)
    try:
        settings = config.load(config.find(config_file))
    except config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    try:
        found = explained(url, verb, address, header or [], settings, _running(config_file))
    except ValueError as error:
        raise Misuse(str(error)) from None
    typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(found.lines()))


def _asked(request: list[str], method: str | None) -> tuple[str, str]:
    """Method and URL, as ``URL`` with an option or as ``METHOD URL``."""
    if len(request) == 1:
        return method or "GET", request[0]
    if len(request) > 2 or method is not None or not re.fullmatch(r"[A-Za-z]+", request[0]):
        raise Misuse("write one request: /checkout, or POST /cart/add")
    return request[0], request[1]


def _running(config_file: Path | None) -> Any:
    """The status of the gate that the config names; None where none answers, for the rules can be told without it."""
    from gate.commands.gateway import CommandFailed, Gate
    from gate.status import Status

    try:
        return Status.model_validate(Gate.named(config_file).ask("GET", "/api/v1/status"))
    except (CommandFailed, ValueError):  # also a gate of another version
        return None
