"""Whether a gate can run with a config: the one examination of `gate check`, the start, every reload and the API.

:mod:`gate.config` judges what the file says. A config that reads well can still ask for what a worker cannot make: a page
around a logo that is no picture, networks of a CDN that nobody knows here, a certificate without its key. A worker that
finds this out while it starts is too late. What became of the last reload stands in ``run/refused``, if it changed nothing.
"""

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from gate import config
from gate.config import Finding
from gate.core.address import Trust, UnknownEdge
from gate.core.instants import format_moment, format_relative
from gate.core.settings import Edge, Settings
from gate.core.words import Order
from gate.edges import presets
from gate.store.memory import ROOMS_FILE, Memory
from gate.web.artwork import PageError, can
from gate.web.pages import Pages

FIXED = ("listen", "operator", "store", "state")  # these hold sockets and files: a change needs a restart
FAR = 366 * 86400  # seconds; an opening beyond it is more likely a slip of the year
_REFUSED = "refused"


def examine(path: Path, environ: Mapping[str, str] | None = None) -> config.Report:
    """As :func:`gate.config.examine`, and whether the processes of a gate would start with it. It blocks."""
    return config.examine(path, environ, also=(_edge, _tls, _pages, _times, _draws))


def need_restart(old: Settings, new: Settings) -> list[str]:
    """Which settings differ that a reload cannot change."""
    return [name for name in FIXED if getattr(old, name) != getattr(new, name)]


def with_fixed(old: Settings, new: Settings) -> Settings:
    """``new``, but with what only a restart can change from ``old``."""
    return new.model_copy(update={name: getattr(old, name) for name in FIXED})


def tell(run: Path, refused: str | None) -> None:
    """Why the last reload changed nothing; None when it was done. Raises :class:`OSError`."""
    path = run / _REFUSED
    if refused is None:
        path.unlink(missing_ok=True)
    else:
        fresh = run / f".{_REFUSED}"
        fresh.write_text(refused, encoding="utf-8")
        fresh.replace(path)


def told(run: Path) -> str | None:
    """What :func:`tell` said last."""
    try:
        return (run / _REFUSED).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _edge(settings: Settings) -> Iterator[Finding]:
    known = presets(settings.state)
    for index, trusted in enumerate(settings.edge.trust):
        try:
            Trust.of(Edge(trust=[trusted]), known)
        except UnknownEdge as error:
            yield Finding(("edge", "trust", index), str(error))


def _tls(settings: Settings) -> Iterator[Finding]:
    if settings.tls is None:
        return
    try:
        # the password of an encrypted key would be asked for on the terminal, where a gate has none
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls.certificate, settings.tls.key, password="")
    except ssl.SSLError as error:
        why = (error.reason or str(error)).replace("_", " ").lower()
        yield Finding(("tls",), f"the certificate and its key cannot be used ({why}); both are PEM, the key without a password")
    except OSError as error:
        yield Finding(("tls",), f"the certificate or its key cannot be read ({error.strerror})")


def _pages(settings: Settings) -> Iterator[Finding]:
    for index, route in enumerate(settings.routes):
        if route.fallback is not None:
            try:
                can(route.fallback)
            except PageError as error:
                where, text = _place(error)
                yield Finding(("routes", index, *where), text)
                return
    try:
        Pages(settings)
    except ValueError as error:  # PageError, or a template that is not UTF-8
        yield Finding(*_place(error))


def _times(settings: Settings) -> Iterator[Finding]:
    now = time.time()
    for name, room in settings.rooms.items():
        if room.closes is not None and room.closes <= now:
            was = f"{format_moment(room.closes)} was {format_relative(room.closes, now)}"
            text = f"{was}: the sale is over, and nobody gets in; write a time to come, or delete the line"
            yield Finding(("rooms", name, "closes"), text, "warning")
        elif room.opens is not None and (doubt := _doubt(room.opens, room.order, now)) is not None:
            yield Finding(("rooms", name, "opens"), f"{format_moment(room.opens)} {doubt}", "warning")


def _doubt(opens: float, order: Order, now: float) -> str | None:
    """What speaks against an opening at this time, if anything."""
    if opens > now:
        return f"is {format_relative(opens, now)}; is the year right?" if opens - now > FAR else None
    ago = f"was {format_relative(opens, now)}"
    if order is Order.RANDOM:
        return f"{ago}: who has not been drawn yet is served first come, first served"
    return f"{ago}, so the room is open at once; write a time to come, or delete the line"


def _draws(settings: Settings) -> Iterator[Finding]:
    """By what the workers here remember: a draw that people were promised must not fail to come without a word."""
    memory = Memory(settings.state.expanduser() / ROOMS_FILE)
    for name, room in settings.rooms.items():
        drawn = memory.of(name).drawn
        if room.order is Order.RANDOM and room.opens is not None and room.opens > time.time() and drawn > 0:
            text = (
                f"the room has had its draw (of {drawn}), and a room is drawn once: who comes before this opening is served "
                "first come, first served, behind those who stand there. For another draw give the room another name, when "
                "nobody stands in this one any more"
            )
            yield Finding(("rooms", name, "opens"), text, "warning")


def _place(error: ValueError) -> tuple[tuple[str, ...], str]:
    """``brand.logo: it is no picture`` → the path of the setting, and what is wrong."""
    found = re.fullmatch(r"((?:brand|fallback)(?:\.[a-z]+)*): (.*)", str(error), re.DOTALL)
    return (tuple(found[1].split(".")), found[2]) if found else ((), str(error))
