"""What the store keeps of one room, and every operation on it: the pure twin of the scripts in ``gate/store/lua``.

The store runs the scripts; simulations and property tests run this, with the time as an argument; a differential test holds
the two together. The law it keeps (see ``docs/admission.md``):

- a token is given at the claim, never before, and to the lowest place among those at the door;
- a visitor at the door who does not knock again in time keeps its place, but no longer the token kept for it;
- nobody new enters past those who are in line, or may still come when they hear that they were called;
- ``serving`` runs ahead of the tokens as far as visitors turn out to be absent.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal

from gate.core.bucket import SECOND, Bucket
from gate.core.calls import LOOK, Calls
from gate.core.credentials import Ticket
from gate.core.deadlines import Deadlines
from gate.core.line import AWAY, Remembered, RoomState, Terms
from gate.core.words import Reason, RoomMode

MARGIN = 500_000  # a visitor is asked to knock at least this long before its token is due; the gate holds it so long
GRACE = 2 * SECOND  # and is expected for this long after the second it was told: a page cannot come back in less than two
PATIENCE = 500_000  # but only for so long when the bucket is full, and waiting would lose a token
LATE = 250_000  # an answer is on its way for less than this,
LOST = 30 * SECOND  # and who did not get it asks again before this
STEP_AHEAD = 50_000  # a clock that gains more than this on the caller's has been set; less is the way to the store
SEAT_SLACK = 2 * SECOND  # a seat outlives its pass by the difference of two clocks
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
    """When to ask again for something due in ``wait``: just before, or far sooner when it is far away. In whole seconds,
    because that is how it is said (Retry-After, the refresh of a page)."""
    if wait <= 5 * SECOND:
        return max(1, (wait - MARGIN) // SECOND) * SECOND
    return math.floor(min(max(4.0, wait / 4 / SECOND), 20.0)) * SECOND


class Ledger:
    """What the store keeps of one room. ``now``: the store's clock in microseconds; it may jump."""

    def __init__(self) -> None:
        self.born = False
        self.epoch = self.last = self.serving = self.birth = self.skew = self.admitted = self.full = 0
        self.lost = self.lost_until = self.longest = 0
        self.bucket = Bucket(0, 1, 1, 0, 0)
        self.calls = Calls()
        self._through = 0
        self.bases: dict[int, int] = {}
        self.due = Deadlines()  # at the door: when it was asked to knock again
        self.seats = Deadlines()
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
        place, epoch = self._places.get(id_, 0.0), self.epoch
        number, again = int(place), place > 0 and place.is_integer()  # the same call again, its answer was lost
        if not again:
            self.last += 1
            number = self.last
        if seat > self.t:
            if self.serving == number - 1:
                self.serving = number
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, seat - self.skew)
        if not terms.admits:
            return Word("waiting", number, epoch, 0, 20 * SECOND, 20 * SECOND, _closed_reason(terms))
        alone = self.serving == number - 1 and self.ready == 0 and self.calls.unheard == 0
        if alone and self.bucket.has(1) and self._free_seats(terms) >= 1:
            self.serving = number
            self._admit(id_, terms)
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, self.raw + _micros(terms.session))
        self._call_ahead(terms)
        if number > self.serving:
            return Word("waiting", number, epoch, 0, 2 * SECOND, 2 * SECOND, Reason.LINE)
        if not again:
            self.calls.was_here(number)
        before, kept = self._stand(id_, float(number))
        due, ask, reason = self._wait_at_the_door(id_, before, kept, terms)
        return Word("waiting", number, epoch, 0, due, ask, reason)

    def claim(self, now: int, terms: Terms, memory: Remembered, ticket: Ticket) -> Word:
        """A called ticket asks for its pass. Safe to repeat."""
        id_, epoch, number = ticket.id, ticket.epoch, ticket.number
        self._open(now, terms, memory)
        if id_ in self.revoked:
            return Word("spent", number, epoch)
        seat = self.seats.get(id_, 0)
        late = seat > self.t and self._is_late(seat, terms)
        if seat > self.t and not late:
            return Word("entered", number, epoch, seat - self.skew, reason=Reason.PASS)
        if not late and (id_ if number >= AWAY else (epoch, number)) in self.spent:
            return Word("spent", number, epoch)
        if not terms.admits:
            return Word("waiting", number, epoch, 0, 20 * SECOND, 20 * SECOND, _closed_reason(terms))

        place = float(number)
        if number >= AWAY:
            # an epoch whose end was forgotten with another loss: its visitors have waited long enough
            base = self.bases.get(epoch, 0 if epoch < self.epoch else self.serving)
            place = base + (number - AWAY) / AWAY
        if math.floor(place) > self.serving:
            self._call_ahead(terms)
        if math.floor(place) > self.serving:
            wait = 20 * SECOND
            if terms.step > 0:
                wait = math.ceil((place - self.serving) * self.calls.share * terms.cost / terms.step)
            ask = math.floor(max(float(SECOND), min(wait / 4, 20.0 * SECOND)))
            return Word("waiting", number, epoch, 0, wait, ask, Reason.LINE)

        if number < AWAY and self._mark_knocked(epoch, number):
            if id_ in self._places:
                self.calls.expected, self.calls.came = self.calls.expected + 1, self.calls.came + 1
            else:
                self.calls.knocked(number)
        if late:
            del self.seats[id_]
            self.spent.discard(id_ if number >= AWAY else (epoch, number))
        before, kept = self._stand(id_, place)
        need = before + kept + 1
        if self.bucket.has(need) and self._free_seats(terms) >= need:
            self._leave_the_door(id_)
            self._admit(id_, terms)
            self._mark_spent(id_, epoch, number)
            self._call_ahead(terms)
            return Word("entered", number, epoch, self.raw + _micros(terms.session))
        due, ask, reason = self._wait_at_the_door(id_, before, kept, terms)
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

    def leave(self, id_: str) -> None:
        """Is not at the door any more, and nothing is kept for it."""
        if id_ in self._places:
            self._leave_the_door(id_)

    def adopt(
        self, now: int, terms: Terms, memory: Remembered, called: int, hold: int, admitted: list[tuple[str, int, int, int]]
    ) -> int:
        """Whom a worker has let in while the store was away: id, epoch, number and expiry of each. How many were news."""
        self._open(now, terms, memory)
        self.bucket.level = min(self.bucket.level, -hold * terms.step)
        self.full = 0  # what it gave before has been paid with all that was in it
        if min(called, self.last) > self.serving:
            self.calls.call(self.serving, min(called, self.last), self._through, terms)
            self.serving = min(called, self.last)
        news = 0
        for id_, epoch, number, expires in admitted:
            if (id_ if number >= AWAY else (epoch, number)) in self.spent:
                continue
            news += 1
            self.admitted += 1
            self._mark_spent(id_, epoch, number)
            call = self.calls.of(number) if number < AWAY else None
            if call is not None and call.knocked < call.count:
                call.knocked += 1
            if id_ in self._places:
                self._leave_the_door(id_)
            seat = max(self.seats.get(id_, 0), expires + self.skew)
            if id_ not in self.revoked and seat > self.t:
                self.seats[id_] = seat
        return news

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
            waiting=self.last - self.serving + self.ready + self.calls.unheard,
            through=self.through,
            inside=self._inside(),
            tokens=self.bucket.tokens,
            revoked=frozenset(self.revoked),
            now=self.raw / SECOND,
            ready=self.ready,
            present=self.calls.share,
            admitted=self.admitted,
            birth=str(self.birth),
        )

    @property
    def ready(self) -> int:
        return len(self._door)

    @property
    def through(self) -> int:
        return max(self._through, self.serving - self.ready - self.calls.unheard)

    def remembered(self) -> Remembered:
        inside, birth = self._inside(), str(self.birth)
        return Remembered(self.epoch, self.last, self.serving, inside, birth, admitted=self.admitted)

    # -- the parts, named as in room.lua

    def _open(self, now: int, terms: Terms, memory: Remembered) -> None:
        self.raw, self._through = now, self.through
        if not self.born:
            self._be_born(terms, memory)
        else:
            stamp = self.bucket.stamp
            self.t = now + self.skew
            if self.t < stamp:
                self.skew += stamp - self.t
                self.t = stamp
            elif 0 <= memory.quiet < self.t - stamp - STEP_AHEAD:  # a burst is for a quiet time, not for a clock that was set
                self.skew -= self.t - stamp - memory.quiet
                self.t = stamp + memory.quiet
            if self._is_behind(memory):
                self.last, self.serving = max(self.last, memory.last), max(self.serving, memory.serving)
                self.bucket.level, self.bucket.stamp = 0, self.t
                self._turn(memory.epoch + 1)
            if self.epoch < memory.least:
                self._turn(memory.least)
        self.calls.measure(self.t, self.bucket.stamp, terms)
        self.bucket.refill(self.t, terms.step, terms.cost, terms.burst)
        if self._is_full():
            self.full = self.t
        self.longest = max(self.longest, _micros(terms.session))
        self._purge()

    def _be_born(self, terms: Terms, memory: Remembered) -> None:
        self.born = True
        self.t = self.birth = self.full = self.raw
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
        if memory.birth not in ("", str(self.birth)):
            return True
        return memory.last > self.last or memory.admitted > self.admitted

    def _turn(self, epoch: int) -> None:
        self.bases[self.epoch] = self.last
        self.epoch = epoch

    def _purge(self) -> None:
        patience = PATIENCE if self._is_full() else GRACE
        for id_ in self.due.take_before(self.t - patience, PURGE):
            place = self._places[id_]
            if place.is_integer() and (self.epoch, int(place)) not in self.knocked:
                self.calls.expected += 1
            self._leave_the_door(id_)
        self.seats.take_before(self.t - SEAT_SLACK)

    def _inside(self) -> int:
        return len(self.seats) + (self.lost if self.t < self.lost_until else 0)

    def _is_late(self, seat: int, terms: Terms) -> bool:
        """A seat was given a while ago, and its visitor asks for it again: the answer was lost. A token taken then and
        used only now lets one more in than the law allows, if the bucket has been full in between: it is to be paid again."""
        given = seat - _micros(terms.session)
        return LATE < self.t - given < LOST and self.full > given and terms.admits

    def _free_seats(self, terms: Terms) -> float:
        return math.inf if terms.active is None else terms.active - self._inside()

    def _call_ahead(self, terms: Terms) -> None:
        uncalled = self.last - self.serving
        if uncalled <= 0 or not terms.admits:
            return
        present = self.calls.share
        tokens = min(self.bucket.level // self.bucket.cost, max(0, self._free_seats(terms)))
        want = tokens + max(2.0, LOOK * terms.per_second) - self.ready - self.calls.on_the_way()
        if want > 0:
            number = self.serving + min(uncalled, math.ceil(want / present))
            self.calls.call(self.serving, number, self._through, terms)
            self.serving = number

    def _stand(self, id_: str, place: float) -> tuple[int, int]:
        """Puts a visitor at the door. How many stand before it there, and how many are kept a token because they have been
        called before it and may come any moment; when the bucket is full no token is kept for them."""
        stood = self._places.get(id_)
        if stood != place:
            if stood is not None:  # given without the store, in an epoch whose end was not known
                del self._door[bisect_left(self._door, (stood, id_))]
            self._places[id_] = place
            insort(self._door, (place, id_))
        kept = 0 if self._is_full() else math.floor(self.calls.on_the_way(place) + 0.5)
        return bisect_left(self._door, (place, id_)), kept

    def _wait_at_the_door(self, id_: str, before: int, kept: int, terms: Terms) -> tuple[int, int, Reason]:
        free, need = self._free_seats(terms), before + kept + 1
        if free <= 0 or (free < need and self.bucket.has(need)):
            reason = Reason.ACTIVE
            each = need * _micros(terms.session) / max(1, terms.active or 0)
            due = math.floor(max(float(SECOND), min(each, 5.0 * SECOND)))
        else:
            reason = Reason.RATE
            due = self.bucket.due_in(need - 1)
        if self.bucket.has(1) and free >= 1:  # something is free, and kept for one who has yet to knock
            full = due
            if terms.step > 0:
                full = math.ceil((terms.burst * terms.cost - self.bucket.level) / terms.step)
            if before > 0:
                late = self.t - self.due.get(self._door[0][1], self.t)
                due = min(due, GRACE - late + 1, max(PATIENCE - late + 1, full))
            elif kept > 0:
                due = min(due, self.calls.open[0].heard - self.t + 1, full)
            due = max(1, due)
        ask = told(due)
        self.due[id_] = self.t + ask
        return due, ask, reason

    def _is_full(self) -> bool:
        return self.bucket.level >= self.bucket.burst * self.bucket.cost

    def _admit(self, id_: str, terms: Terms) -> None:
        self.bucket.take()
        self.admitted += 1
        self.seats[id_] = self.t + _micros(terms.session)

    def _mark_spent(self, id_: str, epoch: int, number: int) -> None:
        self.spent.add(id_ if number >= AWAY else (epoch, number))

    def _mark_knocked(self, epoch: int, number: int) -> bool:
        """True the first time."""
        first = (epoch, number) not in self.knocked
        self.knocked.add((epoch, number))
        return first

    def _leave_the_door(self, id_: str) -> None:
        del self._door[bisect_left(self._door, (self._places.pop(id_), id_))]
        self.due.pop(id_, None)


def _micros(seconds: float) -> int:
    return round(seconds * SECOND)


def _closed_reason(terms: Terms) -> Reason:
    return Reason.HOLD if terms.mode is RoomMode.HOLD else Reason.ROOM_CLOSED
