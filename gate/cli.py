"""The command line: ``gate COMMAND``."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from gate import __version__
from gate.commands import check, demo, edge, explain, operate, schema, serve, simulate
from gate.config import advice


class _Commands(TyperGroup):
    """Says what is wrong with a value as `gate check` does; newer typers leave it to pydantic ("Value error, …")."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = advice.explain(error.__cause__.errors(include_url=False)[0], ())
            raise


app = typer.Typer(
    name="gate",
    cls=_Commands,
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
