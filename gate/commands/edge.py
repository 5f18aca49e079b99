"""``gate edge``: the CDNs that the gate knows, and their networks."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gate import config, edges, private
from gate.config import ConfigError
from gate.core.settings import Settings
from gate.edges import published

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The config; it names the state directory.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="CDNs in front of the gate: whose word about the visitor's address is taken.", no_args_is_help=True
    )
    group.command("list")(show)
    group.command()(refresh)
    app.add_typer(group, name="edge")


def show(
    config_file: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="With all networks, as JSON.")] = False,
) -> None:
    """The presets: header, number of networks, their date, and whether this config trusts them."""
    settings = _load(config_file)
    rows = []
    for cdn in edges.CDNS.values():
        known = edges.known(cdn.name, settings.state)
        rows.append(
            {
                "name": cdn.name,
                "header": cdn.header.decode(),
                "trusted": cdn.name in settings.edge.trust,
                "date": known.dated or None,
                "source": known.source,
                "note": cdn.note,
                "networks": [str(network) for network in known.networks],
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        networks = edges.known(str(row["name"]), settings.state).networks
        count = f"{len(networks)} networks of {row['date']}" if networks else "no networks"
        typer.echo(f"{row['name']:<11} {row['header']:<26} {count}{', trusted' if row['trusted'] else ''}")
        typer.echo(f"{'':<11} {row['note']}")


def refresh(
    name: Annotated[str, typer.Argument(help="cloudflare, fastly or cloudfront.")],
    config_file: ConfigOption = None,
    source: Annotated[
        list[str] | None, typer.Option("--from", metavar="URL", help="Another place with the list in the CDN's format.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and keep nothing.")] = False,
) -> None:
    """Fetch the networks from the CDN itself, check them, show what changed and keep them for the next start or reload."""
    cdn = edges.CDNS.get(name)
    if cdn is None:
        typer.echo(f"{name!r} is no preset; there are {', '.join(edges.CDNS)}", err=True)
        raise typer.Exit(1)
    settings = _load(config_file)
    before = edges.known(name, settings.state)
    try:
        found = published.fetch(cdn, datetime.now(UTC).date().isoformat(), tuple(source or ()))
    except (published.NotFetched, edges.BadList) as error:
        typer.echo(f"{name}: {error}", err=True)
        typer.echo(f"{name}: nothing changed; {len(before.networks)} networks of {before.dated or 'no date'} stay", err=True)
        raise typer.Exit(1) from None
    came, went = published.difference(before.networks, found.networks)
    for network in came:
        typer.echo(f"+ {network}")
    for network in went:
        typer.echo(f"- {network}")
    if dry_run:
        typer.echo(f"{name}: {len(came)} new, {len(went)} gone; nothing kept")
        return
    try:
        path = _keep(found, settings.state)
    except (OSError, private.Unsafe) as error:
        typer.echo(f"{name}: not kept: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{name}: {len(came)} new, {len(went)} gone, {len(found.networks)} in all; kept in {path}")


def _keep(found: edges.NetworkList, state: Path) -> Path:
    """Into the state directory, whole or not at all. Raises :class:`OSError` and :class:`~gate.private.Unsafe`."""
    path = edges.refreshed_path(private.make_directory(state), found.name)
    private.make_directory(path.parent)
    private.write(path, (json.dumps(found.to_json(), indent=2) + "\n").encode())
    return path


def _load(config_file: Path | None) -> Settings:
    try:
        return config.load(config.find(config_file))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
