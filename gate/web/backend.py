"""What the operator listener acts on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from gate.core.orders import Orders
from gate.core.settings import Settings
from gate.status import Status


class NotKept(Exception):
    """The order could be written neither to the store nor to the state directory; it is not in force."""


class Backend(Protocol):
    """What the API acts on; :class:`gate.backend.Backend` in a running gate."""

    @property
    def settings(self) -> Settings: ...
    @property
    def state(self) -> Path: ...
    @property
    def metrics(self) -> Path: ...

    async def status(self) -> Status: ...
    async def change(self, change: Callable[[Orders], Orders], *, who: str) -> Orders: ...
    async def audit(self, limit: int) -> list[dict[str, Any]]: ...
    async def reload(self, *, who: str) -> list[str]: ...
    def config(self) -> dict[str, Any]: ...
    def emails_csv(self) -> bytes: ...
