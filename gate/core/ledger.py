"""What the store keeps of one room, and every operation on it: the pure twin of the scripts in ``gate/store/lua``.

The store runs the scripts; simulations and property tests run this, with the time as an argument; a differential test holds
the two together. The law it keeps (see ``docs/admission.md``):

- a token is given at the claim, never before, and to the lowest place among those at the door;
- a visitor at the door who does not knock again in time keeps its place, but no longer the token kept for it;
- ``serving`` runs ahead of the tokens as far as visitors turn out to be absent.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal

from gate.core.bucket import SECOND, Bucket
from gate.core.credentials import Ticket
from gate.core.line import AWAY, Remembered, RoomState, Terms
from gate.core.words import Reason, RoomMode

LEAD = 250_000  # a visitor is asked to knock this long before its token is due; the gate holds it so long
GRACE = 500_000  # and this long after that its token is somebody else's
SEAT_SLACK = 2 * SECOND  # a seat outlives its pass by the difference of two clocks
LAG = 1.0  # seconds in which a called visitor who is present comes to the door (time constant)
LOOK = 4.0  # seconds of rate that are called ahead
LEAST_SHARE = 0.02  # no fewer than this share of those called are taken to be present
PURGE = 1000


@dataclass(frozen=True, slots=True)
class Word:
    """The ledger's answer to a newcomer or a ticket; times in microseconds."""

    status: Literal["entered", "waiting", "spent"]
    number: int = 0
    epoch: int = 0
    expires: int = 0  # store's clock
    due: int = 0  # from now: when a token should be there
    ask: int = 0  # from now: when to knock again
    reason: Reason = Reason.RATE


def told(wait: int) -> int:
    """When to ask again for something due in ``wait``: just before, or far sooner when it is far away."""
    if wait <= 4 * SECOND + LEAD:
        return max(LEAD, wait - LEAD)
    return math.floor(min(max(4.0 * SECOND, wait / 4), 20.0 * SECOND))


