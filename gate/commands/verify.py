"""``gate verify-draw``: recompute a place in the draw from what was published about it."""

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import typer

from gate.commands.terminal import JsonOption, Misuse, fail, print_json
from gate.core.draw import commitment, drawn_place

DEADLINE = 10.0  # seconds
LARGEST = 1 << 20  # bytes of a status document


def register(app: typer.Typer) -> None:
    app.command("verify-draw")(verify_draw)


@dataclass(frozen=True, slots=True)
class Published:
    """What the shop says of its draw."""

    seed: bytes
    drawn: int
    commitments: tuple[str, ...]  # before it: those to compare with


def verify_draw(
    url: Annotated[
        str | None, typer.Argument(help="A room's status document: https://shop.example/__gate/rooms/NAME/status.")
    ] = None,
    *,
    seed: Annotated[str | None, typer.Option(metavar="HEX", help="The seed, as published after the draw.")] = None,
    drawn: Annotated[int | None, typer.Option(min=1, help="How many were drawn.")] = None,
    promised: Annotated[
        str | None, typer.Option("--commitment", metavar="HEX", help="The commitment, as published before the draw.")
    ] = None,
    number: Annotated[int | None, typer.Option(min=1, help="The number on a ticket; its place is told.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All numbers and places, as CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Does the seed match the commitment, and which place did a number get? Ends with 1 where it does not match."""
    if number is None and not everybody and promised is None and url is None:
        raise Misuse("say what to verify: --number, --all or --commitment")
    if promised is not None:
        promised = _hex("--commitment", promised).hex()
    if url is not None:
        if seed is not None or drawn is not None:
            raise Misuse("give the address of the status document, or --seed and --drawn")
        found = _asked(url, promised)
    elif seed is None or drawn is None:
        raise Misuse("give --seed and --drawn, or the address of the status document")
    else:
        found = Published(_hex("--seed", seed), drawn, (promised,) if promised else ())

    matches = all(commitment(found.seed) == told for told in found.commitments)
    place = None if number is None else _place(found, number)
    if as_json:
        known = {"drawn": found.drawn, "seed": found.seed.hex(), "commitment": commitment(found.seed)}
        print_json({**known, "matches": matches if found.commitments else None, "number": number, "place": place})
    else:
        _say(found, matches, number, place)
        if everybody:
            typer.echo("number,place")
            for each in range(1, found.drawn + 1):
                typer.echo(f"{each},{drawn_place(found.seed, found.drawn, each)}")
    if not matches:
        raise typer.Exit(1)


def _place(found: Published, number: int) -> int:
    """Who came after the draw stands behind it, by number."""
    return drawn_place(found.seed, found.drawn, number) if number <= found.drawn else number


def _say(found: Published, matches: bool, number: int | None, place: int | None) -> None:
    if not found.commitments:
        typer.echo(f"commitment {commitment(found.seed)}: compare it with what was published before the draw", err=True)
    elif matches:
        typer.echo(f"The seed matches the commitment {found.commitments[0]}.", err=True)
    else:
        typer.echo(f"The seed does NOT match: its commitment is {commitment(found.seed)},", err=True)
        typer.echo(
            f"and {' and '.join(found.commitments)} was published. This is another draw than the one promised.", err=True
        )
    if number is not None:
        how = f"of {found.drawn} drawn" if number <= found.drawn else f"behind the {found.drawn} drawn: it came after the draw"
        typer.echo(f"number {number} has place {place} {how}")


def _hex(option: str, text: str) -> bytes:
    try:
        value = bytes.fromhex(text.strip())
    except ValueError:
        raise typer.BadParameter("write hex digits, as published", param_hint=option) from None
    if len(value) != 32:
        raise typer.BadParameter(f"it has {len(value)} bytes; 32 are published, as 64 hex digits", param_hint=option)
    return value


def _asked(url: str, promised: str | None) -> Published:
    """What the status document at ``url`` says of the draw, and the commitments to compare with."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise Misuse(f"{url!r} is no web address; write https://shop.example/__gate/rooms/NAME/status")
    try:
        with urlopen(Request(url, headers={"Accept": "application/json"}), timeout=DEADLINE) as response:  # noqa: S310 - http(s)
            document: Any = json.loads(response.read(LARGEST))
        draw = document["draw"]
    except HTTPError as error:
        with error:
            fail(f"{url} answered {error.code}; write the address of a room's status: …/__gate/rooms/NAME/status")
    except (URLError, OSError) as error:
        fail(f"{url} does not answer: {getattr(error, 'reason', error)}")
    except (ValueError, KeyError, TypeError):
        fail(f"{url} is not a room's status document; that is …/__gate/rooms/NAME/status")
    if draw is None:
        fail("This room has no draw: it is first come, first served.")
    if draw.get("seed") is None or draw.get("drawn") is None:
        fail(f"Nothing has been drawn yet. The commitment is {draw.get('commitment')}: note it, and compare after the draw.")
    if draw["drawn"] == -1:
        fail("Nobody was drawn: nobody was there at the opening, or the room had no draw yet.")
    try:
        told = [draw["commitment"], promised]
        return Published(bytes.fromhex(draw["seed"]), int(draw["drawn"]), tuple(text for text in told if text))
    except (ValueError, KeyError, TypeError):
        fail(f"{url} does not tell the draw in a form that this version knows.")
