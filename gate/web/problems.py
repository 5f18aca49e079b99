"""Bodies that are read with a limit, and errors as problem documents (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gate.private import NotKept

BODY_LIMIT = 64 << 10  # bytes
Kind = TypeVar("Kind", bound=BaseModel)


class Problem(HTTPException):
    """An error as a problem document (RFC 9457)."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(status, detail, headers)
        self.more = more


async def read_bytes(request: Request) -> bytes:
    """The whole body. Raises :class:`Problem` when it is longer than :data:`BODY_LIMIT`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Problem(413, f"The body is longer than {BODY_LIMIT} bytes.")
    return bytes(body)


async def read_body(request: Request, kind: type[Kind]) -> Kind:
    """The JSON body as ``kind``. Raises :class:`Problem` and :class:`pydantic.ValidationError`."""
    try:
        value = json.loads(await read_bytes(request), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from error
    return kind.model_validate(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def explain(error: ValidationError) -> list[dict[str, str]]:
    """What was wrong, field by field, in words."""
    return [
        {"field": ".".join(map(str, found["loc"])), "problem": _in_words(found)}
        for found in error.errors(include_url=False, include_input=False)
    ]


def _in_words(found: ErrorDetails) -> str:
    """Our words for what the library complains of: what to write instead."""
    kind, context = found["type"], found.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "enum":
            return f"write {context['expected'].replace(chr(39), '')}"
        case "greater_than_equal":
            return f"write {context['ge']} or more"
        case "less_than_equal":
            return f"write {context['le']} or less"
        case "string_too_long":
            return f"it is too long; at most {context['max_length']} characters fit"
        case "extra_forbidden":
            return "there is no such setting"
        case "missing":
            return "it is missing"
    for start, words in (
        ("int", "a whole number"),
        ("string", "a text, in quotes"),
        ("model", "an object with what to change"),
    ):
        if kind.startswith(start):
            return f"write {words}"
    return found["msg"]


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    title = _TITLES.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    more = error.more if isinstance(error, Problem) else {}
    return problem_response(error.status_code, error.detail, dict(error.headers or {}), **more)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)  # noqa: S101 - registered for it alone
    return problem_response(422, "The change is not valid; nothing was changed.", errors=explain(error))


async def _not_kept(_: Request, error: Exception) -> Response:
    return problem_response(503, f"Not done: {error}.")


async def _broken(_: Request, __: Exception) -> Response:
    return problem_response(500, "The gate failed here; its log says more. Visitors are not affected.")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _problem,
    ValidationError: _invalid,
    NotKept: _not_kept,
    500: _broken,
}
"""For :class:`starlette.applications.Starlette`."""
