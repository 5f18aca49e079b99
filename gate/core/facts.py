"""Reading a request: the strict part. What comes out is unambiguous, or it does not come out.

The parser below us has split the bytes; here everything that two programs could read differently is refused
(RFC 9112 sections 3.2, 6.1 and 6.3), and what only a trusted edge may say is stripped from everybody else.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gate.core import negotiate
from gate.core.address import Trust, visitor_address
from gate.core.answer import Fields
from gate.core.cookies import Kind, cookie_name
from gate.core.credentials import InvalidCredential, KeyRing, Pass, Ticket
from gate.core.identity import without_claims
from gate.core.path import MalformedTarget, canonical, split
from gate.core.settings import Settings, Visitors
from gate.core.visit import Headers, Visit
from gate.core.words import Reason

PSEUDONYM = b"floodgate"  # ours in Via (RFC 9110 section 7.6.3)
QUESTIONS = b"/__gate/authorize"  # where edges ask (:mod:`gate.web.authorize`)
MAX_PASSAGES = 3  # a request that came through a gate this often runs in a circle
_MOST_TOKENS = 4  # copies of one credential that are looked at


@dataclass
class Refusal(Exception):
    """A request that is not served. ``headers`` belong to the answer; ``detail`` is a sentence without the visitor's bytes."""

    status: int
    reason: Reason
    detail: str
    headers: Fields = ()

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"


