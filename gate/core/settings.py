"""The model of ``gate.yaml``: names, types, defaults and what each setting means.

The object that validation returns is the object the gate runs on; the descriptions are the reference documentation and
the JSON Schema. Reading files and reporting positions is :mod:`gate.config`'s business.
"""

from ipaddress import ip_network
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, model_validator
from pydantic.json_schema import SkipJsonSchema

from gate.core.notation import (
    EDGE_PRESETS,
    Cidr,
    Duration,
    FieldName,
    File,
    GroupName,
    Host,
    Instant,
    Listen,
    Match,
    Matches,
    Network,
    Positive,
    Rate,
    RoomName,
    Server,
    Share,
    Size,
    Store,
    Trusted,
    check_client,
    check_closed,
    check_colour,
    check_grace,
    check_language,
    check_session,
    check_url_path,
    checked,
    mask_values,
    parse_duration,
    parse_rate,
    text_schema,
)
from gate.core.path import MAX_TARGET
from gate.core.words import Order, RouteClass

__all__ = ["EDGE_PRESETS", "Network", "parse_duration", "parse_rate"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)


# --------------------------------------------------------------------------- sections


class Operator(Model):
    """The operators' side: console, API and metrics. Never on the visitors' listener."""

    listen: Listen = "127.0.0.1:8081"
    """Address and port of the console, the API and `/metrics`."""


class Visitors(Model):
    """What a visitor's connection may cost: sizes, and how long we wait for slow ones."""

    head: Duration = 10.0
    """How long a request head may take to arrive, from its first byte; and with `tls`, how long to agree on it before."""
    keep_alive: Duration = 15.0
    """How long a connection stays open between two requests."""
    body_rate: Size = 500
    """Bytes per second a request body must come at, measured over ten seconds; eight times as many while connections to the
    origin are short."""
    stall: Duration = 30.0
    """A visitor who takes nothing of the answer for so long is cut off."""
    max_head: Size = 16 << 10
    """The largest request head; larger ones get 431."""
    max_fields: Positive = 100
    """The most header fields of a request."""
    max_target: Size = Field(8 << 10, le=MAX_TARGET)
    """The longest request target; longer ones get 414."""
    connections: Positive = 20_000
    """The most connections per worker, fewer where its limit of open files is low; further ones get 503. A WebSocket counts
    as two. The kernel shares new ones unevenly among workers: leave room."""


class Tls(Model):
    """HTTPS on the visitors' side, where no edge in front does it."""

    certificate: File
    """The certificate with its chain, PEM."""
    key: File
    """Its private key, PEM."""


class Timeouts(Model):
    """How long the origin may take."""

    connect: Duration = 1.0
    """How long an origin server may take to accept a connection."""
    first_byte: Duration = 15.0
    """How long it may take from the end of the request to the first byte of its answer."""
    idle: Duration = 30.0
    """How long it may be silent in the middle of an answer."""
    tunnel: Duration = 600.0
    """A WebSocket, or another upgraded connection, over which nothing comes from either side for so long is ended."""


class Health(Model):
    """Checks that tell whether the shop is up."""

    path: Annotated[str, checked(check_url_path), text_schema("^/", "/healthz")] = "/healthz"
    """What to ask; any 2xx or 3xx answer means the server is well."""
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

    servers: Annotated[list[Server], Field(min_length=1)] = ["http://127.0.0.1:9000"]
    """One or more servers; requests go to the least busy of two picked at random."""
    timeouts: Timeouts = Timeouts()
    health: Health | None = Health()
    """`null` switches the active checks off."""
    connections: Positive = 256
    """At most this many connections to each server, per worker."""
    tunnels: Positive = 5_000
    """At most this many WebSockets and other upgraded connections, per worker, besides `connections`; further ones get 503."""


