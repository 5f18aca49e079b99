"""Headers in which somebody says who the visitor is or what was asked for: who may send which.

An origin that believes one of these believes whoever sent it, and every edge passes on the ones it does not know. So from an
untrusted peer all of them go; a CDN preset keeps what that CDN sets; plain trusted networks keep what the config names
(``edge.header``, ``edge.keep``), and the question that they may ask (:mod:`gate.web.authorize`). Where the visitor came from
is told anew (:mod:`gate.wire.headers`): X-Forwarded-For, -Proto, -Host and Forwarded.
"""

from gate.core.address import Teller
from gate.core.visit import Headers

# Names beginning so, and these names, carry an address, scheme, host or client fact.
_PREFIXES = (
    b"x-forwarded-",
    b"cf-",
    b"fastly-",
    b"cloudfront-",
    b"x-akamai-",
    b"akamai-",
    b"x-envoy-",
    b"x-azure-",
    b"x-vercel-",
)
_NAMES = frozenset(
    (
        b"client-ip",
        b"do-connecting-ip",
        b"fly-client-ip",
        b"forwarded",
        b"forwarded-for",
        b"front-end-https",
        b"proxy-client-ip",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"x-appengine-user-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-country-code",
        b"x-forwarded",
        b"x-geo-country",
        b"x-host",
        b"x-http-host-override",
        b"x-nf-client-connection-ip",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-original-method",
        b"x-original-uri",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-real-ip",
        b"x-real-port",
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-remote-user",
        b"remote-user",
        b"x-scheme",
        b"x-ssl-client-cert",
        b"x-ssl-client-verify",
        b"x-url-scheme",
    )
)
# How edges name the request they ask about; never for the origin.
QUESTION = frozenset((b"x-original-uri", b"x-original-method", b"x-forwarded-uri", b"x-forwarded-method"))


def is_claim(name: bytes) -> bool:
    """Does this (lower-case) header say who the visitor is, or what was asked for before us?"""
    return name in _NAMES or name.startswith(_PREFIXES)


def without_claims(headers: Headers, teller: Teller | None) -> Headers:
    """``headers`` without those that the peer may not send. ``teller`` is None for an untrusted peer."""
    keeps: frozenset[bytes] = frozenset()
    family: tuple[bytes, ...] = ()
    if teller is not None:
        keeps, family = teller.keeps, teller.family
        if teller.preset is None:
            keeps |= QUESTION

    def may(name: bytes) -> bool:
        return not is_claim(name) or name in keeps or name.startswith(family)

    if all(may(name) for name, _ in headers):
        return headers
    return tuple((name, value) for name, value in headers if may(name))
