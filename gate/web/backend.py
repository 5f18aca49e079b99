"""What the operator listener acts on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gate.core.orders import Orders
from gate.core.settings import Settings
from gate.preview import Preview
from gate.status import Status


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of asking for one. With ``problems`` nothing happens; ``need_restart`` are settings that stay as they are;
    ``warnings`` are what the file says and may not mean."""

    problems: list[str]
    need_restart: list[str]
    warnings: list[str]


class Backend(Protocol):
    """What the API acts on; :class:`gate.backend.Backend` in a running gate."""

    @property
    def settings(self) -> Settings: ...
    @property
    def state(self) -> Path: ...
    @property
    def metrics(self) -> Path: ...

    async def status(self) -> Status: ...
    def preview(self, room: str, change: Callable[[Orders], Orders]) -> Preview: ...
    def history(self, room: str) -> list[tuple[float, int]]: ...
    async def change(self, change: Callable[[Orders], Orders], *, who: str) -> Orders: ...
    async def audit(self, limit: int) -> list[dict[str, Any]]: ...
    async def reload(self, *, who: str) -> Reload: ...
    def config(self) -> dict[str, Any]: ...
    def emails_csv(self) -> bytes: ...
