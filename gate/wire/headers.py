"""Which header fields cross the gate, and what it adds: pure functions over ``(name, value)`` tuples, names in lower case.

Framing (Content-Length, Transfer-Encoding) never crosses: both sides are framed anew from the bytes seen.
Hop-by-hop fields go, and what Connection names (RFC 9110 section 7.6.1), before ours are added, so that
``Connection: Gate-Visitor`` removes nothing of ours.
"""

import re
from ipaddress import IPv6Address

from gate.core.answer import Fields
from gate.core.cookies import without_our_cookies
from gate.core.facts import PSEUDONYM
from gate.core.identity import QUESTION, is_claim
from gate.core.visit import Address, Headers, Visit

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Say that another method or path is meant than the one that was decided on.
OVERRIDES = QUESTION | frozenset(
    (
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-override-url",
        b"x-rewrite-url",
    )
)
# Rebuilt by us, answered by us, or poison ("Proxy" becomes HTTP_PROXY in CGI-like environments).
_REPLACED = frozenset(
    (
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"proxy",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    )
)
# Connection cannot name these away: they are end-to-end, whatever the sender says.
_KEPT = frozenset((b"authorization", b"cache-control", b"cookie", b"content-type", b"content-encoding", b"date", b"set-cookie"))
CACHE_FIELDS = frozenset((b"age", b"cache-control", b"cdn-cache-control", b"expires", b"pragma", b"surrogate-control"))


def named_by_connection(headers: Headers) -> frozenset[bytes]:
    """The fields that Connection declares hop-by-hop."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return frozenset(token for token in named if token not in _KEPT and not is_claim(token))


def for_origin(visit: Visit, added: Fields = ()) -> Headers:
    """The fields of the forwarded request, without framing. ``added`` are the engine's ``Gate-*``."""
    drop = HOP_BY_HOP | OVERRIDES | _REPLACED | named_by_connection(visit.headers)
    kept: list[tuple[bytes, bytes]] = [(b"host", visit.host.encode())]
    for name, value in visit.headers:
        if name in drop or name.startswith(b"gate-"):
            continue
        if name == b"cookie":
            rest = without_our_cookies(value)
            if rest:
                kept.append((name, rest))
            continue
        kept.append((name, value))
    kept += _forwarded(visit)
    kept.append((b"via", b"1.1 " + PSEUDONYM))
    return (*kept, *added)


def _forwarded(visit: Visit) -> list[tuple[bytes, bytes]]:
    """Where the request came from, with nothing that the visitor itself claimed in the list.

    The host is the one that was decided on: most edges pass on a visitor's own X-Forwarded-Host.
    """
    host = visit.host.encode()
    fields = [(b"x-forwarded-proto", visit.scheme.encode()), (b"x-forwarded-host", host)]
    chain = [visit.address, *visit.hops] if visit.address is not None else list(visit.hops)
    if chain:
        fields.insert(0, (b"x-forwarded-for", b", ".join(str(address).encode() for address in chain)))
        elements = [b"for=" + _node(address) for address in chain]
        elements[0] += b";host=" + _quoted(host) + b";proto=" + visit.scheme.encode()
        fields.append((b"forwarded", b", ".join(elements)))
    return fields


def _node(address: Address) -> bytes:
    return f'"[{address}]"'.encode() if isinstance(address, IPv6Address) else str(address).encode()


def _quoted(text: bytes) -> bytes:
    return text if re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text) else b'"' + re.sub(rb'["\\]', b"", text) + b'"'
