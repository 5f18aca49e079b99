"""Tickets and passes: what a visitor carries, and how it is signed.

A *ticket* is proof of a place in line and permits nothing (itsdangerous, HMAC-SHA256). A *pass* is permission to enter one
room until it expires (a JWS/JWT, HS256, RFC 7515 and 7519), so that an edge can verify it natively. Keys are separated by
purpose: the two never verify as each other. The newest key of the ring signs, every listed key verifies.
"""

import hmac
import json
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from itsdangerous import BadData, URLSafeSerializer

from gate.core.jwt import NotOurs, Signer

KEY_BYTES = 32
TICKET_SALT = b"gate.ticket"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
AT_A_TIME = 64  # ids
MAX_TOKEN = 1024  # characters; longer ones are not looked at


class InvalidCredential(Exception):
    """The token is not one of ours: forged, cut, of another purpose or room, or signed by a key we no longer list."""


class ExpiredPass(InvalidCredential):
    """The pass is ours, and over. ``expired`` carries it, so that its ticket's fate can still be told."""

    def __init__(self, expired: "Pass") -> None:
        super().__init__("pass expired")
        self.expired = expired


class WeakKey(ValueError):
    """A signing key is not 32 random bytes."""


class Ticket(NamedTuple):
    """A place in line. Order is ``(epoch, number)``, lowest first. A tuple: in a storm one is made for everybody."""

    room: str
    epoch: int  # grows when the store lost its state
    number: int
    joined: int  # Unix time, milliseconds
    id: str  # 16 random bytes, base64url without padding


@dataclass(frozen=True, slots=True)
class Pass:
    """Permission to enter ``room`` until ``expires`` (Unix time, seconds). ``id`` is the id of the ticket it came from."""

    room: str
    id: str
    issued: float
    expires: float


