"""Who the visitor is: the address and scheme, by the word of edges that the config trusts and of nobody else.

Headers that name an address are worth exactly as much as the peer that sent them. From an untrusted peer they are ignored
(and stripped, :mod:`gate.wire.headers`). From a trusted one, the list in X-Forwarded-For is walked from the right past
trusted hops; the first address that is not one of ours is the visitor.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple

from gate.core.settings import Edge
from gate.core.visit import Address, Headers

Network = IPv4Network | IPv6Network
_MOST_HOPS = 32


class UnknownEdge(ValueError):
    """``edge.trust`` names no network and no preset, or a preset whose networks are not known. Says what to do."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What a CDN publishes: in which header it names the visitor, and from which networks it connects.

    ``overwrites``: it replaces what a visitor sends under that name, so the header counts before X-Forwarded-For. Where it
    does not (or only when configured to), the header counts only if there is no X-Forwarded-For, to which every one of
    these CDNs appends.
    """

    name: str
    header: bytes
    overwrites: bool
    family: tuple[bytes, ...]  # prefixes of the headers that this CDN sets
    networks: tuple[Network, ...]
    dated: str = ""  # ISO date of the list of networks
    advice: str = ""  # what to do when there are none


@dataclass(frozen=True, slots=True)
class Teller:
    """Somebody who may name the visitor. ``preset`` is None for plain networks of the config.

    What it says about the visitor goes to the shop where the header is in ``keeps`` or begins as in ``family``.
    """

    header: bytes
    overwrites: bool
    preset: str | None = None
    family: tuple[bytes, ...] = ()
    keeps: frozenset[bytes] = frozenset()


class Whence(NamedTuple):
    """``teller`` is the trusted peer, None for any other. ``hops`` are the trusted edges that a request came through, from
    the visitor's side; the last one is the peer."""

    address: Address | None
    scheme: Literal["http", "https"] | None  # None when no trusted edge said
    teller: Teller | None = None
    hops: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Trust:
    """The trusted networks, by version and prefix length: one look-up per length, however many networks."""

    tables: Mapping[int, Mapping[int, Mapping[int, Teller]]] = field(default_factory=dict)
    asking: tuple[Network, ...] = ()  # of whom (`edge.ask`)

    @classmethod
    def of(cls, edge: Edge, presets: Mapping[str, Preset]) -> "Trust":
        """Raises :class:`UnknownEdge`."""
        header = (edge.header or "X-Forwarded-For").lower().encode()
        keeps = frozenset((header, *(name.lower().encode() for name in edge.keep)))
        plain = Teller(header, overwrites=edge.header is not None, keeps=keeps)
        entries: list[tuple[Network, Teller]] = []
        for text in edge.trust:
            preset = presets.get(text)
            if preset is not None:
                if not preset.networks:
                    raise UnknownEdge(f"{text!r}: no list of its networks comes with the gate; {preset.advice}")
                teller = Teller(preset.header, preset.overwrites, preset.name, preset.family)
                entries += [(network, teller) for network in preset.networks]
            else:
                entries.append((parse_network(text, presets), plain))
        return cls(_tables(entries), tuple(edge.ask))

    def teller(self, address: Address) -> Teller | None:
        """The most exact trusted network that holds ``address``."""
        number, width = int(address), address.max_prefixlen
        for length, networks in self.tables.get(address.version, {}).items():
            found = networks.get(number >> (width - length))
            if found is not None:
                return found
        return None

    def may_ask(self, peer: str | None) -> bool:
        """Is the socket's address ``peer`` an edge that may ask about requests?"""
        if not self.asking or peer is None:
            return False
        address = parse_address(peer)
        return address is not None and self.teller(address) is not None and any(address in network for network in self.asking)


def parse_network(text: str, presets: Iterable[str] = ()) -> Network:
    """A network of ``edge.trust``. Raises :class:`UnknownEdge`."""
    try:
        network = ip_network(text)
    except ValueError as error:
        known = ", ".join(sorted(presets))
        raise UnknownEdge(f"{text!r} is no network and no preset; write 10.0.0.0/8 or one of {known} ({error})") from error
    if network.prefixlen == 0:
        raise UnknownEdge(f"{text!r} trusts everybody's word; write the networks of your edge")
    return network


