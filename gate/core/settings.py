"""The model of ``gate.yaml``: names, types, defaults and what each setting means.

The object that validation returns is the object the gate runs on; the descriptions are the reference documentation and
the JSON Schema. Reading files and reporting positions is :mod:`gate.config`'s business.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self

from limits import RateLimitItem
from limits import parse as parse_limit
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    model_validator,
)

from gate.core.pattern import Pattern
from gate.core.words import Order, RouteClass

Network = IPv4Network | IPv6Network

# --------------------------------------------------------------------------- scalar notations

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: Any) -> float:
    """``500ms``, ``15s``, ``10m``, ``2h``, ``1d`` → seconds. Raises :class:`ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"a duration needs a unit: write {value}s, {value}m or {value}ms")
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and ms, s, m, h or d, like 30s or 10m")
    return float(match[1]) * _UNITS[match[2]]


def parse_rate(value: Any) -> RateLimitItem:
    """``120/minute``, ``5 per second``, ``100/10 minutes`` in the notation of the limits package."""
    if isinstance(value, RateLimitItem):
        return value
    try:
        return parse_limit(str(value))
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not a rate; write a whole number per unit, like 120/minute, 5/second or 1000/hour"
        ) from error


def _parse_size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB)", str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size; write bytes or a number with KiB, MiB or GiB, like 10MiB")
    return int(match[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[match[2]]


def _parse_network(value: Any) -> Network:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not an address or network; write 203.0.113.7 or 10.0.0.0/8 ({error})") from error


def _parse_pattern(value: Any) -> Pattern:
    return value if isinstance(value, Pattern) else Pattern.parse(str(value))


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _schema(kind: str, pattern: str | None, examples: list[str]) -> Any:
    extra: dict[str, Any] = {"examples": examples}
    if pattern:
        extra["pattern"] = pattern
    return Field(json_schema_extra=extra, description=kind)


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str)]
Size = Annotated[int, BeforeValidator(_parse_size, json_schema_input_type=int | str)]
Rate = Annotated[Any, BeforeValidator(parse_rate, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Cidr = Annotated[Any, BeforeValidator(_parse_network, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Match = Annotated[Any, BeforeValidator(_parse_pattern, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
Matches = Annotated[list[Match], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Positive = Annotated[int, Field(gt=0)]


def _check_listen(value: str) -> str:
    host, sep, port = value.rpartition(":")
    if not sep or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError(f"{value!r} is not an address and port; write 127.0.0.1:8080, 0.0.0.0:80 or [::]:8080")
    return value


Listen = Annotated[str, AfterValidator(_check_listen)]


def _check_server(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
        raise ValueError(f"{value!r} is not an origin server; write http://127.0.0.1:9000 or https://shop.internal, no path")
    return value.rstrip("/")


def _check_store(value: str) -> str:
    if value != "embedded" and not re.match(r"(rediss?|unix|redis\+sentinel|redis\+cluster)://", value):
        raise ValueError(f"{value!r} is not a store; write embedded, redis://host:6379/0, rediss://…, or unix:///path.sock")
    return value


def _check_room_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", value):
        raise ValueError(f"{value!r} is not a room name; use lower-case letters, digits and -, at most 32, letter first")
    return value


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)


# --------------------------------------------------------------------------- sections


class Operator(Model):
    """The operators' side: console, API and metrics. Never on the visitors' listener."""

    listen: Listen = "127.0.0.1:8081"
    """Address and port of the console, the API and `/metrics`."""


class Timeouts(Model):
    connect: Duration = 1.0
    """How long an origin server may take to accept a connection."""
    first_byte: Duration = 15.0
    """How long it may take from the end of the request to the first byte of its answer."""
    idle: Duration = 30.0
    """How long it may be silent in the middle of an answer."""


class Health(Model):
    path: str = Field("/healthz", pattern=r"^/")
    """What to ask; any 2xx or 3xx answer counts as well."""
    every: Duration = 2.0
    """Time between two checks."""
    timeout: Duration = 1.0
    """A check that takes longer has failed."""
    fall: Positive = 3
    """This many failures in a row, and the static page is served."""
    rise: Positive = 2
    """This many good checks in a row, and the shop is back."""
    passive: bool = True
    """Count failing real requests too: connection errors and time-outs, not 5xx answers."""


class Origin(Model):
    """The shop that is protected."""

    servers: list[Annotated[str, AfterValidator(_check_server)]] = Field(["http://127.0.0.1:9000"], min_length=1)
    """One or more servers; requests go to the least busy of two picked at random."""
    timeouts: Timeouts = Timeouts()
    health: Health | None = Health()
    """`null` switches the active checks off."""
    connections: Positive = 256
    """At most this many connections to each server, per worker."""


class Edge(Model):
    """What stands in front of the gate, and may be believed."""

    trust: list[str] = []
    """Networks (`10.0.0.0/8`) and presets (`cloudflare`, `fastly`, `cloudfront`, `akamai`): who may name the visitor."""
    header: str | None = None
    """Header in which the networks name the visitor; default `X-Forwarded-For`, from the right. Presets know their own."""


class Bypass(Model):
    """Who passes a room without a pass. All conditions given must hold; each use is counted apart."""

    address: Cidr | None = None
    path: Match | None = None
    header: dict[str, str] | None = None
    """Header names and the exact values they must have (compared in constant time)."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.address is None and self.path is None and not self.header:
            raise ValueError("an empty bypass rule would let everybody in; give an address, a path or a header")
        return self


class Room(Model):
    """A waiting room: the routes it guards, how many may enter per minute, how many may be inside."""

    name: str = ""
    """Filled from the key."""
    match: Matches = Field(min_length=1)
    """Paths it guards: `/checkout/**`, `POST /cart/add`."""
    rate: Rate
    """New visitors per time: `120/minute`."""
    burst: Positive = 1
    """How many may enter at once after a quiet time."""
    active: Positive | None = None
    """At most this many visitors inside at once."""
    session: Duration = Field(600.0, ge=10.0)
    """A pass lives this long after its last use."""
    order: Order = Order.FIFO
    """`fifo`, or `random`: those who came before `opens` are drawn, the rest stand behind."""
    status: Literal[200, 202, 429, 503] = 503
    """Status of the waiting page."""
    shadow: bool = False
    """Decide and count, but let everybody through."""
    message: str = Field("", max_length=500)
    """A word to everybody in line; the operator can change it live."""
    bypass: list[Bypass] = []
    """Who may pass without a pass."""


class Limit(Model):
    """At most `rate` requests per client on these paths."""

    match: Matches = Field(min_length=1)
    rate: Rate
    by: str = Field("address", pattern=r"^(address|pass|header:[A-Za-z0-9-]+)$")
    """Who a client is: `address` (/64 for IPv6), `pass`, or `header:Name`."""

    @property
    def name(self) -> str:
        return f"{self.by} {self.rate} {' '.join(str(m) for m in self.match)}"


class Breaker(Model):
    """When to stop calling a failing route."""

    failures: Positive = 3
    """This many failures …"""
    within: Duration = 60.0
    """… in this time open it."""
    open: Duration = 30.0
    """For this long; then one request is let through to probe."""


class Canned(Model):
    """What to answer instead of the origin. Give one of json, html, text and file, or only a status."""

    status: int = Field(200, ge=200, le=599)
    json_: Any = Field(None, alias="json")
    """A JSON body, as YAML."""
    html: str | None = None
    """An HTML fragment."""
    text: str | None = None
    file: FilePath | None = None
    """A file, sent as it is; relative to the config file."""
    headers: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in ("json_", "html", "text", "file") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one body, not {' and '.join(g.rstrip('_') for g in given)}")
        if given and self.status in (204, 304):
            raise ValueError(f"status {self.status} cannot have a body; leave it out or use 200")
        return self


class Route(Model):
    """How requests on these paths are treated."""

    match: Matches = Field(min_length=1)
    class_: RouteClass = Field(RouteClass.NORMAL, alias="class")
    breaker: Breaker | None = None
    """`{}` takes the defaults: 3 failures in 60 s open it for 30 s."""
    fallback: Canned | None = None
    """Served when the route is shed, its breaker is open, or the origin fails on it."""
    body: Size = 10 << 20
    """The largest request body accepted."""
    first_byte: Duration | None = None
    """Instead of `origin.timeouts.first_byte`."""

    @property
    def name(self) -> str:
        return " ".join(str(m) for m in self.match)


class Shed(Model):
    """When the gate itself sees overload (shedding mode `auto`)."""

    in_flight: Positive = 200
    """More requests than this at the origin, per worker, and sheddable routes are shed; twice as many, normal ones too."""
    latency: Duration = 2.0
    """The 90th percentile of the origin's first-byte time beyond which sheddable routes are shed; twice it, normal ones too."""


class Fallback(Model):
    """The static page served while the shop is down or the operator says so."""

    page: FilePath | None = None
    """Your own HTML page; relative to the config file. Without it, the gate's, with the brand below."""
    phone: str = ""
    """A number for urgent orders."""
    message: str = ""
    """Instead of the built-in sentence about high demand."""
    emails: bool = True
    """Offer to write when the shop is back."""
    retry_after: Duration = 30.0
    """What the page and `Retry-After` say."""


class Brand(Model):
    """How the gate's pages look."""

    name: str = "Our shop"
    logo: FilePath | None = None
    """SVG or PNG, at most 6 KiB: it is embedded in the page."""
    colour: str = Field("#0b57d0", pattern=r"^#[0-9a-fA-F]{6}$")
    """Accent colour; its contrast is checked."""
    message: str = ""
    """A sentence under the heading of the waiting page."""
    languages: list[str] = ["en", "de", "ar"]
    """What the pages may be shown in; the first is the default."""


class Log(Model):
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["off", "sampled", "full"] = "off"
    """One JSON line per request."""
    sample: float = Field(0.01, gt=0, le=1)
    """Share of requests logged when sampled."""


class Settings(Model):
    """The whole of ``gate.yaml``."""

    listen: Listen = "127.0.0.1:8080"
    """Address and port of the visitors' side."""
    workers: Positive = 2
    """Processes that serve visitors."""
    operator: Operator = Operator()
    store: Annotated[str, AfterValidator(_check_store)] = "embedded"
    """`embedded` runs a private Valkey; several gates share `redis://`, `rediss://` or `unix://`."""
    store_password: SecretStr | None = None
    """Better from the environment (`GATE_STORE_PASSWORD`) or a secret file than from here."""
    state: FilePath = FilePath("~/.local/state/floodgate")
    """Directory for the key ring, e-mails and operator credentials; 0700."""
    hosts: list[str] = []
    """The shop's host names; others get 421. Empty accepts every well-formed one."""
    origin: Origin = Origin()
    edge: Edge = Edge()
    rooms: dict[Annotated[str, AfterValidator(_check_room_name)], Room] = {}
    limits: list[Limit] = []
    routes: list[Route] = []
    shedding: Shed = Shed()
    fallback: Fallback = Fallback()
    brand: Brand = Brand()
    log: Log = Log()

    @model_validator(mode="after")
    def _name_rooms(self) -> Self:
        for name, room in self.rooms.items():
            object.__setattr__(room, "name", name)
        return self