class Edge(Model):
    """What stands in front of the gate, and may be believed."""

    trust: list[Trusted] = []
    """Networks (`10.0.0.0/8`) and presets (`cloudflare`, `fastly`, `cloudfront`, `akamai`): who may name the visitor."""
    header: str | None = None
    """Header in which the networks name the visitor; default `X-Forwarded-For`, from the right. Presets know their own."""
    keep: list[FieldName] = []
    """Further headers about the visitor that the networks themselves set on every request, for the shop: `X-Forwarded-Port`."""
    ask: list[Cidr] = []
    """Edges, by address or network, that may ask about requests (forward-auth). Each must be in a network of `trust`."""
    polls: Positive = 5000
    """Looks a second at a room's status document that may reach the gate (docs/visitor-api.md). A cache takes any."""

    @model_validator(mode="after")
    def _trusts_who_asks(self) -> Self:
        trusted = [ip_network(text) for text in self.trust if text not in EDGE_PRESETS]
        for asking in self.ask:
            if not any(asking.version == network.version and asking.subnet_of(network) for network in trusted):
                raise ValueError(f"{asking} is in `ask` and in no network of `trust`; whoever asks is believed: add it there")
        return self


class Bypass(Model):
    """Who passes a room without a pass. All conditions given must hold; each use is counted apart."""

    address: Cidr | None = None
    """The visitor's address or network."""
    path: Match | None = None
    """A path, or method and path, that needs no pass."""
    header: Annotated[dict[str, str] | None, PlainSerializer(mask_values, when_used="json")] = None
    """Header names and the exact values they must have (compared in constant time)."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.address is None and self.path is None and not self.header:
            raise ValueError("an empty bypass rule would let everybody in; give an address, a path or a header")
        return self


class Group(Model):
    """Visitors with an invitation (`gate invite`): a line of their own beside the common one."""

    share: Share
    """The part of the rate that is theirs while others wait too; what they do not use goes to the others."""


def burst_for(rate: Any) -> int:
    """The burst of a room that names none: what comes at ``rate`` in a quarter of a second, at least 1.

    A smaller bucket is full before the next in line can come, and loses what runs over (docs/admission.md has the figures).
    """
    return max(1, int(rate.amount / rate.get_expiry() / 4))


class Room(Model):
    """A waiting room: the routes it guards, how many may enter per minute, how many may be inside."""

    name: SkipJsonSchema[str] = Field("", exclude=True)
    """Filled from the key."""
    match: Matches
    """Paths it guards: `/checkout/**`, `POST /cart/add`."""
    rate: Rate
    """New visitors per time: `120/minute`."""
    burst: Positive = Field(default_factory=lambda given: burst_for(given["rate"]))
    """How many may enter at once after a quiet time; by default a quarter of a second of the rate, at least 1."""
    active: Positive | None = None
    """At most this many visitors inside at once."""
    session: Annotated[Duration, AfterValidator(check_session)] = 600.0
    """A pass lives this long after its last use."""
    order: Order = Order.FIFO
    """`fifo`: first come, first served. `random`: who comes before `opens` is drawn then; later ones stand behind."""
    opens: Instant | None = None
    """Nobody enters before; who comes earlier has a place and sees a countdown. An instant, or a local time with its zone."""
    closes: Instant | None = None
    """From then on nobody new enters, and the page says that the sale is over."""
    maximum: Positive | None = None
    """The longest line; then a page says that it is full. Wants a `limits` entry by address here: one client could fill it."""
    grace: Annotated[Duration, AfterValidator(check_grace)] = 3600.0
    """Who was called and did not come in this time stands at the end of the line again; until then the next token is theirs."""
    groups: dict[GroupName, Group] = {}
    """Priority groups by name, the first one first; their shares together are at most 90%."""
    status: Literal[200, 202, 429, 503] = 503
    """Status of the waiting page."""
    shadow: bool = False
    """Decide and count, but let everybody through."""
    message: str = Field("", max_length=500)
    """A word to everybody in line; the operator can change it live."""
    bypass: list[Bypass] = []
    """Who may pass without a pass."""


class WithoutStore(Model):
    """Who enters while the store is away. Passes in hand go on in any case, and tickets are given."""

    closed: Annotated[Duration, AfterValidator(check_closed)] = 30.0
    """For so long nobody new, at least 5s: most outages are shorter."""
    then: Literal["local", "closed"] = "local"
    """`local`: each worker lets its part of 80 % of the rate in, in order as far as it knows it. `closed`: still nobody."""
    gates: Positive = 1
    """How many gates share the store: each takes its part of the rate."""


class Limit(Model):
    """At most `rate` requests per client on these paths."""

    match: Matches
    """Paths: `/search`, `POST /api/**`; one, or a list."""
    rate: Rate
    """Requests per time: `20/minute`."""
    by: Annotated[str, checked(check_client), text_schema(r"^(address|pass|header:[A-Za-z0-9-]+)$", "address")] = "address"
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
    """Status of the answer."""
    json_: Any = Field(None, alias="json")
    """A JSON body, as YAML."""
    html: str | None = None
    """An HTML fragment."""
    text: str | None = None
    """Plain text."""
    file: File | None = None
    """A file, sent as it is; relative to the config file."""
    headers: dict[str, str] = {}
    """More header fields for the answer."""

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

    match: Matches
    """Paths: `/search`, `POST /api/**`; one, or a list."""
    class_: RouteClass = Field(RouteClass.NORMAL, alias="class")
    """How much it matters: `critical` is never shed, `sheddable` goes first. What a room guards is critical by default."""
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

    page: File | None = None
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
    """The shop's name, in titles and headings."""
    logo: File | None = None
    """SVG or PNG, at most 6 KiB: it is embedded in the page."""
    colour: Annotated[str, checked(check_colour), text_schema("^#[0-9a-fA-F]{6}$", "#0b57d0")] = "#0b57d0"
    """Accent colour, under white text; `gate check` warns when that is hard to read."""
    message: str = ""
    """A sentence under the heading of the waiting page."""
    languages: Annotated[list[Annotated[str, AfterValidator(check_language)]], Field(min_length=1)] = ["en", "de", "ar"]
    """What the pages may be shown in; the first is the default."""


