"""The notations of single values in ``gate.yaml``: durations, rates, sizes, addresses, patterns, names.

Each is a type of its own: how it is read, how it is written again, and what the JSON Schema says of it. Whoever writes
one wrongly is told what to write instead.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path as FilePath
from typing import Annotated, Any

from limits import RateLimitItem
from limits import parse as parse_limit
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from gate.core.instants import format_instant, parse_instant
from gate.core.pattern import Pattern
from gate.core.store_url import mask_url, read_store_url

Network = IPv4Network | IPv6Network

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _single(value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise ValueError(f"a {'list' if isinstance(value, list) else 'section with settings'} stands where one value belongs")
    return str(value).strip()


def parse_duration(value: Any) -> float:
    """``500ms``, ``15s``, ``10m``, ``2h``, ``1d`` → seconds. Raises :class:`ValueError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"a duration needs a unit: write {value}s, {value}m or {value}ms")
    match = _DURATION.fullmatch(_single(value))
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and ms, s, m, h or d, like 30s or 10m")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds == 0:
        raise ValueError(f"{value!r} is no time at all; write a duration above zero, like 500ms")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest notation that :func:`parse_duration` reads as the same time: ``600.0`` → ``10m``."""
    milliseconds = round(seconds * 1000)
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if milliseconds % round(_UNITS[unit] * 1000) == 0)
    return f"{milliseconds // round(_UNITS[unit] * 1000)}{unit}"


def parse_rate(value: Any) -> RateLimitItem:
    """``120/minute``, ``5 per second``, ``100/10 minutes`` in the notation of the limits package."""
    if isinstance(value, RateLimitItem):
        return value
    text = _single(value)
    try:
        rate = parse_limit(text)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a rate; {_rate_advice(text)}") from error
    if rate.amount == 0:
        raise ValueError(f"{value!r} would let nobody in, ever; to stop a room for a while use `gate room NAME hold`")
    return rate


def format_rate(rate: RateLimitItem) -> str:
    """``120/minute``, ``100/10 minutes``: what :func:`parse_rate` reads as the same rate."""
    unit = rate.GRANULARITY.name
    return f"{rate.amount}/{unit}" if rate.multiples == 1 else f"{rate.amount}/{rate.multiples} {unit}s"


_SHORT_UNITS = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour", "d": "day"}


def _rate_advice(text: str) -> str:
    short = re.fullmatch(r"(\d+)\s*(?:/|per)\s*([a-z]+?)s?", text)
    if short and short[2] in _SHORT_UNITS:
        return f"write {short[1]}/{_SHORT_UNITS[short[2]]}"
    if text.isdigit():
        return f"write the time it is for too, like {text}/minute"
    part = re.fullmatch(r"0?\.(\d+)\s*/\s*(second|minute|hour)", text)
    if part:
        longer = {"second": "minute", "minute": "hour", "hour": "day"}[part[2]]
        times = 24 if longer == "day" else 60
        amount = float(f"0.{part[1]}") * times
        if amount >= 1 and amount == int(amount):
            return f"write {int(amount)}/{longer}"
    return "write a whole number per unit, like 120/minute, 5/second or 1000/hour"


def _parse_size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB)", _single(value))
    if match is None:
        raise ValueError(f"{value!r} is not a size; write bytes or a number with KiB, MiB or GiB, like 10MiB")
    return int(match[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[match[2]]


def _parse_network(value: Any) -> Network:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    text = _single(value)
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            wide = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{value!r} is not an address or network; write 203.0.113.7 or 10.0.0.0/8") from error
        raise ValueError(f"{value!r} has bits set behind its prefix; write {wide}, or the address alone") from error


def _parse_pattern(value: Any) -> Pattern:
    return value if isinstance(value, Pattern) else Pattern.parse(_single(value))


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def format_size(size: int) -> str | int:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def text_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


def checked(check: Callable[[str], str]) -> BeforeValidator:
    """``check`` for a notation that YAML may read as a number, which gets the same advice as a wrong text."""
    return BeforeValidator(lambda value: check(str(value)) if isinstance(value, (str, int, float)) else value)


_MATCH_SCHEMA = {"type": "string", "pattern": r"^([A-Z]{3,10} +)?/", "examples": ["/checkout/**", "POST /cart/add"]}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    text_schema(r"^\d+(\.\d+)?(ms|s|m|h|d)$", "500ms", "30s", "10m"),
]
Size = Annotated[
    int,
    BeforeValidator(_parse_size),
    PlainSerializer(format_size, return_type=str | int, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\d+\s*(B|KiB|MiB|GiB)$", "examples": ["64KiB", "10MiB"]}),
]
Rate = Annotated[
    Any,
    BeforeValidator(parse_rate),
    PlainSerializer(format_rate, return_type=str),
    text_schema(
        r"^\d+\s*(/|per)\s*(\d+\s*)?(second|minute|hour|day|month|year)s?$", "120/minute", "5/second", "100/10 minutes"
    ),
]
Cidr = Annotated[
    Any,
    BeforeValidator(_parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"]}),
]
Match = Annotated[Any, BeforeValidator(_parse_pattern), PlainSerializer(str, return_type=str), WithJsonSchema(_MATCH_SCHEMA)]
Matches = Annotated[
    list[Match],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_MATCH_SCHEMA, {"type": "array", "items": _MATCH_SCHEMA, "minItems": 1}]}),
]
Positive = Annotated[int, Field(gt=0)]
Instant = Annotated[
    float,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    text_schema(
        r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?\s*(Z|[+-]\d{2}:\d{2}|\s[A-Za-z_/+-]+\d*)$",
        *("2026-11-27T11:00:00Z", "2026-11-27 12:00 Europe/Berlin"),
    ),
]


def _parse_share(value: Any) -> float:
    found = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)\s*%", _single(value))
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{value!r} is not a share; write a percentage above 0% and below 100%, like 30%")
    return float(found[1]) / 100


Share = Annotated[
    float,
    BeforeValidator(_parse_share),
    PlainSerializer(lambda share: f"{share * 100:g}%", return_type=str, when_used="json"),
    text_schema(r"^\d{1,2}(\.\d+)?\s*%$", "30%"),
]


def _resolve_file(value: FilePath, info: ValidationInfo) -> FilePath:
    """Absolute, when the loader says from where: ``context={"base": folder of the config file, "home": …}``."""
    if not info.context:
        return value
    if value.parts and value.parts[0] == "~":
        return FilePath(info.context["home"], *value.parts[1:])
    return FilePath(info.context["base"]) / value


File = Annotated[FilePath, AfterValidator(_resolve_file)]


def _check_listen(value: str) -> str:
    host, sep, port = value.rpartition(":")
    if value.isdigit():
        raise ValueError(
            f"{value!r} is a port without an address; write 127.0.0.1:{value}, or 0.0.0.0:{value} for every address"
        )
    if not sep or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address and port; write 127.0.0.1:8080, 0.0.0.0:80 or [::]:8080")
    if not host:
        raise ValueError(f"{value!r} has no address; write 127.0.0.1:{port}, or 0.0.0.0:{port} for every address")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{value!r}: an IPv6 address stands in brackets; write [{host}]:{port}")
    return value


Listen = Annotated[str, checked(_check_listen), text_schema(r"^.+:\d{1,5}$", "127.0.0.1:8080", "[::]:8080")]


def _check_server(value: str) -> str:
    if re.fullmatch(r"https?://[^/?#@\s]+/?", value):
        return value.rstrip("/")
    advice = "write http://127.0.0.1:9000 or https://shop.internal"
    if re.fullmatch(r"[\w.-]+(:\d+)?/?", value):
        advice = f"write http://{value.rstrip('/')}"
    elif "@" in value and value.startswith("http"):
        advice = "user names and passwords are not supported here; write " + re.sub(r"//[^/]*@", "//", value)
    elif found := re.match(r"(https?://[^/?#@\s]+)[/?#]", value):
        advice = f"it has a path, but the visitor's path is always sent as it is; write {found[1]}"
    raise ValueError(f"{mask_url(value)!r} is not an origin server; {advice}")


Server = Annotated[str, checked(_check_server), text_schema(r"^https?://[^/?#@\s]+/?$", "http://127.0.0.1:9000")]


def _check_store(value: str) -> str:
    if value != "embedded" and not re.match(r"(rediss?|unix|redis\+sentinel|redis\+cluster)://", value):
        advice = "write embedded, redis://host:6379/0, rediss://…, or unix:///path.sock"
        if re.fullmatch(r"[\w.-]+:\d+(/\d+)?", value):
            advice = f"write redis://{value}"
        elif value.startswith("valkey"):
            advice = f"the schemes are Redis's; write redis{mask_url(value).removeprefix('valkey')}"
        raise ValueError(f"{mask_url(value)!r} is not a store; {advice}")
    if value != "embedded":
        read_store_url(value)
    return value


Store = Annotated[
    str,
    checked(_check_store),
    PlainSerializer(mask_url, return_type=str, when_used="json"),
    text_schema(r"^(embedded$|(rediss?|unix|redis\+sentinel|redis\+cluster)://)", "embedded", "redis://127.0.0.1:6379/0"),
]

EDGE_PRESETS = ("akamai", "cloudflare", "cloudfront", "fastly")
"""Edges whose networks and header the gate knows (:mod:`gate.edges`)."""


def _check_trust(value: str) -> str:
    if value in EDGE_PRESETS:
        return value
    if re.match(r"[0-9a-fA-F]*[.:]", value):
        return str(_parse_network(value))
    close = get_close_matches(value.lower(), EDGE_PRESETS, n=1)
    advice = f"did you mean {close[0]}?" if close else f"the presets are {', '.join(EDGE_PRESETS)}; a network is 10.0.0.0/8"
    raise ValueError(f"{value!r} is not an edge preset or network; {advice}")


Trusted = Annotated[str, checked(_check_trust), WithJsonSchema({"type": "string", "examples": ["cloudflare", "10.0.0.0/8"]})]


def _check_host(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?", value.lower()):
        bare = re.sub(r"^\w+://", "", value).split("/")[0]
        advice = (
            f"write {bare}" if bare != value and re.fullmatch(r"[\w.:-]+", bare) else "write shop.example or shop.example:8080"
        )
        raise ValueError(f"{value!r} is not a host name; {advice}")
    return value.lower()


Host = Annotated[str, checked(_check_host), text_schema(r"^[^/\s]+$", "shop.example")]


def _check_field_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ValueError(f"{value!r} is not the name of a header; write letters, digits and -, like X-Forwarded-Port")
    return value


FieldName = Annotated[str, checked(_check_field_name), text_schema(r"^[A-Za-z0-9-]+$", "X-Forwarded-Port")]


def _check_room_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", value):
        better = re.sub(r"[^a-z0-9-]+", "-", value.lower()).strip("-")[:32]
        write = f"; write {better}" if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", better) else ""
        raise ValueError(f"{value!r} is not a room name (lower-case letters, digits and -, a letter first, at most 32){write}")
    return value


def _check_group_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", value):
        raise ValueError(f"{value!r} is not a group's name; write lower-case letters, digits and -, a letter first, at most 16")
    return value


GroupName = Annotated[str, AfterValidator(_check_group_name), text_schema(r"^[a-z][a-z0-9-]{0,15}$", "members")]
RoomName = Annotated[str, AfterValidator(_check_room_name), text_schema(r"^[a-z][a-z0-9-]{0,31}$", "checkout")]


def check_session(seconds: float) -> float:
    if seconds < 10:
        raise ValueError(f"{format_duration(seconds)} is too short for a visitor to do anything; write 10s or more, better 10m")
    if seconds > 30 * 86400:
        raise ValueError(f"{format_duration(seconds)} is longer than the key that signs a pass is kept; write 30d or less")
    return seconds


def check_grace(seconds: float) -> float:
    if not 60 <= seconds <= 86400:
        raise ValueError(f"{format_duration(seconds)} is not a time to wait for a called visitor; write 1m to 24h")
    return seconds


def check_closed(seconds: float) -> float:
    if seconds < 5:
        raise ValueError(
            f"{format_duration(seconds)} may be a worker that stood still, and no outage; write 5s or more, better 30s"
        )
    return seconds


def check_client(value: str) -> str:
    if not re.fullmatch(r"address|pass|header:[A-Za-z0-9-]+", value):
        words = {"ip": "address", "addr": "address", "client": "address", "cookie": "pass", "session": "pass", "user": "pass"}
        close = words.get(value.lower()) or next(iter(get_close_matches(value, ["address", "pass"], n=1)), None)
        advice = f"did you mean {close}?" if close else "write address, pass, or header:Name"
        raise ValueError(f"{value!r} is not a way to know a client; {advice}")
    return value


def check_url_path(value: str) -> str:
    if not value.startswith("/") or re.search(r"\s", value):
        raise ValueError(f"{value!r} is not a path; it starts with / and has no spaces, like /healthz")
    return value


def check_colour(value: str) -> str:
    if re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return value
    short = re.fullmatch(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])", value)
    if short:
        raise ValueError(f"{value!r} is too short; write #{short[1] * 2}{short[2] * 2}{short[3] * 2}, with quotes")
    raise ValueError(f'{value!r} is not a colour; write it as six hex digits in quotes, like "#0b57d0"')


def check_language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        raise ValueError(f"{value!r} is not a language tag; write en, de or pt-BR")
    return value


def mask_values(headers: dict[str, str] | None) -> dict[str, str] | None:
    return headers and dict.fromkeys(headers, "***")
