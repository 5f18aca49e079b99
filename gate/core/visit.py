"""The facts of one request, as the wire read them: everything :func:`gate.core.decide.decide` may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from gate.core.credentials import Pass, Ticket
from gate.core.path import Path

Address = IPv4Address | IPv6Address
Headers = tuple[tuple[bytes, bytes], ...]
Form = Literal["html", "json"]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request. ``headers`` keep order and duplicates; names are lower case, values as received."""

    method: str
    scheme: Literal["http", "https"]  # as the visitor sees it, by a trusted edge's word
    host: str  # lower case, with port if the visitor sent one
    path: Path
    query: bytes  # without "?"; b"" when there is none
    headers: Headers
    address: Address | None  # None when the peer is a unix socket and no trusted edge named the visitor
    accepts: Form = "html"  # negotiated from Accept
    languages: tuple[str, ...] = ()  # best first, from Accept-Language
    tickets: Mapping[str, Ticket] = field(default_factory=dict)  # by room; verified
    passes: Mapping[str, Pass] = field(default_factory=dict)  # by room; verified, not expired
    edge: bool = False  # the peer is an edge whose word is trusted
    asks: bool = False  # the peer may ask about requests (`edge.ask`); only ever true on that endpoint
    hops: tuple[Address, ...] = ()  # the trusted edges it came through, the visitor's side first

    def header(self, name: bytes) -> bytes | None:
        """The value of the first header of this (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None
