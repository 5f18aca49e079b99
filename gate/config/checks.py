"""What the model cannot see: settings that contradict each other, files that are not there, rules that never apply."""

import math
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from gate.config.problems import Severity
from gate.config.tree import Step, spell
from gate.core.instants import format_moment
from gate.core.line import tag_of
from gate.core.pattern import Pattern
from gate.core.settings import Room, Settings
from gate.core.words import Order

LEAST_BURST = 0.05  # seconds of rate (docs/admission.md)
LOGO_BYTES = 6 << 10
READABLE = 4.5  # WCAG 2.2, success criterion 1.4.3: contrast of normal text


class Finding(NamedTuple):
    """``beside`` is another setting that the finding rests on: when that is wrong itself, this may be its shadow."""

    path: tuple[Step, ...]
    text: str
    severity: Severity = "error"
    beside: str = ""


def cross_check(settings: Settings) -> Iterator[Finding]:
    """Every finding, errors and warnings. Looks at the files that the settings name, at nothing else."""
    yield from _listeners(settings)
    yield from _files(settings)
    yield from _rooms(settings)
    yield from _maximum(settings)
    yield from _limits(settings)
    yield from _routes(settings)
    yield from _edge(settings)
    yield from _origin(settings)
    contrast = contrast_with_white(settings.brand.colour)
    if contrast < READABLE:
        text = f"white text on {settings.brand.colour} has a contrast of {contrast:.1f}:1, hard to read; take a darker colour"
        yield Finding(("brand", "colour"), f"{text} ({READABLE}:1)", "warning")


# --------------------------------------------------------------------------- the gate itself


def _listeners(settings: Settings) -> Iterator[Finding]:
    host, _, port = settings.listen.rpartition(":")
    operator_host, _, operator_port = settings.operator.listen.rpartition(":")
    everywhere = ("0.0.0.0", "[::]")
    if port == operator_port and port != "0" and (host == operator_host or host in everywhere or operator_host in everywhere):
        text = f"the same as `listen` ({settings.listen}); the operators' side needs an address or port of its own"
        yield Finding(("operator", "listen"), text, beside="listen")
    try:
        exposed = not ip_address(operator_host.strip("[]")).is_loopback
    except ValueError:
        exposed = operator_host != "localhost"
    if exposed:
        text = "other machines can reach the operators' side, and it speaks plain HTTP; use 127.0.0.1 or a private network"
        yield Finding(("operator", "listen"), text, "warning")


def _files(settings: Settings) -> Iterator[Finding]:
    for name in ("certificate", "key") if settings.tls is not None else ():
        if not getattr(settings.tls, name).is_file():
            yield Finding(("tls", name), f"there is no file {getattr(settings.tls, name)}")
    if settings.fallback.page is not None and not settings.fallback.page.is_file():
        yield Finding(("fallback", "page"), f"there is no file {settings.fallback.page}")
    for index, route in enumerate(settings.routes):
        if route.fallback is not None and route.fallback.file is not None and not route.fallback.file.is_file():
            yield Finding(("routes", index, "fallback", "file"), f"there is no file {route.fallback.file}")
    if settings.state.exists() and not settings.state.is_dir():
        yield Finding(("state",), f"{settings.state} is a file; name a directory")
    logo = settings.brand.logo
    if logo is None:
        return
    if logo.suffix.lower() not in (".svg", ".png"):
        yield Finding(("brand", "logo"), f"{logo.name} is neither SVG nor PNG; convert it")
    elif not logo.is_file():
        yield Finding(("brand", "logo"), f"there is no file {logo}")
    elif (size := logo.stat().st_size) > LOGO_BYTES:
        text = f"{logo.name} has {size} bytes, and it travels inside every waiting page; make it at most {LOGO_BYTES}"
        yield Finding(("brand", "logo"), text)


# --------------------------------------------------------------------------- rules


def _rooms(settings: Settings) -> Iterator[Finding]:
    yield from _hidden({("rooms", name): room.match for name, room in settings.rooms.items()})
    for name, room in settings.rooms.items():
        here: tuple[Step, ...] = ("rooms", name)
        yield from _own_paths((*here, "match"), room.match)
        if room.burst > room.rate.amount:
            text = f"a burst of {room.burst} is more than the whole rate of {room.rate.amount}; that many may enter at once"
            yield Finding((*here, "burst"), text, "warning")
        second = room.rate.amount / room.rate.get_expiry()
        if room.burst < LEAST_BURST * second:
            text = (
                f"a burst of {room.burst} is full before the next in line can come, and much of this rate is lost; "
                f"write {math.ceil(second)}, a second of it"
            )
            yield Finding((*here, "burst"), text, "warning")
        if room.active is not None and room.burst > room.active:
            text = f"a burst of {room.burst} never fits into a room for {room.active} (`active`); lower one or raise the other"
            yield Finding((*here, "burst"), text, "warning")
        policy = settings.without_store
        if policy.then == "local" and room.burst < policy.gates:
            text = (
                f"a burst of {room.burst} cannot be shared by {policy.gates} gates: while the store is away nobody enters; "
                f"raise it to {policy.gates}"
            )
            yield Finding((*here, "burst"), text, "warning")
        yield from _times_and_groups(room, here)


