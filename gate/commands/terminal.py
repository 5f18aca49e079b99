"""What the commands share: their common options, and how they speak."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The config file; else GATE_CONFIG, ./gate.yaml, the default."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


WHOLE = 10_000  # columns


class Misuse(typer.BadParameter):
    """The words of a command do not go together; exit 2, and the message stands for itself."""

    def format_message(self) -> str:
        return self.message


def fail(why: object) -> NoReturn:
    typer.echo(str(why), err=True)
    raise typer.Exit(1)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def screen() -> Console:
    """As wide as the terminal. In a pipe or a file nothing is broken into lines: a figure in two is none for a program."""
    console = Console()
    if not console.is_terminal:
        console.width = WHOLE
    return console


def print_whole(rows: Sequence[Sequence[str]], *, head: bool = False) -> None:
    """Columns of which the last one is never broken: seeds and commitments are compared, and copied. ``head``: of the first
    row, else of the first column, which names what stands beside it."""
    console = screen()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for number, row in enumerate(rows):
        cells = [text.ljust(width) + "  " for text, width in zip(row, widths, strict=False)]
        line = Text(("".join(cells) + row[-1]).rstrip())
        if not head:
            line.stylize("dim", 0, len(cells[0]))
        elif number == 0:
            line.stylize("dim")
        console.print(line, soft_wrap=True, highlight=False)


def table_of(*names: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table without lines. ``numbers`` names the columns that stand at the right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name == names[0])
    return table
