"""Commands that work on the state directory itself: the key ring, and who the operators are. Running gates follow."""

import math
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from gate import audit, private
from gate import keys as keyring
from gate.commands.gateway import CommandFailed, Gate
from gate.commands.terminal import ConfigOption, JsonOption, Misuse, fail, print_json, screen, table_of, when
from gate.core.settings import Settings
from gate.operators import LOCAL, BadOperators, Operators, Role

keys_app = typer.Typer(no_args_is_help=True, help="The keys that sign tickets and passes.")
operators_app = typer.Typer(no_args_is_help=True, help="Who may use the operator API and the console.")


def register(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys")
    app.add_typer(operators_app, name="operators")


# --------------------------------------------------------------------------- keys


@keys_app.command("list")
def list_keys(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The keys in the ring, without their secrets; the newest that may sign signs."""
    file, now = _file(config), time.time()
    ends, listed, signing = file.ends(), file.living(now), file.ring(now).newest.id
    rows = [
        {
            "id": entry.key.id,
            "made": entry.made,
            "signs_from": entry.signs_from,
            "signs": entry.key.id == signing,
            "until": ends[entry.key.id] if ends[entry.key.id] < math.inf else None,
        }
        for entry in reversed(listed)
    ]
    if as_json:
        print_json(rows)
        return
    table = table_of("Key", "Made", "Signs from", "State")
    for entry, row in zip(reversed(listed), rows, strict=True):
        end = ends[entry.key.id]
        until = f" until {when(end)}" if end < math.inf else ""
        word = "signs" if row["signs"] else "not yet" if entry.signs_from > now else f"verifies{until}"
        table.add_row(entry.key.id, when(entry.made), when(entry.signs_from), word)
    screen().print(table)


@keys_app.command("rotate")
def rotate_keys(
    config: ConfigOption = None,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="The old keys are known to others: drop them now. Everybody joins anew.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --compromised: do not ask.")] = False,
) -> None:
    """A new signing key. Tickets and passes of the old ones stay good, each for as long as it would have; running gates follow
    by themselves."""
    settings = _settings(config)
    people = _people(config) if compromised else None
    if compromised and not yes:
        text = "All tickets, passes and invitations become void" + (
            f": {people[0]} wait, {people[1]} are inside" if people else ""
        )
        if not sys.stdin.isatty():
            raise Misuse(f"{text}. Nobody is there to be asked: if that is meant, give --yes too.")
        typer.confirm(f"{text}. Go on?", abort=True, err=True)
    try:
        new = keyring.rotate(settings.state, compromised=compromised)
    except FileNotFoundError:
        fail(_NO_RING.format(settings.state))
    except (keyring.BadKeyFile, keyring.FullRing, private.Unsafe, OSError) as error:
        fail(error)
    start = "now" if compromised else f"{when(new.signs_from)}, when every worker knows it"
    typer.echo(f"key {new.key.id} signs from {start}")
    if compromised:
        were = f": {people[0]} waited, {people[1]} were inside" if people else ""
        typer.echo(f"All tickets, passes and invitations are void{were}.")
    dropped = "; all others are dropped" if compromised else ""
    _record(settings, f"key {new.key.id} signs from {when(new.signs_from)}{dropped}")


def _people(config: Path | None) -> tuple[int, int] | None:
    """How many wait and how many are inside; None when no gate runs that could tell."""
    try:
        rooms = Gate.named(config).ask("GET", "/api/v1/status")["rooms"]
    except CommandFailed:
        return None
    return sum(room["waiting"] for room in rooms), sum(room["inside"] for room in rooms)


@keys_app.command("show")
def show_key(
    purpose: Annotated[str, typer.Option(help="origin: checks Gate-Signature. pass: verifies passes at an edge.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What an origin or an edge needs to verify what the gate signed: keys for that one purpose, newest first, in hex."""
    if purpose not in ("origin", "pass"):
        fail(f"{purpose!r} is not a purpose; write origin or pass.")
    listed = _file(config).living(time.time())
    rows = [{"id": entry.key.id, "key": entry.key.derive(purpose).hex()} for entry in reversed(listed)]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            typer.echo(f"{row['id']} {row['key']}")


# --------------------------------------------------------------------------- operators


@operators_app.command("list")
def list_operators(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Names and roles."""
    settings = _settings(config)
    try:
        found = Operators(settings.state).list()
    except (BadOperators, private.Unsafe, OSError) as error:
        fail(error)
    if as_json:
        print_json([{"name": o.name, "role": o.role, "created": o.created} for o in found])
        return
    table = table_of("Name", "Role", "Since")
    for operator in found:
        table.add_row(operator.name, operator.role.value, when(operator.created))
    screen().print(table if found else "There are none; `gate operators add NAME --role operator` makes one.")


@operators_app.command("add")
def add_operator(
    name: str,
    role: Annotated[Role, typer.Option(help="viewer sees, operator changes.")] = Role.VIEWER,
    config: ConfigOption = None,
) -> None:
    """A new operator. Prints the token, once."""
    settings = _settings(config)
    try:
        token = Operators(settings.state).add(name, role)
    except (BadOperators, private.Unsafe, OSError) as error:
        fail(error)
    _record(settings, f"operator {name} added, role {role.value}")
    typer.echo(token)
    typer.echo(f"{name} is a {role.value}. The token above is not shown again.", err=True)


@operators_app.command("remove")
def remove_operator(name: str, config: ConfigOption = None) -> None:
    """From now on the token and every console session of this operator are refused."""
    settings = _settings(config)
    try:
        Operators(settings.state).remove(name)
    except (BadOperators, private.Unsafe, OSError) as error:
        fail(error)
    _record(settings, f"operator {name} removed")
    typer.echo(f"{name} is removed")


def _record(settings: Settings, what: str) -> None:
    """Into this gate's audit. What was done is done, also when that fails."""
    try:
        audit.append(settings.state, {"at": round(time.time(), 3), "who": LOCAL, "what": what})
    except OSError as error:
        typer.echo(f"The audit file cannot be written ({error.strerror}).", err=True)


_NO_RING = "There is no key ring in {}; the gate makes one when it first starts."


def _file(config: Path | None) -> keyring.KeyFile:
    settings = _settings(config)
    try:
        return keyring.load(settings.state)
    except FileNotFoundError:
        fail(_NO_RING.format(settings.state))
    except (keyring.BadKeyFile, private.Unsafe, OSError) as error:
        fail(error)


def _settings(config: Path | None) -> Settings:
    try:
        return Gate.settings_of(config)[1]
    except CommandFailed as error:
        fail(error)
