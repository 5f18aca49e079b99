"""The command line: ``gate COMMAND``."""

from typing import Annotated

import typer

from gate import __version__
from gate.commands import check, demo, edge, explain, operate, schema, serve, simulate

app = typer.Typer(
    name="gate",
    help="Floodgate: a traffic gate and virtual waiting room in front of your shop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


for _command in (serve, demo, check, explain, simulate, operate, edge, schema):
    _command.register(app)


def main() -> None:
    """The entry point of the installed ``gate`` command."""
    app()
