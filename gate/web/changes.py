"""What an operator may ask to change: validated, and applied to the orders. The API's bodies and the console's forms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator, model_validator

from gate.core.notation import check_session, format_duration, format_rate, parse_duration, parse_rate
from gate.core.orders import Orders
from gate.core.words import RoomMode, Shedding, Switch

MOST = 1_000_000  # visitors; beyond it a burst or cap means nothing
STOCK = 1_000_000_000  # pieces


class Change(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RoomChange(Change):
    """What is left out stays; `null` gives back to the config, and `left` to the shop."""

    mode: RoomMode | None = None
    """`auto`, `open` (everybody passes), `hold` (nobody new enters, the line stays) or `closed` (no line either)."""
    rate: StrictStr | None = Field(None, max_length=40, examples=["120/minute"])
    """New visitors per time, in the notation of the config."""
    burst: StrictInt | None = Field(None, ge=1, le=MOST)
    """How many may enter at once after a quiet time."""
    active: StrictInt | None = Field(None, ge=0, le=MOST)
    """At most this many visitors inside at once; 0 lifts the cap."""
    session: StrictStr | None = Field(None, max_length=40, examples=["10m"])
    """How long a pass lives after its last use, in the notation of the config."""
    message: StrictStr | None = Field(None, max_length=500)
    """A word to everybody in line; empty for none."""
    left: StrictInt | None = Field(None, ge=0, le=STOCK)
    """So much is left to sell; 0: sold out, and nobody new enters. `null`: as the shop says."""

    @field_validator("rate")
    @classmethod
    def _rate(cls, value: str | None) -> str | None:
        return None if value is None else format_rate(parse_rate(value))

    @field_validator("session")
    @classmethod
    def _session(cls, value: str | None) -> str | None:
        return None if value is None else format_duration(check_session(parse_duration(value)))

    @field_validator("message")
    @classmethod
    def _message(cls, value: str | None) -> str | None:
        if value is not None and any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise ValueError("control characters and line breaks are not allowed; write one line of text")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing to change; give one of mode, rate, burst, active, session, message and left")
        return self

    def apply(self, orders: Orders, room: str) -> Orders:
        given: Mapping[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "mode" in given and given["mode"] is None:
            given = {**given, "mode": RoomMode.AUTO}
        return orders.with_room(room, replace(orders.room(room), **given))


class FallbackChange(Change):
    mode: Switch
    """`auto` (the health checks decide), `on` or `off`."""

    def apply(self, orders: Orders) -> Orders:
        return replace(orders, fallback=self.mode)


class SheddingChange(Change):
    mode: Shedding
    """`auto` (the measured load decides), `off`, `1` (sheddable routes) or `2` (normal routes too)."""

    @field_validator("mode", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    def apply(self, orders: Orders) -> Orders:
        return replace(orders, shedding=self.mode)
