"""Logs: one JSON object per line on stderr, and one place through which everything goes that must not be in them.

Never in a log: credentials, cookies, tickets, passes, e-mail addresses, a visitor's whole address. Control characters and
everything beyond ASCII are escaped, so that a visitor cannot forge a line or colour a terminal.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gate.core.decision import Decision
from gate.core.settings import Log
from gate.core.visit import Address, Visit

GONE = "[redacted]"
LONGEST = 4096  # characters of one value; tracebacks four times that
DEEPEST = 6  # levels of nesting that are shown

_SECRET_NAMES = re.compile(
    r"(proxy-)?authorization|(set-)?cookie2?|gate-(ticket|pass|signature)|(gate[_-]?)?(ticket|pass|token)|token_hash"
    r"|password|passwd|secret|api[_-]?key|x-api-key|store_password|e?-?mail",
    re.IGNORECASE,
)
_SERVERS = frozenset({"server", "servers", "origin", "listen", "store", "url"})  # ours, not a visitor's: shown whole

_EMAIL = re.compile(
    r"[a-z0-9._%+'&~!#$*/=?^`{|}-]{1,64}(?:@|%40)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+", re.IGNORECASE
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # "Cookie: a=b; c=d" and the like in a sentence: everything to the end of the line
    (
        re.compile(
            r"\b((?:proxy-)?authorization|(?:set-)?cookie|gate-(?:ticket|pass|signature))(['\"]?\s*[:=,]\s*b?['\"]?)[^\r\n]*",
            re.IGNORECASE,
        ),
        rf"\1\2{GONE}",
    ),
    (re.compile(r"\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {GONE}"),
    # our cookies by name, with or without a prefix
    (re.compile(r"(gate_(?:ticket|pass|operator)[a-z0-9_-]*)(\s*(?:=|%3D)\s*)[^\s;&,'\"]+", re.IGNORECASE), rf"\1\2{GONE}"),
    # ?ticket=…, &pass=…, password=…
    (
        re.compile(
            r"(?:\b|(?<=%[0-9a-f]{2}))((?:gate[_-])?(?:ticket|pass|token|password|passwd|secret|api[_-]?key|access_token|e?-?mail))"
            r"(['\"]?\s*(?:=|%3D)\s*)[^\s;&#'\"]+",
            re.IGNORECASE,
        ),
        rf"\1\2{GONE}",
    ),
    # credentials in a URL: redis://user:word@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE), rf"\1{GONE}@"),
    # a JWS wherever it stands: the head always begins with {" in base64url
    (re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), GONE),
    # a ticket wherever it stands: base64url of [" (or its compressed form), a dot, 43 characters of HMAC-SHA256
    (re.compile(r"(?<![A-Za-z0-9_-])\.?[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), GONE),
    # operators' tokens
    (re.compile(r"\bgate_op_[A-Za-z0-9_-]{8,}"), GONE),
)
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}"
    r"|(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{3,39}(?:\d{1,3}(?:\.\d{1,3}){3})?)(?![\w.])"
)


def redact_text(text: str, *, addresses: bool = True, longest: int = LONGEST) -> str:
    """The text without what must not be logged. Public addresses are cut to their network; ours are left."""
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(GONE, text)
    return _ADDRESS.sub(_cut, text) if addresses else text


def _cut(match: re.Match[str]) -> str:
    try:
        address = ip_address(match[0])
    except ValueError:
        return match[0]
    return shorten(address) if address.is_global else match[0]


def shorten(address: Address) -> str:
    """A visitor's address as it may be logged: the /24 of an IPv4, the /48 of an IPv6."""
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """Any value that may come into a log line, by what it says and by the ``name`` it goes by."""
    if name and _SECRET_NAMES.fullmatch(name):
        return GONE
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("latin-1")
    if isinstance(value, str):
        return redact_text(value, addresses=name not in _SERVERS, longest=LONGEST * 4 if name == "exception" else LONGEST)
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {redact_text(_text(key)): redact(item, _text(key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        if len(items) == 2 and isinstance(items[0], (str, bytes)) and _SECRET_NAMES.fullmatch(_text(items[0])):
            return [_text(items[0]), GONE]  # one header field
        return [redact(item, name, depth + 1) for item in items]
    return redact_text(str(value), addresses=name not in _SERVERS)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def redactor(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The structlog processor; the last one before the line is written."""
    return {_text(key): redact(value, _text(key)) for key, value in event.items()}


def _component(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**event, "component": event["_record"].name}


def _to_json(event: Any, **_: Any) -> str:
    return json.dumps(event, separators=(",", ":"), default=str)


def configure(settings: Log, stream: TextIO | None = None) -> None:
    """Sends structlog and the standard ``logging`` (uvicorn, aiohttp, asyncio, warnings) through the same processors."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    last: list[Processor] = [structlog.processors.format_exc_info, redactor, structlog.processors.JSONRenderer(_to_json)]
    structlog.configure(
        processors=[*common, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=stream is None,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[*common, _component],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    for name in ("uvicorn.error", "watchfiles"):  # they tell of their own comings and goings; the supervisor tells ours
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger: an event name and fields, ``get("gate.app").info("ready", workers=2)``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


class AccessLog:
    """One line per request: off, a sample, or all. ``draw`` gives numbers in [0, 1)."""

    def __init__(self, settings: Log, draw: Callable[[], float], write: Callable[..., Any] | None = None) -> None:
        self.share = {"off": 0.0, "sampled": settings.sample, "full": 1.0}[settings.access]
        self._draw = draw
        self._write = write or get("gate.access").info

    def wants(self) -> bool:
        """Is the request that begins now to be written down?"""
        return self.share >= 1.0 or (self.share > 0.0 and self._draw() < self.share)

    def __call__(self, visit: Visit, decision: Decision, status: int, seconds: float, *, sent: int = 0) -> None:
        """``seconds`` from the head of the request to the end of the answer; ``sent``: bytes of body. The query is left out."""
        self._write(
            "request",
            method=visit.method,
            host=visit.host,
            path=visit.path.raw,
            status=status,
            outcome=decision.outcome.value,
            reason=decision.reason.value,
            room=decision.room,
            ms=round(seconds * 1000, 1),
            sent=sent,
            address=None if visit.address is None else shorten(visit.address),
        )
