"""Break any part of the demo shop while it runs: slow, failing, or dead (the connection closes without an answer)."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

Mode = Literal["ok", "slow", "fail", "dead"]
MODES: tuple[Mode, ...] = get_args(Mode)
PATHS = {  # part: the paths it stands for
    "reviews": "/reviews",
    "recommendations": "/recommendations",
    "search": "/search",
    "shipping": "/api/shipping-rates",
    "checkout": "/checkout",
}
PARTS = (*PATHS, "all")  # "all" covers the health check too
OWN_PREFIX = "/__shop/"  # the knobs themselves always work
MAX_DELAY = 600.0  # seconds


@dataclass(frozen=True, slots=True)
class Knob:
    """``delay`` in seconds, before the answer or the failure."""

    mode: Mode = "ok"
    delay: float = 0.0


OK = Knob()


class Knobs:
    """The state of every part."""

    def __init__(self) -> None:
        self._set: dict[str, Knob] = {}

    def turn(self, document: Any) -> None:
        """``{"reviews": {"mode": "slow", "delay": 2}}``. All of it or nothing. Raises :class:`ValueError` with a sentence."""
        if not isinstance(document, Mapping):
            raise ValueError('write an object like {"reviews": {"mode": "dead"}}')
        turned = {str(part): _knob(part, value) for part, value in document.items()}
        if turned.get("all", Knob("dead")).mode == "ok":
            self._set.clear()  # "all ok" mends every part
        self._set |= turned

    def for_path(self, path: str) -> Knob:
        everything = self._set.get("all", OK)
        if everything.mode != "ok":
            return everything
        for part, prefix in PATHS.items():
            if path == prefix or path.startswith(prefix + "/"):
                return self._set.get(part, OK)
        return OK

    def to_json(self) -> dict[str, Any]:
        return {part: {"mode": knob.mode, "delay": knob.delay} for part in PARTS for knob in [self._set.get(part, OK)]}


def _knob(part: object, value: Any) -> Knob:
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; the parts are {', '.join(PARTS)}")
    if isinstance(value, str):
        value = {"mode": value}
    if not isinstance(value, Mapping) or value.get("mode") not in MODES or set(value) - {"mode", "delay"}:
        raise ValueError(f'{part}: write {{"mode": …, "delay": seconds}}; the modes are {", ".join(MODES)}')
    mode = cast(Mode, value["mode"])
    delay = value.get("delay", 2.0 if mode == "slow" else 0.0)
    if (
        isinstance(delay, bool)
        or not isinstance(delay, (int, float))
        or not math.isfinite(delay)
        or not 0 <= delay <= MAX_DELAY
    ):
        raise ValueError(f"{part}: delay is a number of seconds from 0 to {MAX_DELAY:g}")
    return Knob(mode, float(delay))


class Breakable:
    """ASGI middleware that does what the knobs say. ``dead`` needs :class:`gate.demo.shop.Protocol` underneath."""

    def __init__(self, app: ASGIApp, knobs: Knobs) -> None:
        self.app = app
        self.knobs = knobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OWN_PREFIX):
            await self.app(scope, receive, send)
            return
        knob = self.knobs.for_path(scope["path"])
        if knob.mode != "ok" and knob.delay:
            await asyncio.sleep(knob.delay)
        if knob.mode == "dead":
            scope["state"]["transport"].abort()
            while (await receive())["type"] != "http.disconnect":
                pass
        elif knob.mode == "fail":
            await PlainTextResponse("This part of the shop is broken.\n", 500)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
