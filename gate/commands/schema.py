"""``gate schema``: the JSON Schema of the config, for editors."""

import json

import typer

from gate import config


def register(app: typer.Typer) -> None:
    app.command()(schema)


def schema() -> None:
    """Print the JSON Schema of gate.yaml; editors read it by `# yaml-language-server: $schema=FILE` in the first line."""
    typer.echo(text(), nl=False)


def text() -> str:
    """The schema as ``config/gate.schema.json`` has it."""
    return json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"
