"""The OpenAPI 3.1 document of the operator API, from the same models that validate and answer."""

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from gate import __version__
from gate.preview import Preview
from gate.status import Status
from gate.web.changes import FallbackChange, RoomChange, SheddingChange

_TEXT = {"text/plain": {"schema": {"type": "string"}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(
    id_: str,
    summary: str,
    answers: dict[str, Any],
    *,
    role: str | None = None,
    body: str | None = None,
    parameters: list[dict[str, Any]] | None = None,
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    if role is not None:
        problems = ("401", "403", *problems) if role == "operator" else ("401", *problems)
    operation: dict[str, Any] = {
        "operationId": id_,
        "summary": summary,
        "security": [] if role is None else [{"token": []}],
        "responses": {**answers, **{code: {"$ref": "#/components/responses/Problem"} for code in problems}},
    }
    if role is not None:
        operation["description"] = f"For the role {role}."
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(_ref(body))}
    if parameters:
        operation["parameters"] = parameters
    return operation


def _answer(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": description, "content": content}}


@cache
def document() -> dict[str, Any]:
    """The whole document; the same object every time, not to be changed."""
    _, models = models_json_schema(
        [
            (Status, "serialization"),
            (Preview, "serialization"),
            *((model, "validation") for model in (RoomChange, FallbackChange, SheddingChange)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    status = _answer("The status after the change.", _json(_ref("Status")))
    change = ("400", "413", "422", "503")
    room = {"name": "room", "in": "path", "required": True, "schema": {"type": "string"}}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floodgate operator API",
            "version": __version__,
            "description": "Steers a running gate. A change is in force on every worker of every gate within 2 seconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/status": {
                "get": _operation(
                    "status", "The gate at a glance", _answer("The status.", _json(_ref("Status"))), role="viewer"
                )
            },
            "/api/v1/rooms/{room}": {
                "patch": _operation(
                    "room",
                    "Change a room: mode, rate, burst, cap, session, message, stock",
                    status,
                    role="operator",
                    body="RoomChange",
                    parameters=[room],
                    problems=("404", *change),
                )
            },
            "/api/v1/rooms/{room}/preview": {
                "post": _operation(
                    "preview",
                    "What a change of the room would do to the wait; changes nothing",
                    _answer("The wait as things are, and after the change.", _json(_ref("Preview"))),
                    role="viewer",
                    body="RoomChange",
                    parameters=[room],
                    problems=("400", "404", "413", "422"),
                )
            },
            "/api/v1/fallback": {
                "put": _operation(
                    "fallback",
                    "Order the static page",
                    status,
                    role="operator",
                    body="FallbackChange",
                    problems=change,
                )
            },
            "/api/v1/shedding": {
                "put": _operation(
                    "shedding", "Order a level of shedding", status, role="operator", body="SheddingChange", problems=change
                )
            },
            "/api/v1/audit": {
                "get": _operation(
                    "audit",
                    "Who ordered what, newest first",
                    _answer("The entries.", _json(_ref("Audit"))),
                    role="viewer",
                    parameters=[limit],
                    problems=("422",),
                )
            },
            "/api/v1/config": {
                "get": _operation(
                    "config",
                    "The config in force, without its secrets",
                    _answer("The settings, in the notation of the file.", _json({"type": "object"})),
                    role="viewer",
                )
            },
            "/api/v1/config/reload": {
                "post": _operation(
                    "reload",
                    "Take the config file again",
                    {
                        "202": {
                            "description": "The file is valid; the workers are being replaced. `need_restart` names the "
                            "settings that a reload cannot change: they stay as they are; `warnings` are what the file says "
                            "and may not mean. Should a worker not come up with the new config, the old one stays in force, "
                            "and the status says so under `problems`.",
                            "content": _json(
                                {
                                    "type": "object",
                                    "properties": {
                                        "accepted": {"const": True},
                                        "need_restart": {"type": "array", "items": {"type": "string"}},
                                        "warnings": {"type": "array", "items": {"type": "string"}},
                                    },
                                }
                            ),
                        }
                    },
                    role="operator",
                    problems=("422",),
                )
            },
            "/api/v1/emails.csv": {
                "get": _operation(
                    "emails",
                    "The e-mail addresses that visitors left",
                    _answer("One address per line, with a header line.", {"text/csv": {"schema": {"type": "string"}}}),
                    role="operator",
                )
            },
            "/metrics": {"get": _operation("metrics", "Metrics in the Prometheus text format", _answer("The metrics.", _TEXT))},
            "/openapi.json": {
                "get": _operation("openapi", "This document", _answer("The document.", _json({"type": "object"})))
            },
            "/live": {"get": _operation("live", "Does the operator process run?", _answer("It does.", _TEXT))},
            "/ready": {
                "get": _operation(
                    "ready", "Does at least one worker serve visitors?", _answer("It does.", _TEXT), problems=("503",)
                )
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**models["$defs"], "Problem": _PROBLEM, "Audit": _AUDIT},
            "responses": {
                "Problem": {
                    "description": "What was wrong (RFC 9457).",
                    "content": {"application/problem+json": {"schema": _ref("Problem")}},
                }
            },
        },
    }


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "problem": {"type": "string"}}},
        },
        "problems": {"type": "array", "items": {"type": "string"}},
    },
}
_AUDIT = {
    "type": "object",
    "required": ["entries"],
    "properties": {
        "entries": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "at": {"type": "number", "description": "Unix seconds."},
                    "who": {"type": "string"},
                    "what": {"type": "string"},
                    "version": {"type": "integer"},
                },
            },
        }
    },
}
