"""Headers in which somebody says who the visitor is or what was asked for: who may send which.

An origin that believes one of these believes whoever sent it. From an untrusted peer all of them go. A CDN preset keeps what
that CDN sets, and X-Forwarded-*; plain trusted networks keep all, because the config vouches for what they pass on.
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
_CHAIN = (b"x-forwarded-", b"forwarded")


def is_claim(name: bytes) -> bool:
    """Does this (lower-case) header say who the visitor is, or what was asked for before us?"""
    return name in _NAMES or name.startswith(_PREFIXES)


def without_claims(headers: Headers, teller: Teller | None) -> Headers:
    """``headers`` without those that the peer may not send. ``teller`` is None for an untrusted peer."""
    if teller is not None and teller.preset is None:
        return headers
    kept = () if teller is None else (*_CHAIN, *teller.family)
    if not any(is_claim(name) and not (kept and name.startswith(kept)) for name, _ in headers):
        return headers
    return tuple((name, value) for name, value in headers if not is_claim(name) or (kept and name.startswith(kept)))
