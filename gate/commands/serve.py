"""``gate serve``: run the gate."""

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate import config, logs, resources
from gate.core.settings import Settings

if TYPE_CHECKING:
    from gate.serve import Supervisor


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    config_file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The config; see `gate check`.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that serve visitors; instead of `workers:`.")] = None,
) -> None:
    """Run the gate until SIGTERM or Ctrl-C. SIGHUP, or a changed config file, reloads without losing a request."""
    from gate.serve import StartError, Supervisor

    def amend(settings: Settings) -> Settings:
        return settings if workers is None else settings.model_copy(update={"workers": workers})

    try:
        path = config.find(config_file)
        settings = amend(config.load(path))
    except config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    logs.configure(settings.log)
    example = config_file is None and not os.environ.get("GATE_CONFIG") and path == resources.config("gate.yaml")
    try:
        asyncio.run(Supervisor(path, settings, amend).run(partial(_announce, example=example)))
    except StartError as error:
        typer.echo(f"gate: {error}", err=True)
        raise typer.Exit(1) from None


def _announce(supervisor: "Supervisor", *, example: bool) -> None:
    settings = supervisor.settings
    typer.echo(f"gate: visitors on http://{settings.listen}, operators on http://{settings.operator.listen}", err=True)
    typer.echo(f"gate: config {supervisor.config_path.absolute()}", err=True)
    if example:
        shop = ", ".join(settings.origin.servers)
        typer.echo(
            f"gate: warning: that is the example that comes with the gate, for a shop at {shop}: there is no gate.yaml "
            "here, and neither --config nor GATE_CONFIG names another",
            err=True,
        )
    if supervisor.new_token is not None:
        typer.echo(f"gate: operator token, shown only this once: {supervisor.new_token}", err=True)
