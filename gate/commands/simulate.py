"""``gate simulate``: a sale tried before it happens."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from gate import config
from gate.commands.terminal import ConfigOption, JsonOption, fail, print_json, screen, table_of
from gate.core.notation import format_duration, parse_duration
from gate.core.settings import Room, Settings

if TYPE_CHECKING:
    from gate.simulation.measures import Figures
    from gate.simulation.sale import Sale

T = TypeVar("T")

_COUNTED = (
    "The longest line is everybody who waits in some tab. A room's maximum counts whom the gate has heard of lately; "
    "a tab that nobody looks at can be missing there, and is still in line. Who is invited, or comes while the store is away, "
    "is not turned away."
)

_LOST = (
    "Rate is lost where the bucket is full before whoever was called has come: a page hears of it after a second or two. "
    "This one holds {held:.3g} s of the rate; one of five seconds loses hardly any: --what-if burst={enough}."
)
LOST = 0.95  # below this share of the rate the table says why


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    room: Annotated[
        str | None, typer.Argument(help="The room, as the config names it; not needed if there is only one.")
    ] = None,
    *,
    config_file: ConfigOption = None,
    visitors: Annotated[int, typer.Option(min=1, max=20_000_000, help="So many come …")] = 100_000,
    over: Annotated[str, typer.Option(metavar="TIME", help="… evenly in this time.")] = "10m",
    arrivals: Annotated[
        str | None,
        typer.Option(metavar="CURVE", help="Instead: times and how many have come by then, '0:0 30s:20000 5m:50000'."),
    ] = None,
    leave: Annotated[str, typer.Option(metavar="SHARE", help="Who gives up, unless called before.")] = "50%",
    patience: Annotated[str, typer.Option(metavar="TIME", help="And after how long, on average.")] = "10m",
    no_js: Annotated[str, typer.Option("--no-js", metavar="SHARE", help="Pages without JavaScript.")] = "5%",
    hidden: Annotated[str, typer.Option(metavar="SHARE", help="Waiting pages in a tab that nobody looks at.")] = "20%",
    ghosts: Annotated[int, typer.Option(min=0, help="So many more come once and never again.")] = 0,
    ghosts_seen: Annotated[
        str, typer.Option("--ghosts-seen", metavar="SHARE", help="Of these, whose page asked for its ticket once.")
    ] = "0%",
    invited: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP=SHARE",
            help="So many of the visitors come with an invitation to this group of the room: vip=5%; may be repeated.",
        ),
    ] = None,
    stay: Annotated[str, typer.Option(metavar="TIME", help="How long a visitor is inside, on average.")] = "3m",
    buy: Annotated[str, typer.Option(metavar="SHARE", help="Who ends with an order, which gives the seat back.")] = "50%",
    stock: Annotated[int | None, typer.Option(min=1, help="Sold out after so many orders.")] = None,
    opens: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Opens so long after the first comes; else, if the config has an opening, after half of the time.",
        ),
    ] = None,
    closes: Annotated[str | None, typer.Option(metavar="TIME", help="Closes so long after the first comes.")] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="CHANGE",
            help="One more run beside the first, may be repeated: leave (half of them), leave=80%, store-dies (for a minute), "
            "store-dies=90s, rate (half of it), rate=60/minute, burst=, active=, session=, maximum=, visitors=, ghosts=, "
            "ghosts-seen=, invited=vip=10%, stay=, stock=; several with commas.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed is the same crowd.")] = 1,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.html", help="A page with charts.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Try a sale before it happens: how long the line gets, who waits how long, and what if half of them leave."""
    from gate.simulation import measures
    from gate.simulation import what_if as changes
    from gate.simulation.run import simulate as run

    settings = _settings(config_file)
    name, chosen = _room(settings, room)
    planned = _sale(
        settings,
        chosen,
        curve=(visitors, _read(parse_duration, over, "--over"), arrivals),
        opens=_time(opens, "--opens"),
        closes=_time(closes, "--closes"),
        leave=_read(changes.parse_share, leave, "--leave"),
        patience=_read(parse_duration, patience, "--patience"),
        no_js=_read(changes.parse_share, no_js, "--no-js"),
        hidden=_read(changes.parse_share, hidden, "--hidden"),
        stay=_read(parse_duration, stay, "--stay"),
        buy=_read(changes.parse_share, buy, "--buy"),
        ghosts=ghosts,
        ghosts_seen=_read(changes.parse_share, ghosts_seen, "--ghosts-seen"),
        stock=stock,
        polls=settings.edge.polls,
        seed=seed,
    )
    for each in invited or []:
        planned = _read(partial(changes.invite, planned), each, "--invited")
    runs = [
        ("as planned", planned),
        *(_read(lambda text: changes.what_if(planned, text), each, "--what-if") for each in what_if or []),
    ]
    found, logs, began = [], [], time.perf_counter()
    for label, sale in runs:
        log = run(sale)
        found.append((label, measures.figures(log)))
        if plot is not None:
            from gate.simulation.plot import curves_of

            logs.append(curves_of(label, log))
    took = time.perf_counter() - began
    if plot is not None:
        from gate.simulation.plot import page

        try:
            plot.write_text(page(name, found, logs), encoding="utf-8")
        except OSError as error:
            fail(f"Cannot write {plot}: {error.strerror}.")
    if as_json:
        print_json({"room": name, "seed": seed, "runs": [{"run": label, **each.to_json()} for label, each in found]})
        return
    _show(found, planned, took, plot)


