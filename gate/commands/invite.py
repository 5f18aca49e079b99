"""``gate invite``: links that put their bearers into one of a room's priority groups. Signed here, with the key ring."""

import secrets
import time
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import quote

import typer

from gate import keys, private
from gate.commands.gateway import CommandFailed, Gate
from gate.commands.terminal import ConfigOption, JsonOption, fail, print_json, when
from gate.core.credentials import KeyRing, new_id
from gate.core.instants import format_instant
from gate.core.invitations import Invitation, sign_invitation
from gate.core.notation import format_duration, parse_duration
from gate.core.settings import Room
from gate.web.links import checked_path

MOST = 100_000  # links at a time


def register(app: typer.Typer) -> None:
    app.command()(invite)


def invite(
    room: Annotated[str, typer.Argument(help="The room, as the config names it.")],
    group: Annotated[str, typer.Argument(help="One of its groups.")],
    *,
    count: Annotated[int, typer.Option(min=1, max=MOST, help="So many links, each with its own uses.")] = 1,
    uses: Annotated[int, typer.Option(min=0, help="So many visitors may come by one link; 0: any number.")] = 1,
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long the links are good: 12h, 7d.")] = "7d",
    to: Annotated[str | None, typer.Option(metavar="PATH", help="Where they lead; else to what the room guards.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print links of invitation: who opens one stands in the group's line. Nothing is asked of a running gate."""
    try:
        settings = Gate.settings_of(config)[1]
        seconds = parse_duration(lasts)
    except CommandFailed as error:
        fail(error)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None
    if seconds > keys.RETIRE:
        most = format_duration(keys.RETIRE)
        raise typer.BadParameter(f"{lasts} is longer than a key verifies; write {most} or less", param_hint="--for")
    guarded = settings.rooms.get(room)
    if guarded is None:
        fail(f"There is no room {room!r}; the config has: {', '.join(settings.rooms) or 'none'}.")
    if group not in guarded.groups:
        _no_group(guarded, group)
    leads = _front(guarded) if to is None else checked_path(to)
    if leads is None:
        raise typer.BadParameter(f"{to!r} is not a path of the shop; write /checkout", param_hint="--to")

    expires = int(time.time() + seconds)
    ring, origin = _ring(settings.state), f"https://{settings.hosts[0]}" if settings.hosts else ""
    rows = []
    for _ in range(count):
        invitation = Invitation(room, group, new_id(secrets.token_bytes), uses, expires)
        token = sign_invitation(invitation, ring)
        url = f"{origin}/__gate/rooms/{room}/invitation?token={token}&to={quote(leads, safe='')}"
        rows.append({"url": url, "id": invitation.id, "uses": uses, "expires": expires})
    if as_json:
        print_json({"room": room, "group": group, "expires": format_instant(expires), "invitations": rows})
    else:
        typer.echo("\n".join(str(row["url"]) for row in rows))
        by_each = "any number of visitors" if uses == 0 else f"{uses} visitor{'' if uses == 1 else 's'}"
        typer.echo(f"Good until {when(expires)}, for {by_each} each.", err=True)
    if not origin:
        typer.echo("Put the shop's origin before them, like https://shop.example; with `hosts` in the config it is.", err=True)


def _no_group(room: Room, group: str) -> NoReturn:
    if not room.groups:
        fail(f"The room {room.name!r} has no groups; give it some: `groups: {{{group}: {{share: 30%}}}}`.")
    fail(f"The room {room.name!r} has no group {group!r}; it has: {', '.join(room.groups)}.")


def _ring(state: Path) -> KeyRing:
    try:
        return keys.load(state).ring(time.time())
    except FileNotFoundError:
        fail(f"There is no key ring in {state}; the gate makes one when it first starts.")
    except (keys.BadKeyFile, private.Unsafe, OSError) as error:
        fail(error)


def _front(room: Room) -> str:
    """Where the room's first path that a link can lead to begins: ``/checkout`` of ``/checkout/**``."""
    paths = [pattern.path for pattern in room.match if pattern.method in (None, "GET")]
    return (paths[0].partition("*")[0].rstrip("/") if paths else "") or "/"
