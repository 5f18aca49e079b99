"""``gate schema``: the JSON Schema of the config, for editors."""

import json
from typing import Annotated

import typer

from gate import config


def register(app: typer.Typer) -> None:
    app.command()(schema)


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The reference tables of docs/configuration.md instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of gate.yaml; editors read it by `# yaml-language-server: $schema=FILE` in the first line."""
    if markdown:
        from gate.config.reference import markdown as tables

        typer.echo(tables(), nl=False)
    else:
        typer.echo(text(), nl=False)


def text() -> str:
    """The schema as ``config/gate.schema.json`` has it."""
    return json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"
