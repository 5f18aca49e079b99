"""Kept forms: what a visitor sent before the wait, encrypted into the line page (JWE, RFC 7516), and shown again after it.

The gate stores nothing. What the page carries only the gate can read and only it can have made: it is bound to the room, the
address it was sent to, and the ticket of its sender, and is over after a few hours.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, OctKey

from gate.core.credentials import Key, KeyRing, Ticket
from gate.core.kept import LARGEST
from gate.core.visit import Visit
from gate.web.links import checked_path

LIFE = 4 * 3600.0  # seconds
MAX_SEALED = 10_000  # characters: LARGEST bytes, a path of 2 KiB and their encoding
_ALGORITHMS = ["dir", "A256GCM"]
_PLAIN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")  # what a hidden field gives back as it was
_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|csrf|xsrf|nonce|auth|session|card|cc-?_?n|cvc|cvv|csc|iban|account|pin\b|security|verif|birth|ssn",
    re.I,
)
_CARD = re.compile(r"(?:\d[ -]?){12,18}\d")
SHOWN = 120  # characters of a value


class UnknownForm(ValueError):
    """What was handed in is no form that this gate has kept, or is one for another room."""


class OverForm(UnknownForm):
    """It was kept for too long."""


@dataclass(frozen=True, slots=True)
class KeptForm:
    """``fields`` in their order, to be sent to ``to``, a path with its query, by the holder of ``ticket`` (its id)."""

    room: str
    to: str
    ticket: str
    expires: float  # Unix time, seconds
    fields: tuple[tuple[str, str], ...]

    def shown(self) -> list[tuple[str, str]]:
        """Names, and what may be read over somebody's shoulder of the values. Fields that people never see are left out."""
        return [(name, _shown(name, value)) for name, value in self.fields if name and not re.match(r"(?i)_|csrf|xsrf", name)]

    def inputs(self) -> bytes:
        """The hidden fields that send it as it was."""
        pairs = ((_attribute(name), _attribute(value)) for name, value in self.fields)
        return "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in pairs).encode()


def seal(keyring: KeyRing, visit: Visit, ticket: Ticket, body: bytes, now: float) -> str | None:
    """``body`` of ``visit``, kept for ``ticket``; None when it could not be sent again exactly as it was."""
    to = checked_path((visit.path.raw + (b"?" + visit.query if visit.query else b"")).decode("latin-1"))
    if to is None or len(body) > LARGEST or fields_of_form(body) is None:
        return None
    claims = {"room": ticket.room, "to": to, "sub": ticket.id, "exp": int(now + LIFE), "form": body.decode("ascii")}
    header = {"alg": "dir", "enc": "A256GCM", "kid": keyring.newest.id}
    text = json.dumps(claims, separators=(",", ":")).encode()
    return jwe.encrypt_compact(header, text, _key(keyring.newest), algorithms=_ALGORITHMS)


def unseal(keyring: KeyRing, sealed: str, room: str, now: float) -> KeptForm:
    """Raises :class:`UnknownForm` or :class:`OverForm`."""
    if len(sealed) > MAX_SEALED:
        raise UnknownForm("too long")
    by_id = {key.id: key for key in keyring.keys}

    def named(guest: GuestProtocol) -> OctKey:
        return _key(by_id[guest.headers()["kid"]])

    try:
        claims: Any = json.loads(jwe.decrypt_compact(sealed, named, algorithms=_ALGORITHMS).plaintext or b"")
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise UnknownForm("not kept by this gate") from error
    fields = fields_of_form(claims["form"].encode())
    if claims["room"] != room or fields is None or checked_path(claims["to"]) is None:
        raise UnknownForm("kept for another room")
    if claims["exp"] <= now:
        raise OverForm("kept for too long")
    return KeptForm(room, claims["to"], claims["sub"], float(claims["exp"]), fields)


def fields_of_form(body: bytes) -> tuple[tuple[str, str], ...] | None:
    """Names and values; None when a page in UTF-8 would send them back as something else."""
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=200)
    except ValueError:
        return None
    for each in (part for pair in fields for part in pair):
        breaks = each.replace("\r\n", "")
        if not _PLAIN.fullmatch(each) or "\r" in breaks or "\n" in breaks:
            return None
    return tuple(fields)


@lru_cache(16)
def _key(key: Key) -> OctKey:
    return OctKey.import_key(key.derive("form"))


def _shown(name: str, value: str) -> str:
    if _SECRET_NAME.search(name) or _CARD.search(value):
        return "•••"
    return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"


def _attribute(text: str) -> str:
    """A line break stays one: as it stands, the parser of the page would make another of it."""
    return escape(text).replace("\r", "&#13;").replace("\n", "&#10;")
