"""Presets for the CDNs in front of the gate: whose word is trusted, and in which header it comes.

One dated file per CDN in ``data/`` holds the networks it published, with their source. ``gate edge refresh`` renews them
into the state directory, whose copy is used when it is there and readable.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from gate.core.address import Preset, Trust
from gate.core.settings import Edge

Network = IPv4Network | IPv6Network
MIN_PREFIX = {4: 8, 6: 16}  # no CDN connects from a wider network than these


class BadList(ValueError):
    """A list of networks that must not be trusted. Says which entry, and why."""


@dataclass(frozen=True, slots=True)
class Cdn:
    """What does not change with the networks. ``urls`` is where the CDN publishes at least ``least`` of them."""

    name: str
    header: bytes
    overwrites: bool
    family: tuple[bytes, ...]
    urls: tuple[str, ...]
    least: int
    note: str


CDNS = {
    cdn.name: cdn
    for cdn in (
        Cdn(
            "cloudflare",
            b"cf-connecting-ip",
            True,
            (b"cf-",),
            ("https://www.cloudflare.com/ips-v4", "https://www.cloudflare.com/ips-v6"),
            10,
            "replaces CF-Connecting-IP on every request",
        ),
        Cdn(
            "fastly",
            b"fastly-client-ip",
            False,
            (b"fastly-",),
            ("https://api.fastly.com/public-ip-list",),
            8,
            "a visitor can send Fastly-Client-IP itself unless VCL resets it (`set req.http.Fastly-Client-IP = client.ip;`)",
        ),
        Cdn(
            "cloudfront",
            b"cloudfront-viewer-address",
            False,
            (b"cloudfront-",),
            ("https://ip-ranges.amazonaws.com/ip-ranges.json",),
            50,
            "CloudFront-Viewer-Address (address:port) is sent only if the origin request policy names it",
        ),
        Cdn(
            "akamai",
            b"true-client-ip",
            False,
            (b"true-client-ip", b"akamai-", b"x-akamai-"),
            (),
            4,
            "True-Client-IP is Akamai's only if the behaviour is on and clients may not set it; "
            "Akamai gives its networks (Site Shield, Origin IP ACL) to customers and publishes no list",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class NetworkList:
    """One data file. ``source`` is the CDN's own address, ``copy`` where the stored text was taken from."""

    name: str
    dated: str
    source: str
    copy: str
    networks: tuple[Network, ...]

    @classmethod
    def from_json(cls, data: Any) -> "NetworkList":
        """Raises :class:`BadList`."""
        try:
            return cls(data["name"], data["date"], data["source"], data.get("copy", ""), networks(data["ranges"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadList(f"not a list of networks: {error!r}") from error

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "source": self.source,
            "copy": self.copy,
            "date": self.dated,
            "ranges": [str(network) for network in self.networks],
        }


def networks(texts: list[str]) -> tuple[Network, ...]:
    """Parse and check. Raises :class:`BadList` for what no CDN would publish: anything private, special or too wide."""
    found = []
    for text in texts:
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            raise BadList(f"{text!r} is not a network") from error
        if network.prefixlen < MIN_PREFIX[network.version]:
            raise BadList(f"{text} is too wide to be the network of one CDN")
        if not network.is_global or network.is_multicast:
            raise BadList(f"{text} is not a public network")
        found.append(network)
    return tuple(sorted(set(found), key=lambda net: (net.version, int(net.network_address), net.prefixlen)))


def shipped(name: str) -> NetworkList:
    """The list that came with the gate; empty for a CDN that publishes none."""
    return NetworkList.from_json(json.loads(files(__package__).joinpath("data", f"{name}.json").read_text()))


def refreshed_path(state: Path, name: str) -> Path:
    return state.expanduser() / "edges" / f"{name}.json"


def known(name: str, state: Path | None) -> NetworkList:
    """The list in force: the refreshed one if it is newer, else the shipped one. A broken file in the state is ignored."""
    came = shipped(name)
    if state is None:
        return came
    try:
        renewed = NetworkList.from_json(json.loads(refreshed_path(state, name).read_text()))
    except (OSError, ValueError):
        return came
    return renewed if renewed.networks and renewed.dated >= came.dated else came


def presets(state: Path | None = None) -> dict[str, Preset]:
    """All presets with the networks in force. ``state`` is the gate's state directory."""
    found = {}
    for cdn in CDNS.values():
        current = known(cdn.name, state)
        advice = f"run `gate edge refresh {cdn.name}`, or write" if cdn.urls else "write"
        found[cdn.name] = Preset(
            cdn.name,
            cdn.header,
            cdn.overwrites,
            cdn.family,
            current.networks,
            current.dated,
            f"{advice} the networks it connects from instead",
        )
    return found


def trust_for(edge: Edge, state: Path | None = None) -> Trust:
    """Whom ``settings.edge`` trusts. Raises :class:`~gate.core.address.UnknownEdge` with what to write instead."""
    return Trust.of(edge, presets(state))
