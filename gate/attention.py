"""What an operator should know now, in sentences: all is well where there is none."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gate.core.orders import Orders
from gate.core.words import Order, RoomMode, Shedding, Switch
from gate.heartbeat import Beat, Condition

if TYPE_CHECKING:
    from gate.status import RoomStatus

DRAW_SLACK = 5.0  # seconds after the opening in which the draw must be known
MODES = {
    RoomMode.HOLD: "is on hold, by order: nobody new enters",
    RoomMode.CLOSED: "is closed, by order: nobody new enters, and no line forms",
    RoomMode.OPEN: "is open, by order: everybody passes, whatever the rate",
}
SHED = {Shedding.SHEDDABLE: "sheddable routes answer their fallback", Shedding.NORMAL: "only critical routes are forwarded"}


def of_room(room: "RoomStatus", now: float) -> Iterator[str]:
    if room.mode in MODES:
        waiting = f" ({room.waiting} {'waits' if room.waiting == 1 else 'wait'})" if room.waiting else ""
        yield f"{room.name} {MODES[room.mode]}{waiting}."
    if room.left == 0:
        who = "an operator" if "left" in room.ordered else "the shop"
        yield f"{room.name} is sold out, says {who}: nobody new enters."
    if room.maximum is not None and room.waiting >= room.maximum:
        yield f"The line of {room.name} is full ({room.maximum}): newcomers get no place."
    early = room.opens is not None and now < room.opens
    if room.order is Order.RANDOM and early and room.draw is not None and room.draw.drawn is not None:
        yield (
            f"{room.name} has had its draw (of {room.draw.drawn}), and a room is drawn once: who comes before this opening is "
            "served first come, first served, behind it. For another draw give the room another name."
        )
    past = room.opens is not None and now >= room.opens + DRAW_SLACK
    if room.order is Order.RANDOM and past and room.draw is not None and room.draw.drawn is None:
        yield f"{room.name} has opened, and nobody was drawn: it is first come, first served."


def of_gate(orders: Orders, beats: list[Beat], living: list[Beat]) -> list[str]:
    """Of the workers, the store, the shop and what is ordered for all. ``living``: those of ``beats`` heard from just now."""
    found = []
    if not living:
        found.append("No worker is alive: visitors get no answer.")
    silent = [str(beat.worker) for beat in beats if beat not in living]
    if living and silent:
        found.append(f"Worker {', '.join(silent)} has not been heard from.")
    if orders.fallback is Switch.ON:
        found.append("The static page is shown to everybody, by order.")
    if orders.shedding in SHED:
        found.append(f"Shedding is ordered, level {orders.shedding}: {SHED[orders.shedding]}.")
    if any(beat.condition is Condition.LOCAL_SHARE for beat in living):
        found.append("The store does not answer: workers let their share of the rate in, each by itself.")
    elif living and not any(beat.store_up for beat in living):
        silent_rooms = sorted({name for beat in living for name, room in beat.rooms.items() if not room.told})
        some = any(room.told for beat in living for room in beat.rooms.values())
        about = f" about {', '.join(silent_rooms)}" if some and silent_rooms else ""
        found.append(f"The store does not answer{about}: passes keep working, the line keeps its order.")
    elif not all(beat.store_up for beat in living):
        found.append("The store does not answer some of the workers.")
    if living and not any(beat.origin_up for beat in living):
        found.append("The shop does not answer its health checks.")
    behind = [str(beat.worker) for beat in living if beat.orders < orders.version]
    if behind:
        found.append(f"Worker {', '.join(behind)} does not yet follow the last order.")
    open_ = {name for beat in living for name, state in beat.breakers.items() if state == "open"}
    probing = {name for beat in living for name, state in beat.breakers.items() if state == "half-open"} - open_
    found += [f"The breaker of {route} is open: its fallback is served." for route in sorted(open_)]
    found += [f"The breaker of {route} is half open: it waits for a request that probes." for route in sorted(probing)]
    for edge in sorted({edge for beat in living for edge in beat.unlisted}):
        found.append(f"{edge} asks about requests and is not in edge.ask: visitors get 403. If it is an edge of yours, add it.")
    if len({beat.config for beat in living}) > 1:
        found.append("The workers do not all run the same config.")
    return found