class Log(Model):
    """What the gate writes about itself, as JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    access: Literal["off", "sampled", "full"] = "off"
    """One JSON line per request."""
    sample: float = Field(0.01, gt=0, le=1)
    """Share of requests logged when sampled."""


class Settings(Model):
    """The whole of ``gate.yaml``."""

    listen: Listen = "127.0.0.1:8080"
    """Address and port of the visitors' side."""
    tls: Tls | None = None
    """Certificate and key; without them the visitors' side speaks http."""
    workers: Positive = 2
    """Processes that serve visitors."""
    operator: Operator = Operator()
    store: Store = "embedded"
    """`embedded` runs a private Valkey; several gates share `redis://`, `rediss://` or `unix://`."""
    store_password: SecretStr | None = None
    """Better from the environment (`GATE_STORE_PASSWORD`) or a secret file than from here."""
    without_store: WithoutStore = WithoutStore()
    state: File = Field(FilePath("~/.local/state/floodgate"), validate_default=True)
    """Directory for the key ring, e-mails and operator credentials; 0700."""
    visitors: Visitors = Visitors()
    hosts: list[Host] = []
    """The shop's host names; others get 421. Empty accepts every well-formed one."""
    origin: Origin = Origin()
    edge: Edge = Edge()
    rooms: dict[RoomName, Room] = {}
    """Waiting rooms by name; the first that matches a request guards it."""
    limits: list[Limit] = []
    """Per-client limits; all that match apply."""
    routes: list[Route] = []
    """Treatment of paths; the first that matches a request applies."""
    shedding: Shed = Shed()
    fallback: Fallback = Fallback()
    brand: Brand = Brand()
    log: Log = Log()

    @model_validator(mode="after")
    def _name_rooms(self) -> Self:
        for name, room in self.rooms.items():
            object.__setattr__(room, "name", name)
        return self
