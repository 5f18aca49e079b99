"""``gate schema``: the JSON Schema of the config, for editors."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(schema)


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The reference tables of docs/configuration.md instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of gate.yaml; editors read it by `# yaml-language-server: $schema=FILE` in the first line."""
    from gate.config import reference

    typer.echo(reference.markdown() if markdown else reference.schema_text(), nl=False)