_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_NAME = re.compile(rb"[0-9a-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_HOST = re.compile(rb"(?:[0-9a-z](?:[0-9a-z._-]{0,253})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_ALLOW = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
PROBES = (b"/__gate/live", b"/__gate/ready")  # health checks ask by address, not by a name of the shop
_REFUSED_METHODS = ("CONNECT", "TRACE", "TRACK")


def read_visit(
    method: bytes | str,
    target: bytes,
    headers: Headers,
    peer: str | None,
    tls: bool,
    *,
    settings: Settings,
    trust: Trust,
    keyring: KeyRing,
    now: float,
) -> Visit:
    """The facts of one request. ``headers`` have lower-case names. Raises :class:`Refusal`."""
    method = method if isinstance(method, str) else method.decode("latin-1")
    if not _METHOD.fullmatch(method):
        raise Refusal(400, Reason.MALFORMED, "the method is not a token")
    if method.upper() in _REFUSED_METHODS:
        raise Refusal(
            405,
            Reason.METHOD,
            f"{method.upper()} is not served here",
            ((b"allow", _ALLOW),),
        )
    _check_fields(headers, settings.visitors)
    _check_framing(headers)
    host = _host(headers)
    if len(target) > settings.visitors.max_target:
        raise Refusal(414, Reason.TOO_LARGE, f"the request target is longer than {settings.visitors.max_target} bytes")
    try:
        authority, origin_form = split(target)
        path, query = canonical(origin_form)
    except MalformedTarget as error:
        raise Refusal(400, Reason.MALFORMED, str(error)) from error
    if authority is not None and authority.lower() != host:
        raise Refusal(400, Reason.MALFORMED, "the request target and Host name different hosts")
    if path.raw not in PROBES or method not in ("GET", "HEAD"):
        _check_allowed(host, settings.hosts)

    whence = visitor_address(peer, headers, trust)
    scheme = whence.scheme or ("https" if tls else "http")
    headers = without_claims(headers, whence.teller)
    cookies = _cookies(headers)
    rooms = tuple(settings.rooms)
    secure = scheme == "https"

    def read_pass(token: str, room: str) -> Pass:
        return keyring.read_pass(token, room, now)

    return Visit(
        method=method,
        scheme=scheme,
        host=host.decode(),
        path=path,
        query=query,
        headers=headers,
        address=whence.address,
        accepts=negotiate.form(headers),
        languages=negotiate.languages(headers),
        tickets=Carried(
            rooms, "ticket", headers=headers, cookies=cookies, secure=secure, read=keyring.read_ticket, better=_same_ticket
        ),
        passes=Carried(rooms, "pass", headers=headers, cookies=cookies, secure=secure, read=read_pass, better=_later_pass),
        edge=whence.teller is not None,
        asks=path.raw.startswith(QUESTIONS) and trust.may_ask(peer),
        hops=whence.hops,
    )


# --------------------------------------------------------------------------- checks


def _check_fields(headers: Headers, limits: Visitors) -> None:
    if len(headers) > limits.max_fields:
        raise Refusal(431, Reason.TOO_LARGE, f"more than {limits.max_fields} header fields")
    if sum(len(name) + len(value) for name, value in headers) > limits.max_head:
        raise Refusal(431, Reason.TOO_LARGE, f"header fields of more than {limits.max_head} bytes")
    passages = 0
    for name, value in headers:
        # "_" and "." become "-" in CGI-like environments: X_Real_IP would pass for X-Real-IP behind our back.
        if not _NAME.fullmatch(name):
            raise Refusal(400, Reason.MALFORMED, "a header name holds something else than letters, digits and -")
        if not _VALUE.fullmatch(value):
            raise Refusal(400, Reason.MALFORMED, "a header value holds a control character")
        if name == b"expect" and value.strip().lower() != b"100-continue":
            raise Refusal(417, Reason.MALFORMED, "the only expectation that can be met is 100-continue")
        if name == b"via":
            passages += value.lower().count(b" " + PSEUDONYM)
    if passages > MAX_PASSAGES:
        raise Refusal(508, Reason.MALFORMED, "the request runs in a circle: the origin's address leads back to the gate")


def _check_framing(headers: Headers) -> None:
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if lengths and codings:
        raise Refusal(400, Reason.MALFORMED, "both Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise Refusal(400, Reason.MALFORMED, "Content-Length is not one decimal number")
    if len(codings) > 1 or (codings and codings[0].strip().lower() != b"chunked"):
        raise Refusal(400, Reason.MALFORMED, "Transfer-Encoding is not chunked, and only chunked")


def _host(headers: Headers) -> bytes:
    hosts = [value.strip().lower() for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]) or b".." in hosts[0]:
        raise Refusal(400, Reason.MALFORMED, "Host is not one host name")
    return hosts[0]


def _check_allowed(host: bytes, allowed: list[str]) -> None:
    if not allowed:
        return
    text = host.decode()
    name = re.sub(r":\d+$", "", text).rstrip(".")
    if not any(entry.lower() in (name, text) for entry in allowed):
        raise Refusal(421, Reason.HOST, "not a host name of this shop")


# --------------------------------------------------------------------------- credentials

T = TypeVar("T")


class Carried(Mapping[str, T]):
    """The verified credentials of one kind, by room; a signature is checked when it is first asked for.

    A credential comes in the header ``Gate-Ticket`` or ``Gate-Pass``, or in a cookie. By https a sibling domain, or anybody on
    an unencrypted network, can plant a cookie without ``__Host-``: a pass of that name counts for nothing, for it would make
    its holder and the visitor one; a ticket counts after the prefixed one, so that a place taken before the edge said https is
    kept. Of several in one place, forged ones count for nothing; two good ones that differ count as none.
    """

    __slots__ = ("_better", "_cookies", "_found", "_headers", "_kind", "_read", "_rooms", "_secure")

    def __init__(
        self,
        rooms: tuple[str, ...],
        kind: Kind,
        *,
        headers: Headers,
        cookies: Mapping[str, list[str]],
        secure: bool,
        read: Callable[[str, str], T],
        better: Callable[[T, T], T | None],
    ) -> None:
        self._rooms = rooms
        self._kind: Kind = kind
        self._headers = [value.decode("latin-1").strip() for name, value in headers if name == b"gate-" + kind.encode()]
        self._cookies = cookies
        self._secure = secure
        self._read = read
        self._better = better
        self._found: dict[str, T | None] = {}

    def _find(self, room: str) -> T | None:
        if room not in self._found:
            self._found[room] = self._look(room) if room in self._rooms else None
        return self._found[room]

    def _look(self, room: str) -> T | None:
        prefixed, bare = (self._cookies.get(cookie_name(self._kind, room, secure=secure), []) for secure in (True, False))
        places = [self._headers, prefixed] if self._secure else [self._headers, bare, prefixed]
        if self._secure and self._kind == "ticket":
            places.append(bare)
        for tokens in places:
            found = self._one(tokens, room)
            if found is not None:
                return found
        return None

    def _one(self, tokens: list[str], room: str) -> T | None:
        best: T | None = None
        for token in list(dict.fromkeys(tokens))[:_MOST_TOKENS]:
            try:
                found = self._read(token, room)
            except InvalidCredential:
                continue
            if best is None:
                best = found
                continue
            best = self._better(best, found)
            if best is None:
                return None
        return best

    def __getitem__(self, room: str) -> T:
        found = self._find(room)
        if found is None:
            raise KeyError(room)
        return found

    def __iter__(self) -> Iterator[str]:
        return (room for room in self._rooms if self._find(room) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def _same_ticket(one: Ticket, other: Ticket) -> Ticket | None:
    return one if one == other else None


def _later_pass(one: Pass, other: Pass) -> Pass | None:
    """A renewed pass keeps its id; the longer-lived copy counts."""
    if one.id != other.id:
        return None
    return one if one.expires >= other.expires else other


def _cookies(headers: Headers) -> Mapping[str, list[str]]:
    """The gate's own cookies, by name, every value of each."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name != b"cookie" or b"gate_" not in value:
            continue
        for pair in value.decode("latin-1").split(";"):
            key, sign, token = pair.strip().partition("=")
            if sign and key.removeprefix("__Host-").startswith(("gate_ticket_", "gate_pass_")):
                found.setdefault(key, []).append(token.strip('"'))
    return found