def _times_and_groups(room: Room, here: tuple[Step, ...]) -> Iterator[Finding]:
    if room.order is Order.RANDOM and room.opens is None:
        text = "`random` draws at the opening, and there is none; add `opens`, like 2026-11-27 12:00 Europe/Berlin"
        yield Finding((*here, "order"), text)
    if room.opens is not None and room.closes is not None and room.closes <= room.opens:
        opens, closes = format_moment(room.opens), format_moment(room.closes)
        yield Finding((*here, "closes"), f"{closes} is not after `opens`, {opens}; a sale needs some time in between")
    if (together := sum(group.share for group in room.groups.values())) > 0.9:
        text = f"the shares are {together:.0%} together, and the others would starve; leave them 10% of the rate at least"
        yield Finding((*here, "groups"), text)
    names = list(room.groups)
    for first, second in _repeated([str(tag_of(name)) for name in names]):
        text = f"looks like {names[first]!r} in a ticket, which has ten bits for a group; give one of them another name"
        yield Finding((*here, "groups", names[second]), text)


def _maximum(settings: Settings) -> Iterator[Finding]:
    """A full line shuts everybody else out, so nobody should fill it alone. Newcomers have no pass to be counted by."""
    counted = [pattern for limit in settings.limits if limit.by != "pass" for pattern in limit.match]
    for name, room in settings.rooms.items():
        open_ = [pattern for pattern in room.match if not any(other.covers(pattern) for other in counted)]
        if room.maximum is not None and open_:
            text = (
                f"one client without cookies can fill the line and keep it shut, because no limit covers {open_[0]}; "
                f'add one: limits: [{{match: "{open_[0]}", rate: 60/minute, by: address}}]'
            )
            yield Finding(("rooms", name, "maximum"), text, "warning")


def _limits(settings: Settings) -> Iterator[Finding]:
    guards = [pattern for room in settings.rooms.values() for pattern in room.match]
    for index, limit in enumerate(settings.limits):
        yield from _own_paths(("limits", index, "match"), limit.match)
        if limit.by != "pass":
            continue
        for at, pattern in enumerate(limit.match):
            if not any(guard.matches(pattern.method or "POST", _sample(pattern)) for guard in guards):
                text = f"no room guards {pattern}, so visitors without a pass are not limited there; write `by: address`"
                yield Finding(("limits", index, "match", at), text, "warning")
    for first, second in _repeated([limit.name for limit in settings.limits]):
        yield Finding(("limits", second), f"the same as limits[{first}]; delete one of them")


def _routes(settings: Settings) -> Iterator[Finding]:
    yield from _hidden({("routes", index): route.match for index, route in enumerate(settings.routes)})
    for index, route in enumerate(settings.routes):
        yield from _own_paths(("routes", index, "match"), route.match)
    for first, second in _repeated([route.name for route in settings.routes]):
        yield Finding(("routes", second), f"matches the same as routes[{first}]; make one route of the two")


def _hidden(rules: dict[tuple[Step, ...], list[Pattern]]) -> Iterator[Finding]:
    """Patterns that an earlier rule takes all requests of: the first rule wins."""
    earlier: list[tuple[Pattern, tuple[Step, ...]]] = []
    for path, patterns in rules.items():
        for index, pattern in enumerate(patterns):
            wider = next(((other, above) for other, above in earlier if other.covers(pattern)), None)
            if wider is None:
                continue
            if pattern.covers(wider[0]):
                text = f"{pattern} is in {spell(wider[1])} already, and the first one wins; keep it in one of them"
            else:
                text = f"{wider[0]} in {spell(wider[1])} takes all of it, and the first one wins; put the narrower one first"
            yield Finding((*path, "match", index), text, "warning")
        earlier += [(pattern, path) for pattern in patterns]


def _repeated(names: list[str]) -> Iterator[tuple[int, int]]:
    for index, name in enumerate(names):
        if names.index(name) < index:
            yield names.index(name), index


def _own_paths(path: tuple[Step, ...], patterns: list[Pattern]) -> Iterator[Finding]:
    for index, pattern in enumerate(patterns):
        if pattern.path.startswith("/__gate"):
            yield Finding((*path, index), "/__gate/ is the gate's own and follows no rules; delete it")


def _sample(pattern: Pattern) -> str:
    """A path that the pattern matches, widened as :mod:`gate.core.path` does."""
    segments = [segment.replace("*", "x") for segment in pattern.path.casefold().split("/") if segment and segment != "**"]
    return "/" + "/".join(segments)


# --------------------------------------------------------------------------- neighbours


def _edge(settings: Settings) -> Iterator[Finding]:
    for index, trusted in enumerate(settings.edge.trust):
        if "/" in trusted and ip_network(trusted).prefixlen == 0:
            text = "with this, everybody may claim to be anybody; list the networks of your edge"
            yield Finding(("edge", "trust", index), text, "warning")
    if settings.edge.header is not None and not settings.edge.trust:
        yield Finding(("edge", "header"), "nobody is trusted, so it is never read; add `trust`", "warning")


def _origin(settings: Settings) -> Iterator[Finding]:
    for first, second in _repeated(settings.origin.servers):
        yield Finding(("origin", "servers", second), f"the same as servers[{first}]; delete one of them")
    for index, server in enumerate(settings.origin.servers):
        if server.partition("//")[2] == settings.listen:
            yield Finding(
                ("origin", "servers", index), "this is the gate itself (`listen`); name the shop's server", beside="listen"
            )
    health = settings.origin.health
    if health is not None and health.timeout > health.every:
        text = f"longer than the time between checks ({health.every:g}s); lower it, or raise `every`"
        yield Finding(("origin", "health", "timeout"), text, "warning")


def contrast_with_white(colour: str) -> float:
    """The contrast of white text on ``#rrggbb`` (WCAG 2.2, relative luminance), from 1 to 21."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
