"""``gate demo``: a small shop, the gate in front of it, a crowd if you like, and a screen that says what to try."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gate import config


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(demo)
    group.command()(crowd)
    group.command()(knob)
    app.add_typer(group, name="demo")


def demo(
    context: typer.Context,
    visitors: Annotated[int, typer.Option("--crowd", min=0, max=5000, help="Send so many visitors at once.")] = 0,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the gate; 8080, or a free one.")] = None,
    state: Annotated[Path | None, typer.Option(help="Keep everything here; else in a temporary directory.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="End by itself after so many seconds.")] = None,
) -> None:
    """See it all work: a small real shop, an embedded store, the gate, and a printed tour. Ctrl-C ends all of it."""
    if context.invoked_subcommand is not None:
        return
    from gate.demo.stage import CannotStart, Stage

    try:
        with Stage(port=port, state=state) as stage:
            asyncio.run(stage.play(visitors=visitors, seconds=seconds))
    except CannotStart as error:
        typer.echo(f"gate demo: {error}", err=True)
        raise typer.Exit(1) from None


def crowd(
    visitors: Annotated[int, typer.Argument(min=1, max=5000, help="How many.")] = 200,
    config_file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Of the running demo.")] = None,
    patience: Annotated[float, typer.Option(min=1, help="Seconds after which a visitor gives up.")] = 900,
) -> None:
    """Send a crowd to the running demo, and watch it."""
    from rich.console import Console

    from gate.demo.crowd import Crowd, watch

    try:
        listen = config.load(config.find(config_file)).listen
    except config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    tally = asyncio.run(watch(Crowd(f"http://{listen}", visitors, patience=patience), within=patience, console=Console()))
    raise typer.Exit(1 if tally.problems else 0)


def knob(
    part: Annotated[str, typer.Argument(help="reviews, recommendations, search, shipping, checkout or all.")],
    mode: Annotated[str, typer.Argument(help="ok, slow, fail or dead (no answer at all).")],
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds before the answer; 2 when slow.")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Of the running demo.")] = None,
) -> None:
    """Break a part of the running demo's shop, or mend it."""
    from gate.demo.processes import turn_knobs

    try:
        shop = config.load(config.find(config_file)).origin.servers[0]
    except config.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    turn = {"mode": mode} if delay is None else {"mode": mode, "delay": delay}
    try:
        now = turn_knobs(shop, {part: turn})
    except ValueError as error:
        typer.echo(f"gate demo knob: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError:
        typer.echo(
            f"gate demo knob: no demo shop answers at {shop}; is `gate demo` running, and GATE_CONFIG set as it says?", err=True
        )
        raise typer.Exit(1) from None
    typer.echo(", ".join(f"{name} {value['mode']}" for name, value in now.items()))