def _show(found: "list[tuple[str, Figures]]", planned: "Sale", took: float, plot: Path | None) -> None:
    from gate.simulation.words import rows

    table = table_of("", *(escape(label) for label, _ in found), numbers=tuple(escape(label) for label, _ in found))
    for title, *values in rows([each for _, each in found]):
        table.add_row(title, *values)
    console = screen()
    console.print(table)
    used, enough = found[0][1].used, math.ceil(5 * planned.terms.per_second)
    if used is not None and used < LOST and planned.terms.burst < enough:
        held = planned.terms.burst / planned.terms.per_second
        console.print(_LOST.format(held=held, enough=enough), style="dim")
    if any(figures.maximum is not None for _, figures in found):
        console.print(_COUNTED, style="dim")
    console.print(f"simulated in {took:.1f} s" + (f"; charts in {escape(str(plot))}" if plot else ""), style="dim")


def _sale(
    settings: Settings,
    room: Room,
    *,
    curve: tuple[int, float, str | None],
    opens: float | None,
    closes: float | None,
    **given: Any,
) -> "Sale":
    from gate.simulation.arrivals import Curve
    from gate.simulation.sale import Sale, terms_of

    visitors, seconds, points = curve
    come = Curve.even(visitors, seconds) if points is None else _read(Curve.parse, points, "--arrivals")
    if opens is None and room.opens is not None:
        opens = come.end / 2  # half have come by then
    if closes is None and room.closes is not None and room.opens is not None and opens is not None:
        closes = opens + room.closes - room.opens
    if opens is not None and closes is not None and closes <= opens:
        fail(f"It would close after {format_duration(closes)} and open after {format_duration(opens)}.")
    return Sale(
        terms_of(room),
        come,
        opens=opens,
        closes=closes,
        without_store=settings.without_store,
        workers=settings.workers * settings.without_store.gates,
        **given,
    )


def _settings(file: Path | None) -> Settings:
    try:
        return config.load(config.find(file))
    except config.ConfigError as error:
        fail(error)


def _room(settings: Settings, name: str | None) -> tuple[str, Room]:
    if name is None and len(settings.rooms) == 1:
        return next(iter(settings.rooms.items()))
    listed = ", ".join(settings.rooms) or "none"
    if name is None:
        fail(f"Say which room; the config has: {listed}.")
    if name not in settings.rooms:
        fail(f"There is no room {name!r}; the config has: {listed}.")
    return name, settings.rooms[name]


def _time(text: str | None, option: str) -> float | None:
    return None if text is None else _read(parse_duration, text, option)


def _read(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
