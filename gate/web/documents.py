"""How the gate's answers are written: cache fields, JSON, problem documents, text for HTML."""

import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from gate.core.answer import Answer, Fields
from gate.core.words import Reason

# No cache on the way may keep what was made for one visitor (RFC 9111), whatever CDNs do with errors by default.
PRIVATE: Fields = (
    (b"cache-control", b"no-store, private"),
    (b"cdn-cache-control", b"no-store"),
    (b"surrogate-control", b"no-store"),
    (b"vary", b"Cookie, Accept, Accept-Language"),
    (b"x-robots-tag", b"noindex"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
JSON: Fields = ((b"content-type", b"application/json"),)


def text(value: str) -> bytes:
    """Safe between tags and in double-quoted attributes."""
    return escape(value).encode()


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def whole(seconds: float) -> int:
    """As ``Retry-After`` says them (RFC 9110 section 10.2.3), never 0."""
    return max(1, math.ceil(seconds))


def retry_field(seconds: float) -> tuple[bytes, bytes]:
    """``Retry-After``."""
    return b"retry-after", b"%d" % whole(seconds)


def problem(
    status: int,
    detail: str,
    *,
    retry_after: float | None = None,
    reason: Reason | None = None,
    more: Mapping[str, Any] | None = None,
    fields: Iterable[tuple[bytes, bytes]] = (),
) -> Answer:
    """RFC 9457. Without a ``type`` the title is the status's own phrase. ``retry_after`` in seconds."""
    document: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, **(more or {}), "detail": detail}
    if reason is not None:
        document["reason"] = reason.value
    headers: Fields = (*PRIVATE, *fields, (b"content-type", b"application/problem+json"))
    if retry_after is not None:
        document["retry_after"] = retry_after
        headers = (*headers, retry_field(retry_after))
    return Answer(status, headers, to_json(document))