@dataclass(frozen=True, slots=True)
class Key:
    """One signing secret. ``id`` goes into the pass as ``kid``."""

    id: str
    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES or len(set(self.secret)) < 12:
            raise WeakKey(f"key {self.id!r}: a signing key is {KEY_BYTES} random bytes; let `gate keys rotate` make one")

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose (HKDF-Expand with one block, RFC 5869 section 2.3)."""
        return hmac.digest(self.secret, b"floodgate/" + purpose.encode() + b"\x01", "sha256")


class Marks:
    """Text with a mark behind it, as itsdangerous writes it (HMAC-SHA256, "hmac" derivation), by ``keys``, the newest last.

    itsdangerous derives every key anew for every token: with 64 keys and a forged ticket, that is 0.2 ms.
    Ours are derived once, and it takes a third. Tests hold it to itsdangerous in both directions.
    """

    def __init__(self, keys: Sequence[bytes], salt: bytes) -> None:
        derived = [hmac.digest(key, salt, "sha256") for key in reversed(keys)]
        macs = [hmac.new(key, digestmod="sha256") for key in derived]  # a copy is cheaper than to begin with the key,
        self._macs = [getattr(mac, "_hmac", None) or mac for mac in macs]  # and without its wrapper in Python cheaper still

    def mark(self, text: bytes) -> bytes:
        mac = self._macs[0].copy()
        mac.update(text)
        return b"%b.%b" % (text, _base64url(mac.digest()))

    def read(self, token: str) -> Any:
        """What the text of ``token`` says. Raises :class:`InvalidCredential`."""
        try:
            text, _, mark = token.encode("ascii").rpartition(b".")
            told = urlsafe_b64decode(mark + b"=")
            if _base64url(told) == mark and any(_is_mark(told, mac.copy(), text) for mac in self._macs):
                return _PAYLOADS.load_payload(text)
        except (BadData, ValueError) as error:
            raise InvalidCredential("not of ours") from error
        raise InvalidCredential("not of ours")


_PAYLOADS = URLSafeSerializer("", serializer=json)  # it has no key: the mark has been verified then


def _is_mark(told: bytes, mac: "hmac.HMAC", text: bytes) -> bool:
    mac.update(text)
    return hmac.compare_digest(told, mac.digest())


class KeyRing:
    """The signing keys, oldest first. Immutable; a rotation makes a new ring.

    Raises :class:`ValueError` when empty.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        if not keys:
            raise ValueError("the key ring is empty")
        self.keys = keys
        self.newest = keys[-1]
        self.marks = cache(self._marks)
        self._tickets = self.marks("ticket", TICKET_SALT)
        self._passes = Signer({key.id: key.derive("pass") for key in keys})
        self._origin_mac = hmac.new(self.newest.derive("origin"), digestmod="sha256")

    def _marks(self, purpose: str, salt: bytes) -> Marks:
        """Those of one purpose; made once."""
        return Marks([key.derive(purpose) for key in self.keys], salt)

    # -- tickets

    def sign_ticket(self, ticket: Ticket) -> str:
        """The token that :meth:`read_ticket` reads."""
        return self.ticket_token(ticket).decode()

    def ticket_token(self, ticket: Ticket) -> bytes:
        """The same as bytes: what itsdangerous writes, in a tenth of its time.

        It would try whether zlib makes the payload shorter, too; random ids and numbers it never does.
        """
        room, epoch, number, joined, id_ = ticket
        payload = f"[{quoted(room)},{epoch},{number},{joined},{quoted(id_)}]"
        return self._tickets.mark(_base64url(payload.encode()))

    def read_ticket(self, token: str, room: str) -> Ticket:
        """The ticket in ``token``. Raises :class:`InvalidCredential`."""
        if len(token) > MAX_TOKEN:
            raise InvalidCredential("too long")
        try:
            found_room, epoch, number, joined, id_ = self._tickets.read(token)
        except (ValueError, TypeError) as error:
            raise InvalidCredential("not a ticket of ours") from error
        if found_room != room:
            raise InvalidCredential("a ticket for another room")
        return Ticket(room, int(epoch), int(number), int(joined), str(id_))

    # -- passes

    def sign_pass(self, granted: Pass) -> str:
        return self._passes.sign(
            {"aud": granted.room, "jti": granted.id, "iat": int(granted.issued), "exp": int(granted.expires)}
        )

    def read_pass(self, token: str, room: str, now: float) -> Pass:
        """The pass in ``token``. Raises :class:`ExpiredPass` or :class:`InvalidCredential`."""
        if len(token) > MAX_TOKEN:
            raise InvalidCredential("too long")
        try:
            claims = self._passes.read(token)
            found = Pass(str(claims["aud"]), str(claims["jti"]), float(claims["iat"]), float(claims["exp"]))
        except (NotOurs, ValueError, TypeError, KeyError) as error:
            raise InvalidCredential("not a pass of ours") from error
        if found.room != room:
            raise InvalidCredential("a pass for another room")
        if found.expires <= now:
            raise ExpiredPass(found)
        return found

    # -- what the origin gets

    def sign_visitor(self, room: str, visitor: str, now: float) -> str:
        """The ``Gate-Signature`` header: ``t=<unix seconds>; v1=<hex>`` over ``room|visitor|t``.

        The origin checks it with the key named ``origin`` in ``gate keys show --purpose origin``.
        """
        stamp = str(int(now))
        mac = self._origin_mac.copy()
        mac.update(f"{room}|{visitor}|{stamp}".encode())
        return f"t={stamp}; v1={mac.hexdigest()}"


def new_id(random_bytes: Callable[[int], bytes]) -> str:
    """16 random bytes as 22 base64url characters."""
    return _base64url(random_bytes(16)).decode()


class Ids:
    """One id after the other, of random bytes that are fetched for many at a time: a system call for each costs more than the
    rest. For one process: its fork would give out the same."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._made: list[str] = []

    def __call__(self) -> str:
        if not self._made:
            block = self._random_bytes(16 * AT_A_TIME)
            self._made = [_base64url(block[at : at + 16]).decode() for at in range(0, len(block), 16)]
        return self._made.pop()


def _base64url(data: bytes) -> bytes:
    """Without padding (RFC 4648 section 5), in two thirds of the time that :mod:`base64` takes."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=")
