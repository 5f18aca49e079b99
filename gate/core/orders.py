"""What the operators have ordered, on top of the config: one small versioned document that every worker follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from gate.core.settings import Room, parse_rate
from gate.core.words import RoomMode, Shedding, Switch


@dataclass(frozen=True, slots=True)
class RoomOrders:
    """None: as the config says. ``active`` 0 lifts the cap; ``message`` "" clears it; ``left`` is what is left to sell."""

    mode: RoomMode = RoomMode.AUTO
    rate: str | None = None
    burst: int | None = None
    active: int | None = None
    message: str | None = None
    left: int | None = None

    def amount_and_period(self, room: Room) -> tuple[int, int]:
        """The rate in force: `amount` visitors per `period` seconds."""
        rate = room.rate if self.rate is None else parse_rate(self.rate)
        return rate.amount, rate.get_expiry()

    def burst_of(self, room: Room) -> int:
        return room.burst if self.burst is None else self.burst

    def active_of(self, room: Room) -> int | None:
        return room.active if self.active is None else (self.active or None)

    def message_of(self, room: Room) -> str:
        return room.message if self.message is None else self.message


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
    left = data.get("left")  # unknown to older gates
    if rate is not None:
        parse_rate(rate)
    if not isinstance(message, str | None):
        raise TypeError(f"{message!r} is no message")
    return RoomOrders(
        mode=RoomMode(data["mode"]),
        rate=rate,
        burst=None if burst is None else _whole(burst, least=0),
        active=None if active is None else _whole(active, least=0),
        message=message,
        left=None if left is None else _whole(left, least=0),
    )


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no whole number from {least} on")
    return value