def _tables(entries: list[tuple[Network, Teller]]) -> Mapping[int, Mapping[int, Mapping[int, Teller]]]:
    tables: dict[int, dict[int, dict[int, Teller]]] = {4: {}, 6: {}}
    for network, teller in entries:
        key = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        tables[network.version].setdefault(network.prefixlen, {}).setdefault(key, teller)
    return {version: dict(sorted(table.items(), reverse=True)) for version, table in tables.items()}


# --------------------------------------------------------------------------- reading


def visitor_address(peer: str | None, headers: Headers, trust: Trust) -> Whence:
    """Where the request came from. ``peer`` is the socket's address, None on a unix socket."""
    direct = parse_address(peer) if peer is not None else None
    teller = trust.teller(direct) if direct is not None else None
    if direct is None or teller is None:
        return Whence(direct, None)
    named, hops = _named(teller, headers, trust)
    if named is None:  # the edge named nobody that can be read: it is all we know
        return Whence(direct, _scheme(headers), teller)
    return Whence(named, _scheme(headers), teller, (*hops, direct))


def _named(teller: Teller, headers: Headers, trust: Trust) -> tuple[Address | None, tuple[Address, ...]]:
    if teller.header not in (b"x-forwarded-for", b"forwarded"):
        alone = [value for name, value in headers if name == teller.header]
        listed = any(name == b"x-forwarded-for" for name, _ in headers)
        if len(alone) == 1 and (teller.overwrites or not listed):
            address = parse_address(alone[0].decode("latin-1"))
            if address is not None:
                return address, ()
        if not listed or teller.preset is None:
            return None, ()  # the config names one header: another that the edge may pass on unchecked is not taken
    elements = _forwarded(headers) if teller.header == b"forwarded" else _listed(headers)
    hops: tuple[Address, ...] = ()
    for text in list(reversed(elements))[:_MOST_HOPS]:
        address = parse_address(text)
        if address is None:
            break  # "unknown", an obfuscated name, garbage: nothing left of it can be vouched for
        if trust.teller(address) is None:
            return address, hops
        hops = (address, *hops)
    return (hops[0], hops[1:]) if hops else (None, ())


def _listed(headers: Headers) -> list[str]:
    text = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    return text.split(",") if text.strip() else []


_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]*)\s*(?=;|$)', re.IGNORECASE)


def _forwarded(headers: Headers) -> list[str]:
    """The ``for`` of each element of Forwarded (RFC 7239 section 4); "" where one has none."""
    text = b",".join(value for name, value in headers if name == b"forwarded").decode("latin-1")
    found = []
    for element in text.split(","):  # addresses hold no comma; a quoted one elsewhere only yields an unreadable element
        match = _FOR.search(element)
        found.append(match[1].strip('"') if match else "")
    return found if text.strip() else []


_LONGEST = 64  # characters; an IPv6 address in brackets with a port has 47
_PORT = re.compile(r":\d{1,5}")
_BRACKETED = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d{1,5})?")


def parse_address(text: str) -> Address | None:
    """``203.0.113.7``, ``203.0.113.7:443``, ``2001:db8::1``, ``[2001:db8::1]:443``; None for all else.

    CloudFront writes ``2001:db8:0:0:0:0:0:1:443``, eight groups and a port. An IPv4-mapped IPv6 address becomes IPv4.
    """
    text = text.strip()
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        text = bracketed[1]
    elif text.count(":") == 1 or (text.count(":") == 8 and "::" not in text):
        text, _, port = text.rpartition(":")
        if not _PORT.fullmatch(":" + port):
            return None
    if not text or "%" in text or "/" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _scheme(headers: Headers) -> Literal["http", "https"] | None:
    """The last word of the nearest edge: X-Forwarded-Proto, else CloudFront's name for it, else Forwarded's ``proto``."""
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"x-forwarded-proto", b"cloudfront-forwarded-proto", b"forwarded"):
            said[name] = value
    for name in (b"x-forwarded-proto", b"cloudfront-forwarded-proto", b"forwarded"):
        last = said.get(name, b"").rpartition(b",")[2].strip().lower()
        if name == b"forwarded":
            match = re.search(rb'(?:^|;)\s*proto\s*=\s*"?([a-z]+)"?', last)
            last = match[1] if match else b""
        if last in (b"https", b"wss"):
            return "https"
        if last in (b"http", b"ws"):
            return "http"
    return None