class Ledger:
    """What the store keeps of one room. ``now``: the store's clock in microseconds; it may jump."""

    def __init__(self) -> None:
        self.born = False
        self.epoch = self.last = self.serving = self.birth = self.skew = self.admitted = 0
        self.lost = self.lost_until = self.longest = 0
        self.bucket = Bucket(0, 1, 1, 0, 0)
        self.coming = self.expected = self.came = 0.0
        self.bases: dict[int, int] = {}
        self.due: dict[str, int] = {}
        self.seats: dict[str, int] = {}
        self.revoked: dict[str, int] = {}
        self.knocked: set[tuple[int, int]] = set()
        self.spent: set[tuple[int, int] | str] = set()
        self._door: list[tuple[float, str]] = []  # (place, id), in order
        self._places: dict[str, float] = {}
        self.t = self.raw = 0

    # -- the operations

    def lease(self, now: int, terms: Terms, memory: Remembered, count: int) -> tuple[int, int]:
        """The first number of a block of ``count``, and its epoch."""
        self._open(now, terms, memory)
        first = self.last + 1
        self.last += count
        self._call_ahead(terms)
        return first, self.epoch

    def enter(self, now: int, terms: Terms, memory: Remembered, id_: str) -> Word:
        """A newcomer where nobody waits uncalled."""
        self._open(now, terms, memory)
        seat = self.seats.get(id_, 0)
        self.last += 1
        number, epoch = self.last, self.epoch
        if seat > self.t:
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, seat - self.skew)
        if not terms.admits:
            return Word("waiting", number, epoch, 0, 20 * SECOND, 20 * SECOND, _closed_reason(terms))
        if self.serving < number - 1:
            self._call_ahead(terms)
            return Word("waiting", number, epoch, 0, SECOND, SECOND, Reason.LINE)
        before = self.ready + self._on_the_way()
        has_token, free = self.bucket.has(before + 1), self._free_seats(terms)
        if has_token and free >= before + 1:
            self.serving = number
            self._admit(id_, terms)
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, self.raw + _micros(terms.session))
        self._call_ahead(terms)
        if has_token or free <= 0:
            return Word("waiting", number, epoch, 0, 2 * SECOND, 2 * SECOND, Reason.ACTIVE)
        due = self.bucket.due_in(before)
        return Word("waiting", number, epoch, 0, due, told(due), Reason.RATE)

    def claim(self, now: int, terms: Terms, memory: Remembered, ticket: Ticket) -> Word:
        """A called ticket asks for its pass. Safe to repeat."""
        id_, epoch, number = ticket.id, ticket.epoch, ticket.number
        self._open(now, terms, memory)
        if id_ in self.revoked:
            return Word("spent", number, epoch)
        seat = self.seats.get(id_, 0)
        if seat > self.t:
            return Word("entered", number, epoch, seat - self.skew)
        if (id_ if number >= AWAY else (epoch, number)) in self.spent:
            return Word("spent", number, epoch)
        if not terms.admits:
            return Word("waiting", number, epoch, 0, 20 * SECOND, 20 * SECOND, _closed_reason(terms))

        place = float(number)
        if number >= AWAY:
            place = self.bases.get(epoch, self.serving) + (number - AWAY) / AWAY
        if math.floor(place) > self.serving:
            self._call_ahead(terms)
        if math.floor(place) > self.serving:
            wait = 20 * SECOND
            if terms.step > 0:
                wait = math.ceil((place - self.serving) * self._share() * terms.cost / terms.step)
            ask = math.floor(max(float(SECOND), min(wait / 4, 20.0 * SECOND)))
            return Word("waiting", number, epoch, 0, wait, ask, Reason.LINE)

        if number < AWAY and (epoch, number) not in self.knocked:
            self.knocked.add((epoch, number))
            early = min(1.0, self.coming)
            self.coming, self.expected, self.came = self.coming - early, self.expected + early, self.came + 1

        self._put_at_the_door(id_, place)
        before = bisect_left(self._door, (place, id_))
        has_token, free = self.bucket.has(before + 1), self._free_seats(terms)
        if has_token and free >= before + 1:
            self._leave_the_door(id_)
            self._admit(id_, terms)
            self._mark_spent(id_, epoch, number)
            self._call_ahead(terms)
            return Word("entered", number, epoch, self.raw + _micros(terms.session))
        if has_token or free <= 0:
            reason = Reason.ACTIVE
            each = (before + 1) * _micros(terms.session) / max(1, terms.active or 0)
            due = math.floor(max(float(SECOND), min(each, 5.0 * SECOND)))
        else:
            reason = Reason.RATE
            due = self.bucket.due_in(before)
        if before > 0 and self.bucket.has(1) and free >= 1:
            due = min(due, self.due[self._door[0][1]] - self.t + 1)
        ask = told(due)
        self.due[id_] = self.t + ask + GRACE
        self._call_ahead(terms)
        return Word("waiting", number, epoch, 0, due, ask, reason)

    def renew(self, now: int, terms: Terms, memory: Remembered, id_: str) -> int:
        """The new expiry (store's clock), or 0: revoked."""
        self._open(now, terms, memory)
        if id_ in self.revoked:
            return 0
        seat = self.seats.get(id_, 0)
        if seat == 0:
            self.lost = max(0, self.lost - 1)
        self.seats[id_] = max(seat, self.t + _micros(terms.session))
        return self.seats[id_] - self.skew

    def release(self, now: int, terms: Terms, memory: Remembered, id_: str) -> bool:
        """Frees a seat and revokes its pass."""
        self._open(now, terms, memory)
        freed = self.seats.pop(id_, None) is not None
        if id_ not in self.revoked:
            self.revoked[id_] = self.t
            if not freed:
                self.lost = max(0, self.lost - 1)
        return freed

    def tick(self, now: int, terms: Terms, memory: Remembered) -> RoomState:
        """Calls whom it is time to call, cleans up."""
        self._open(now, terms, memory)
        keep = self.longest + 60 * SECOND
        self.revoked = {id_: at for id_, at in self.revoked.items() if at >= self.t - keep}
        self._call_ahead(terms)
        return self.state()

    def state(self) -> RoomState:
        return RoomState(
            epoch=self.epoch,
            serving=self.serving,
            last=self.last,
            waiting=self.last - self.serving + self.ready + self._on_the_way(),
            inside=self._inside(),
            tokens=self.bucket.tokens,
            revoked=frozenset(self.revoked),
            now=self.raw / SECOND,
            ready=self.ready,
            present=self._share(),
            admitted=self.admitted,
            birth=str(self.birth),
        )

    @property
    def ready(self) -> int:
        return len(self._door)

    def remembered(self) -> Remembered:
        return Remembered(self.epoch, self.last, self.serving, self._inside(), str(self.birth))

    # -- the parts, named as in room.lua

    def _open(self, now: int, terms: Terms, memory: Remembered) -> None:
        self.raw = now
        if not self.born:
            self._be_born(terms, memory)
        else:
            stamp = self.bucket.stamp
            self.t = now + self.skew
            if self.t < stamp:
                self.skew += stamp - self.t
                self.t = stamp
            if self._is_behind(memory):
                self.last, self.serving = max(self.last, memory.last), max(self.serving, memory.serving)
                self.bucket.level, self.bucket.stamp = 0, self.t
                self._turn(memory.epoch + 1)
            if self.epoch < memory.least:
                self._turn(memory.least)
        self._measure(terms)
        self.bucket.refill(self.t, terms.step, terms.cost, terms.burst)
        self.longest = max(self.longest, _micros(terms.session))
        self._purge()

    def _be_born(self, terms: Terms, memory: Remembered) -> None:
        self.born = True
        self.t = self.birth = self.raw
        self.epoch = max(1, memory.least)
        self.bucket = Bucket.full(terms.step, terms.cost, terms.burst, self.raw)
        if memory.epoch > 0:
            self.epoch, self.last, self.serving = memory.epoch, memory.last, memory.serving
            self.bucket.level = 0
            self.lost, self.lost_until = memory.inside, self.raw + _micros(terms.session)
            self._turn(max(memory.epoch + 1, memory.least))

    def _is_behind(self, memory: Remembered) -> bool:
        if memory.epoch != self.epoch:
            return memory.epoch > self.epoch
        return memory.last > self.last or (memory.birth != "" and memory.birth != str(self.birth))

    def _turn(self, epoch: int) -> None:
        self.bases[self.epoch] = self.last
        self.epoch = epoch

    def _measure(self, terms: Terms) -> None:
        seconds = (self.t - self.bucket.stamp) / SECOND
        moved = self.coming * (1 - math.exp(-seconds / LAG))
        self.coming -= moved
        window = max(8.0, 20 / terms.per_second) if terms.step > 0 else 8.0
        fade = math.exp(-seconds / window)
        self.expected = (self.expected + moved) * fade
        self.came *= fade

    def _share(self) -> float:
        return max(LEAST_SHARE, min(1.0, (self.came + 1) / (self.expected + 1)))

    def _on_the_way(self) -> int:
        return math.floor(self._share() * self.coming + 0.5)

    def _purge(self) -> None:
        overdue = sorted((at, id_) for id_, at in self.due.items() if at < self.t)[:PURGE]
        for _, id_ in overdue:
            self._leave_the_door(id_)
        for id_ in [id_ for id_, at in self.seats.items() if at < self.t - SEAT_SLACK]:
            del self.seats[id_]

    def _inside(self) -> int:
        return len(self.seats) + (self.lost if self.t < self.lost_until else 0)

    def _free_seats(self, terms: Terms) -> float:
        return math.inf if terms.active is None else terms.active - self._inside()

    def _call_ahead(self, terms: Terms) -> None:
        uncalled = self.last - self.serving
        if uncalled <= 0 or not terms.admits:
            return
        present = self._share()
        tokens = self.bucket.level // self.bucket.cost
        want = tokens + max(2.0, LOOK * terms.per_second) - self.ready - present * self.coming
        if want <= 0:
            return
        more = min(uncalled, math.ceil(want / present))
        self.serving += more
        self.coming += more

    def _admit(self, id_: str, terms: Terms) -> None:
        self.bucket.take()
        self.admitted += 1
        self.seats[id_] = self.t + _micros(terms.session)

    def _mark_spent(self, id_: str, epoch: int, number: int) -> None:
        self.spent.add(id_ if number >= AWAY else (epoch, number))

    def _put_at_the_door(self, id_: str, place: float) -> None:
        if id_ in self._places:
            self._door.remove((self._places[id_], id_))
        self._places[id_] = place
        insort(self._door, (place, id_))

    def _leave_the_door(self, id_: str) -> None:
        self._door.remove((self._places.pop(id_), id_))
        self.due.pop(id_, None)


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _closed_reason(terms: Terms) -> Reason:
    return Reason.HOLD if terms.mode is RoomMode.HOLD else Reason.ROOM_CLOSED
