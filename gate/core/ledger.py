"""What the store keeps of one room, and every operation on it: the pure twin of the scripts in ``gate/store/lua``.

The store runs the scripts; simulations and property tests run this, with the time as an argument; a differential test holds
the two together. The law it keeps (see ``docs/admission.md``):

- a token is given at the claim, never before, and to the lowest place among those at the door;
- a visitor at the door who does not knock again in time keeps its place, but no longer the token kept for it;
- nobody new enters past those who are in line, or may still come when they hear that they were called;
- ``serving`` runs ahead of the tokens as far as visitors turn out to be absent, and past those who never came back at all.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Literal, NamedTuple, TypeVar

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.groups import BEHIND, Group, lane_of
from gate.core.line import AWAY, GROUPED, Remembered, RoomState, Terms, group_number, group_turn
from gate.core.room import GRACE, PATIENCE, RETURN, Room
from gate.core.words import Reason

T = TypeVar("T")

MARGIN = 500_000  # a visitor is asked to knock at least this long before its token is due; the gate holds it so long
LATE = 250_000  # an answer is on its way for less than this,
LOST = 30 * SECOND  # and who did not get it asks again before this
CLAIMS = 200  # a second, of those who stand far behind at a long door


class Word(NamedTuple):
    """The ledger's answer to a newcomer or a ticket; times in microseconds. ``number`` and ``epoch`` are the ticket's own, or
    new ones when it came too late."""

    status: Literal["entered", "waiting", "spent", "full"]
    number: int = 0
    epoch: int = 0
    expires: int = 0  # store's clock
    due: int = 0  # from now: when a token should be there
    ask: int = 0  # from now: when to knock again
    reason: Reason = Reason.RATE


def told(wait: int, ready: int = 0) -> int:
    """When to ask again for something due in ``wait``: just before, or far sooner when it is far away. In whole seconds,
    because that is how it is said (Retry-After, the refresh of a page). The longer where more are ``ready`` at the door."""
    if wait <= 5 * SECOND:
        return max(1, (wait - MARGIN) // SECOND) * SECOND
    return math.floor(max(4.0, min(wait / 4 / SECOND, max(20.0, ready / CLAIMS)))) * SECOND


class Ledger(Room):
    """The operations on a room; every one may be repeated."""

    def lease(self, now: int, terms: Terms, memory: Remembered, count: int) -> tuple[int, int]:
        """The first number of a block of ``count``, and its epoch. The block ends at ``last``: there are fewer in it, or none,
        where the line would be longer than its maximum."""
        self._open(now, terms, memory)
        first = self.last + 1
        if terms.maximum is not None:
            count = max(0, min(count, terms.maximum - self.waiting))
        self.last += count
        self._call_ahead(terms)
        self._close(terms)
        return first, self.epoch

    def enter(self, now: int, terms: Terms, memory: Remembered, id_: str) -> Word:
        """A newcomer where nobody waits uncalled."""
        self._open(now, terms, memory)
        word = self._enter(terms, id_)
        self._close(terms)
        return word

    def _enter(self, terms: Terms, id_: str) -> Word:
        seat = self.seats.get(id_, 0)
        late = seat > self.t and self._is_late(id_, seat, terms)
        place, epoch = self._places.get(id_, 0.0), self.epoch
        number, again = int(place), place > 0 and place.is_integer()  # the same call again, its answer was lost
        why = terms.refusal(self.raw)
        nobody = self.serving == self.last and self.ready == self.unheard == self.groups.uncalled == 0
        alone = why is None and nobody and self.bucket.has(1) and self._seats_for(id_, terms) >= 1
        if not again:
            if terms.maximum is not None and seat <= self.t and not alone and self.waiting >= terms.maximum:
                return Word("full", 0, epoch, reason=Reason.LINE_FULL)
            self.last += 1
            number = self.last
        if seat > self.t and not late:
            if self.serving == number - 1:
                self.serving = number
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, seat - self.skew)
        if why is not None:
            wait = self._pause(why, terms)
            return Word("waiting", number, epoch, 0, wait, wait, why)
        if alone and not again:
            self.serving = number
            self._admit(id_, terms)
            self._mark_spent(id_, epoch, number)
            return Word("entered", number, epoch, self.raw + terms.session_us)
        self._call_ahead(terms)
        if number > self.serving:
            return Word("waiting", number, epoch, 0, 2 * SECOND, 2 * SECOND, Reason.LINE)
        if not again:
            self.calls.was_here(number)
        before, kept = self._stand(id_, float(number), terms)
        due, ask, reason = self._wait_at_the_door(id_, before, kept, terms)
        return Word("waiting", number, epoch, 0, due, ask, reason)

    def claim(
        self, now: int, terms: Terms, memory: Remembered, ticket: Ticket, turn: int | None = None, drawn: int | None = None
    ) -> Word:
        """A called ticket asks for its pass. ``turn``: its place in the order, where that is not its number, counted with a
        draw of ``drawn`` (None: the one there was)."""
        self._open(now, terms, memory)
        turn = ticket.number if turn is None else turn
        word = self._claim(terms, ticket.id, ticket.epoch, ticket.number, turn, self.drawn if drawn is None else drawn)
        self._close(terms)
        return word

    def _claim(self, terms: Terms, id_: str, epoch: int, number: int, turn: int, drawn: int) -> Word:
        if id_ in self.revoked:
            return Word("spent", number, epoch)
        seat = self.seats.get(id_, 0)
        late = seat > self.t and self._is_late(id_, seat, terms)
        if seat > self.t and not late:
            return Word("entered", number, epoch, seat - self.skew, reason=Reason.PASS)
        used = self._is_spent(id_, epoch, number)
        if used and id_ in self.moved:
            epoch, number = self.moved[id_]
            turn, used = number, self._is_spent(id_, epoch, number)
        if used and not late:
            return Word("spent", number, epoch)
        why = terms.refusal(self.raw)
        if why is not None:
            wait = self._pause(why, terms)
            return Word("waiting", number, epoch, 0, wait, wait, why)
        if number <= self.drawn and drawn != self.drawn:
            return Word("waiting", number, epoch, 0, SECOND, SECOND, Reason.LINE)

        first, group = False, None
        if number >= GROUPED:
            group, found = self._place_in_group(terms, id_, number)
            if found is None:
                wait = 20 * SECOND
                if terms.step > 0 and group is not None:
                    wait = math.ceil((group_turn(number)[1] - group.serving) * terms.cost / terms.step)
                return _in_line(number, epoch, wait)
            place = found
        else:
            place = self._place_of(epoch, number, turn)
            if math.floor(place) > self.serving:
                self._call_ahead(terms)
            if math.floor(place) > self.serving:
                wait = 20 * SECOND
                if terms.step > 0:
                    wait = math.ceil((place - self.serving) * self.present_share * terms.cost / terms.step)
                return _in_line(number, epoch, wait)
            if place <= self.forfeit and not late and id_ not in self._places and self._is_forgotten(id_, terms):
                self._mark_spent(id_, epoch, number)  # called long ago, and not heard of since: to the end of the line
                self.last += 1
                epoch, number, place = self.epoch, self.last, float(self.last)
                self.moved.pop(id_, None)  # the lowest first
                self.moved[id_] = epoch, number
                self._call_ahead(terms)
                if place > self.serving:
                    return Word("waiting", number, epoch, 0, 2 * SECOND, 2 * SECOND, Reason.LINE)
            first = place.is_integer() and self._mark_knocked(epoch, int(place))
        if first:
            if id_ in self._places:
                self.calls.came_back()
            else:
                self.calls.knocked(place, self.presence.settled)
        before, kept = self._stand(id_, place, terms)
        need = before + kept + 1
        if self.bucket.has(need) and self._seats_for(id_, terms) >= need:
            self._leave_the_door(id_)
            self._admit(id_, terms)
            if place >= BEHIND or group is None:
                self._settle_up(terms, group)
            self._mark_spent(id_, epoch, number)
            self._call_ahead(terms)
            return Word("entered", number, epoch, self.raw + terms.session_us)
        due, ask, reason = self._wait_at_the_door(id_, before, kept, terms, group if place >= BEHIND else None)
        self._call_ahead(terms)
        return Word("waiting", number, epoch, 0, due, ask, reason)

    def present(self, now: int, terms: Terms, memory: Remembered, places: Iterable[int], drawn: int | None = None) -> None:
        """Tickets that were seen again since they were given, by their places, counted with a draw of ``drawn``."""
        self._open(now, terms, memory)
        for place in places:
            if self.serving < place <= self.last and (place > self.drawn or drawn is None or drawn == self.drawn):
                self.presence.note(place)
        self._close(terms)

    def invite(
        self,
        now: int,
        terms: Terms,
        memory: Remembered,
        id_: str,
        tag: int,
        invitation: str,
        uses: int,
        old: tuple[int, int] | None = None,
    ) -> tuple[int, int] | Literal["used-up", "spent"]:
        """A turn in a group: the ticket's number and epoch, the same for the same ticket. ``old``: the epoch and number that
        the ticket has now; a place in the common line ends with it. ``used-up``: the invitation; ``spent``: that ticket has
        had its pass, or gave it back."""
        self._open(now, terms, memory)
        used = self.groups.uses.setdefault(invitation, {})
        common = [place for place in (old, self.moved.get(id_)) if place is not None and 0 < place[1] < AWAY]
        had_pass = id_ not in used and any(place in self.spent for place in common[-1:])  # the newest
        over = id_ in self.revoked or id_ in self.spent or had_pass
        if not over:
            news = id_ not in used and (uses == 0 or len(used) < uses)
            if news:
                used[id_] = group_number(tag, self.groups.invite(tag, id_)), self.epoch
            if id_ in used:
                self.spent.update(common)
            if news:
                self._call_ahead(terms)
        self._close(terms)
        return "spent" if over else used.get(id_, "used-up")

    def stock(self, now: int, terms: Terms, memory: Remembered, left: int) -> None:
        """So much is left to sell."""
        self._open(now, terms, memory)
        self.left = left
        self._close(terms)

    def renew(self, now: int, terms: Terms, memory: Remembered, id_: str) -> int:
        """The new expiry (store's clock), or 0: revoked."""
        self._open(now, terms, memory)
        expires = 0
        if id_ not in self.revoked:
            seat = self.seats.get(id_, 0)
            if seat == 0:
                self.lost = max(0, self.lost - 1)
            self.seats[id_] = max(seat, self.t + terms.session_us)
            expires = self.seats[id_] - self.skew
        self._close(terms)
        return expires

    def release(self, now: int, terms: Terms, memory: Remembered, id_: str) -> bool:
        """Frees a seat and revokes its pass."""
        self._open(now, terms, memory)
        freed = self.seats.pop(id_, None) is not None
        if id_ not in self.revoked:
            self.revoked[id_] = self.t
            if not freed:
                self.lost = max(0, self.lost - 1)
        self._close(terms)
        return freed

    def leave(self, id_: str) -> None:
        """Is not at the door any more, and nothing is kept for it."""
        if id_ in self._places:
            self._leave_the_door(id_)

    def adopt(
        self,
        now: int,
        terms: Terms,
        memory: Remembered,
        called: int,
        through: int,
        hold: int,
        admitted: list[tuple[str, int, int, int]],
    ) -> int:
        """Whom a worker has let in while the store was away: id, epoch, number and expiry of each. How many were news.
        ``through``: the worker has counted places from there, and none may grow."""
        self._open(now, terms, memory)
        self.bucket.level = min(self.bucket.level, -hold * terms.step)
        self.full = 0  # what it gave before has been paid with all that was in it
        called = min(called, self.last)
        if called > self.serving:
            present = self.present_share
            seen = self.presence
            before = self.fresh + seen.seen
            begin, upto = max(self.serving, seen.blind), min(called, seen.settled)
            if upto > begin:
                seen.seen -= seen.nth(begin, upto, math.inf)[1]
            count = before - seen.fresh(called, self.last) - seen.seen
            self._call_up_to(called, count, 0, False, present, terms)
        self.through = max(self.through, min(through, self.serving))
        news = 0
        for id_, epoch, number, expires in admitted:
            if self._is_spent(id_, epoch, number):
                continue
            news += 1
            self.admitted += 1
            self._mark_spent(id_, epoch, number)
            if number < AWAY:
                self.calls.came_in(number)
            if id_ in self._places:
                self._leave_the_door(id_)
            seat = max(self.seats.get(id_, 0), expires + self.skew)
            if id_ not in self.revoked and seat > self.t:
                self.seats[id_] = seat
        self._close(terms)
        return news

    def tick(self, now: int, terms: Terms, memory: Remembered, *, revoked: bool = True) -> RoomState:
        """Calls whom it is time to call, cleans up. ``revoked`` False: the state is told without them."""
        self._open(now, terms, memory)
        keep = self.longest + 60 * SECOND
        _forget_first(self.revoked, lambda at: at < self.t - keep)
        _forget_first(self.gone, lambda at: at <= self.worked - terms.grace_us)
        _forget_first(self.moved, lambda new: new[1] <= self.forfeit)  # numbers go on from epoch to epoch
        self._call_ahead(terms)
        self._close(terms)
        return self.state(revoked=revoked)

    # -- the parts of a claim, named as in the scripts

    def _place_of(self, epoch: int, number: int, turn: int) -> float:
        """Where a ticket of the common line stands: at its turn, which is its number unless it was drawn. One that the store
        gave out and forgot stands behind all that it knew of that epoch; one that was given without the store behind those,
        by its time (milliseconds, exact within three days of the epoch's end). An epoch whose end was forgotten with another
        loss: its visitors have waited long enough."""
        if number <= self.drawn or (number < AWAY and epoch >= self.epoch):
            return float(turn)
        base, when = self.bases.get(epoch, (None, number - AWAY))
        if number >= AWAY:
            if base is None:
                base = 0 if epoch < self.epoch else self.serving
            return base + 0.5 + max(0, min(2**29 - 1, number - AWAY - when + 2**28)) / 2**30
        if base is None and number > self.last:
            base = 0
        if base is not None and number > base:
            return base + min(number - base, 2**20 - 1) / 2**21
        return float(turn)

    def _place_in_group(self, terms: Terms, id_: str, number: int) -> tuple[Group | None, float | None]:
        """A member's group and its place at the door; None: not called. One whose turn the store has forgotten is called; one
        whose group the room has no more stands in front."""
        tag, turn = group_turn(number)
        group = self.groups.recall(tag, turn, terms)

        def is_called() -> bool:
            return group is None or turn <= group.serving or turn > group.last

        if not is_called():
            self._call_ahead(terms)
        if not is_called():
            return group, None
        self.groups.drop(id_)
        if group is not None and group.called.pop(id_, None) is not None:
            group.knocked(turn)
        if id_ not in self._places:
            self._put(id_, self._in_front() if group is None else float(lane_of(group, terms)[0] + turn))
        if group is not None and group.credit >= 1:
            self._promote(group, terms)
        return group, self._places[id_]

    def _is_forgotten(self, id_: str, terms: Terms) -> bool:
        """It has not been at the door for as long as the room's grace."""
        left = self.gone.get(id_)
        return left is None or left + terms.grace_us <= self.worked

    def _is_late(self, id_: str, seat: int, terms: Terms) -> bool:
        """A seat was given a while ago, and its visitor asks for it again: the answer was lost. A token taken then and used
        only now lets one more in than the law allows, if the bucket has been full in between: it is to be paid again. Until
        it is, the visitor stands at the door; the seat stays taken, for the answer may have come and its pass be in use."""
        if terms.refusal(self.raw) is not None:
            return False
        given = seat - terms.session_us
        return id_ in self._places or (LATE < self.t - given < LOST and self.full > given)

    def _seats_for(self, id_: str, terms: Terms) -> float:
        """Free seats, as this visitor sees it: who has one needs no other."""
        return math.inf if id_ in self.seats else self._free_seats(terms)

    def _stand(self, id_: str, place: float, terms: Terms) -> tuple[int, int]:
        """Puts a visitor at the door. How many stand before it there, and how many are kept a token because they have been
        called before it and may come any moment; when the bucket runs over no token is kept for them."""
        self._put(id_, place)
        kept = 0
        if place < BEHIND and not self._runs_over(terms):
            some = self.calls.on_the_way(place)
            opening = self.raw < terms.opens_us + RETURN
            # just after it nothing is known yet of those who were called before: keep one more
            kept = math.ceil(some) if opening else math.floor(some + 0.5)
        return bisect_left(self._door, (place, id_)), kept

    def _wait_at_the_door(
        self, id_: str, before: int, kept: int, terms: Terms, group: Group | None = None
    ) -> tuple[int, int, Reason]:
        """``group``: it stands in that group's lane, and its turn there may come before those of the common line."""
        free, need = self._seats_for(id_, terms), before + kept + 1
        if group is not None:
            first, share = lane_of(group, terms)
            ahead = bisect_left(self._door, (self._places[id_], "")) - bisect_left(self._door, (first, ""))
            need = max(1, min(need, math.ceil((ahead + 1 - group.credit) / share)))
        if free <= 0 or (free < need and self.bucket.has(need)):
            reason = Reason.ACTIVE
            each = need * terms.session_us / max(1, terms.active or 0)
            due = math.floor(max(float(SECOND), min(each, 5.0 * SECOND)))
        else:
            reason = Reason.RATE
            due = self.bucket.due_in(need - 1)
        if self.bucket.has(1) and free >= 1:  # something is free, and kept for one who has yet to knock
            full = due
            if terms.step > 0 and free * terms.cost >= self.bucket.level:
                full = math.ceil((terms.burst * terms.cost - self.bucket.level) / terms.step)
            if before > 0:
                late = self.t - self.due.get(self._door[0][1], self.t)
                due = min(due, GRACE - late + 1, max(PATIENCE - late + 1, full))
            elif kept > 0:
                due = min(due, self.calls.open[0].heard - self.t + 1, full)
            due = max(1, due)
        ask = told(due, self.ready)
        self.due[id_] = self.t + ask
        return due, ask, reason


def _in_line(number: int, epoch: int, wait: int) -> Word:
    ask = math.floor(max(float(SECOND), min(wait / 4, 20.0 * SECOND)))
    return Word("waiting", number, epoch, 0, wait, ask, Reason.LINE)


def _forget_first(kept: dict[str, T], is_over: Callable[[T], bool]) -> None:
    """From the beginning, as far as they are over; what was put in last is over last."""
    over = list(takewhile(lambda id_: is_over(kept[id_]), kept))
    for id_ in over:
        del kept[id_]
