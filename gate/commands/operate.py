"""Commands that steer a running gate as a whole, over its operator API.

On the gate's own machine the local credential in the state directory says who one is; elsewhere GATE_TOKEN does.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gate import private
from gate.commands import credentials, invite, look, room, verify
from gate.commands.gateway import CommandFailed, Gate
from gate.commands.terminal import ConfigOption, JsonOption, fail, print_json
from gate.core.words import Shedding, Switch


def register(app: typer.Typer) -> None:
    look.register(app)
    room.register(app)
    app.command()(fallback)
    app.command()(shed)
    app.command("export-emails")(export_emails)
    invite.register(app)
    verify.register(app)
    credentials.register(app)


def fallback(
    mode: Annotated[Switch, typer.Argument(help="auto: by the health checks. on: for everybody. off: never.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order the static page on or off, or leave it to the health checks."""
    found, slow = _order(config, "/api/v1/fallback", mode)
    if as_json:
        print_json(found["fallback"])
    else:
        typer.echo(f"fallback {mode.value}: the page is {'shown' if found['fallback']['on'] else 'not shown'}")
    if slow:
        typer.echo(slow, err=True)


def shed(
    mode: Annotated[Shedding, typer.Argument(help="auto: by the load. off: never. 1: sheddable routes. 2: normal ones too.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order a level of shedding, or leave it to the measured load."""
    found, slow = _order(config, "/api/v1/shedding", mode)
    if as_json:
        print_json(found["shedding"])
    else:
        typer.echo(f"shedding {mode.value}: level {found['shedding']['level']}")
    if slow:
        typer.echo(slow, err=True)


def _order(config: Path | None, path: str, mode: Switch | Shedding) -> tuple[Any, str]:
    try:
        return Gate.named(config).order("PUT", path, {"mode": mode})
    except CommandFailed as error:
        fail(error)


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
