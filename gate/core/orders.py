"""What the operators have ordered, on top of the config: one small versioned document that every worker follows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from gate.core.notation import check_session
from gate.core.settings import Room, burst_for, parse_duration, parse_rate
from gate.core.snapshot import RoomView
from gate.core.words import Order, RoomMode, Shedding, Switch


@dataclass(frozen=True, slots=True)
class RoomOrders:
    """None: as the config says, and for ``left``, what is left to sell, as the shop says. ``rate`` and ``session`` are in the
    notation of the config; ``active`` 0 lifts the cap; ``message`` "" clears it."""

    mode: RoomMode = RoomMode.AUTO
    rate: str | None = None
    burst: int | None = None
    active: int | None = None
    message: str | None = None
    left: int | None = None
    session: str | None = None

    def amount_and_period(self, room: Room) -> tuple[int, int]:
        """The rate in force: `amount` visitors per `period` seconds."""
        rate = room.rate if self.rate is None else parse_rate(self.rate)
        return rate.amount, rate.get_expiry()

    def burst_of(self, room: Room) -> int:
        """The order's, else the config's; where neither names one, it goes with the rate in force."""
        if self.burst is not None:
            return self.burst
        return room.burst if self.rate is None or "burst" in room.model_fields_set else burst_for(parse_rate(self.rate))

    def active_of(self, room: Room) -> int | None:
        return room.active if self.active is None else (self.active or None)

    def message_of(self, room: Room) -> str:
        return room.message if self.message is None else self.message

    def session_of(self, room: Room) -> float:
        """Seconds."""
        return room.session if self.session is None else parse_duration(self.session)

    def view_of(self, room: Room) -> RoomView:
        """The room as config and orders have it, before the store has told anything about it."""
        amount, period = self.amount_and_period(room)
        return RoomView(
            room.name,
            mode=self.mode,
            amount=amount,
            period=period,
            burst=self.burst_of(room),
            active=self.active_of(room),
            message=self.message_of(room),
            session=self.session_of(room),
            opens=room.opens or 0.0,
            closes=math.inf if room.closes is None else room.closes,
            draw=room.order is Order.RANDOM,
            maximum=room.maximum,
            left=self.left,
        )


@dataclass(frozen=True, slots=True)
class Orders:
    """``version`` grows by one with every change; a worker takes a document only if its version is higher than its own."""

    version: int = 0
    fallback: Switch = Switch.AUTO
    shedding: Shedding = Shedding.AUTO
    rooms: Mapping[str, RoomOrders] = field(default_factory=dict)

    def room(self, name: str) -> RoomOrders:
        return self.rooms.get(name, RoomOrders())

    def with_room(self, name: str, orders: RoomOrders) -> Self:
        return replace(self, rooms={**self.rooms, name: orders})

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "fallback": self.fallback.value,
            "shedding": self.shedding.value,
            "rooms": {
                name: {
                    "mode": room.mode.value,
                    "rate": room.rate,
                    "burst": room.burst,
                    "active": room.active,
                    "message": room.message,
                    "left": room.left,
                    "session": room.session,
                }
                for name, room in self.rooms.items()
            },
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises :class:`ValueError` for whatever is not such a document."""
        try:
            return cls(
                version=_whole(data["version"], least=0),
                fallback=Switch(data["fallback"]),
                shedding=Shedding(data["shedding"]),
                rooms={str(name): _room(room) for name, room in data["rooms"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a document of orders: {error!r}") from error


def _room(data: Any) -> RoomOrders:
    rate, burst, active, message = data["rate"], data["burst"], data["active"], data["message"]
    left, session = data.get("left"), data.get("session")  # unknown to older gates
    if rate is not None:
        parse_rate(rate)
    if session is not None:
        check_session(parse_duration(session))
    if not isinstance(message, str | None):
        raise TypeError(f"{message!r} is no message")
    return RoomOrders(
        mode=RoomMode(data["mode"]),
        rate=rate,
        burst=None if burst is None else _whole(burst, least=0),
        active=None if active is None else _whole(active, least=0),
        message=message,
        left=None if left is None else _whole(left, least=0),
        session=session,
    )


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no whole number from {least} on")
    return value
