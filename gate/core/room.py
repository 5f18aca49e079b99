"""One room as the store keeps it, and how every operation on it begins and ends: the twin of ``room.lua``, ``crowd.lua`` and
``visit.lua`` in ``gate/store/lua``, whose parts have the same names. :mod:`gate.core.ledger` has the operations.
"""

import math
from bisect import bisect_left, insort

from gate.core.bucket import SECOND, Bucket
from gate.core.calls import LOOK, Calls, hearing
from gate.core.deadlines import Deadlines
from gate.core.groups import BEHIND, LANE, Group, Groups, common_share, lane_of
from gate.core.line import AWAY, AWAY_ORIGIN, Remembered, RoomState, Terms
from gate.core.presence import CHUNK, Presence
from gate.core.words import Reason

GRACE = 2 * SECOND  # at the door a visitor is expected for so long after the second it was told: no page comes back in less
PATIENCE = 500_000  # but only for so long when the bucket runs over, and waiting would lose a token
STEP_AHEAD = 50_000  # a clock that gains more than this on the caller's has been set; less is the way to the store
SEAT_SLACK = 2 * SECOND  # a seat outlives its pass by the difference of two clocks
RETURN = 4 * SECOND  # after a loss or an opening, all who look when told have come to the door within this long
PURGE = 1000
TURNOVER = 30.0  # seconds over which it is measured how fast seats are taken
MOVING = 2**40  # a number of another epoch is this much further


class Room:
    """``now``: the store's clock in microseconds; it may jump. ``offer``: a seed for the draw, should there be none yet."""

    def __init__(self, offer: str = "") -> None:
        self.born = False
        self.offer = offer
        self.flow = 0.0  # admissions, those of long ago counting less
        self.base = 0  # the last number given before this epoch
        self.server = ""  # on which this was written last: which run of it, and which history its data has
        self.epoch = self.last = self.serving = self.birth = self.skew = self.admitted = self.full = 0
        self.lost = self.lost_until = self.longest = 0
        self.drawn = 0  # -1: there was nobody to be drawn
        self.seed = ""
        self.left: int | None = None
        self.worked = 0  # us for which the room was letting visitors in
        self.forfeit = 0  # who stands at or below and was not heard of since has lost its place
        self.reached: list[tuple[int, int]] = []  # (working time, `serving` by then), oldest first
        self.bucket = Bucket(0, 1, 1, 0, 0)
        self.calls, self.presence, self.groups = Calls(), Presence(), Groups()
        self.through = 0
        self.bases: dict[int, tuple[int, int]] = {}  # of epochs that are over: the last number, and when (ms since AWAY_ORIGIN)
        self.due = Deadlines()  # at the door: when it was asked to knock again
        self.gone: dict[str, int] = {}  # left the door without a pass: at which working time
        self.moved: dict[str, tuple[int, int]] = {}  # came too late: its new epoch and number
        self.seats = Deadlines()
        self.revoked: dict[str, int] = {}
        self.knocked: set[tuple[int, int]] = set()
        self.spent: set[tuple[int, int] | str] = set()
        self._door: list[tuple[float, str]] = []  # (place, id), in order
        self._places: dict[str, float] = {}
        self._opened = 0
        self._terms: Terms | None = None
        self.t = self.raw = 0

    def state(self, *, revoked: bool = True) -> RoomState:
        """``revoked`` False: without those passes, of which there may be many."""
        return RoomState(
            epoch=self.epoch,
            serving=self.serving,
            last=self.last,
            waiting=self.waiting,
            through=self.through,
            base=self.base,
            inside=self._inside(),
            tokens=max(0.0, self.bucket.tokens),
            revoked=frozenset(self.revoked) if revoked else frozenset(),
            now=self.raw / SECOND,
            ready=self.ready,
            present=self.present_share,
            admitted=self.admitted,
            birth=str(self.birth),
            drawn=self.drawn,
            seed=self.seed,
            left=self.left,
            groups=tuple((group.tag, group.last, group.serving) for group in self.groups.known),
        )

    def remembered(self) -> Remembered:
        return Remembered(
            self.epoch,
            self.last,
            self.serving,
            self._inside(),
            str(self.birth),
            admitted=self.admitted,
            drawn=self.drawn,
            seed=self.seed,
            left=self.left,
        )

    @property
    def ready(self) -> int:
        return len(self._door)

    @property
    def unheard(self) -> int:
        """Called visitors who may still knock, present or not."""
        return self.calls.unheard + self.groups.coming

    @property
    def fresh(self) -> int:
        """Uncalled numbers of which nobody knows yet whether they are present."""
        return self.presence.fresh(self.serving, self.last)

    @property
    def waiting(self) -> int:
        """Everybody in line: present for all that is known, uncalled, called, or at the door."""
        return self.fresh + self.presence.seen + self.groups.uncalled + self.ready + self.unheard

    @property
    def present_share(self) -> float:
        """The share of the numbers not yet called that are expected to come, as it is told."""
        uncalled = self.last - self.serving
        if uncalled <= 0:
            return self.calls.share
        return (self.fresh * self.calls.share + self.presence.seen * self.calls.share_seen) / uncalled

    # -- begin and end

    def _open(self, now: int, terms: Terms, memory: Remembered) -> None:
        self.raw = now
        if not self.born:
            self._be_born(terms, memory)
        else:
            stamp = self.bucket.stamp
            lost = self._may_have_lost(memory, stamp - self.skew)
            self.t = now + self.skew
            if self.t < stamp:
                self.skew += stamp - self.t
                self.t = stamp
            elif 0 <= memory.quiet < self.t - stamp - STEP_AHEAD:  # a burst is for a quiet time, not for a clock that was set
                self.skew -= self.t - stamp - memory.quiet
                self.t = stamp + memory.quiet
            if self._is_behind(memory):
                self._catch_up(memory)
            elif lost:
                self._begin_anew(memory)
            if self.t < self.lost_until and now < self.birth + 2 * SECOND and 0 < memory.epoch < self.epoch:
                self.lost = max(self.lost, memory.inside)  # this one had heard of more seats before the loss
            if self.epoch < memory.least:
                self._turn(memory.least)
        self._opened = self.serving
        self._draw(terms)
        if self.t != self.calls.now or terms is not self._terms:
            self._go_on(terms)
        while self.reached and self.reached[0][0] + terms.grace_us <= self.worked:
            self.forfeit = self.reached.pop(0)[1]
        self._purge(terms)

    def _go_on(self, terms: Terms) -> None:
        """What time alone has changed since the last call."""
        self._terms, since = terms, self.bucket.stamp
        self.calls.measure(self.t, since, terms)
        if self.groups.known:
            self.groups.measure(self.t, since, terms)
        self.flow *= math.exp(-((self.t - since) / SECOND) / TURNOVER)
        self.bucket.refill(self.t, terms.step, terms.cost, terms.burst)
        if self._is_full():
            self.full = self.t
        if terms.refusal(self.raw) is None:
            self.worked += min(self.t - since, 10 * SECOND)
        self.longest = max(self.longest, terms.session_us)
        self.presence.settle(self.t, self.serving)

    def _close(self, terms: Terms) -> None:
        self.through = max(self.through, self.serving - self.ready - self.unheard)  # never back: no place ever grows
        self.presence.mark(self.t, self.last)
        newest = self.reached[-1] if self.reached else None
        known = newest[1] if newest else self.forfeit
        if self.serving > known and (newest is None or self.worked - newest[0] >= terms.grace_us / 16):
            self.reached.append((self.worked, self.serving))
        if self.serving // CHUNK > self._opened // CHUNK:
            self.presence.forget(self._opened // CHUNK, self.serving // CHUNK - 1)

    def _pause(self, reason: Reason, terms: Terms) -> int:
        """When to ask again then, microseconds from now, in whole seconds."""
        wait = 20 * SECOND
        if reason is Reason.NOT_OPEN:
            wait = min(wait, math.ceil((terms.opens_us - self.raw) / SECOND) * SECOND)
        return wait

    def _be_born(self, terms: Terms, memory: Remembered) -> None:
        self.born = True
        self.t = self.birth = self.full = self.raw
        self.epoch, self.server = max(1, memory.least), " ".join(memory.server.split()[:2])
        self.bucket = Bucket.full(terms.step, terms.cost, terms.burst, self.raw)
        if memory.epoch > 0:  # the store lost it: the bucket comes back empty, numbers go on, old seats are held free
            self.epoch, self.last, self.serving = memory.epoch, memory.last, memory.serving
            self.bucket.level = -RETURN * terms.step
            self.lost, self.lost_until = memory.inside, self.raw + terms.session_us
            self.drawn, self.seed, self.left = memory.drawn, memory.seed, memory.left
            self.presence.lose_sight(self.last)
            self._turn(max(memory.epoch + 1, memory.least))

    def _is_behind(self, memory: Remembered) -> bool:
        """The caller knows more than the store: a restart from an old copy, a failover to a replica that lagged behind, or a
        line that a forgetful gate began anew."""
        if memory.epoch != self.epoch:
            return memory.epoch > self.epoch
        if memory.birth not in ("", str(self.birth)):
            return True
        return memory.last > self.last or memory.admitted > self.admitted

    def _catch_up(self, memory: Remembered) -> None:
        self.last, self.serving = max(self.last, memory.last), max(self.serving, memory.serving)
        self.bucket.level, self.bucket.stamp = 0, self.t
        if memory.drawn > 0 or (self.drawn <= 0 and memory.seed != ""):  # the first draw is the one that counts
            self.drawn, self.seed = memory.drawn, memory.seed
        if self.left is None:
            self.left = memory.left
        self.presence.lose_sight(self.last)
        self._turn(memory.epoch + 1)

    def _may_have_lost(self, memory: Remembered, written: int) -> bool:
        """The line was last written, at ``written``, on another server: what that one said last may be lost without anybody
        here knowing it, a replica's promotion or a restart. Not where the keys moved from one node of a cluster to another:
        that loses nothing."""
        before, words = self.server.split(), memory.server.split()
        if not words or words[:2] == before:
            return False
        self.server = " ".join(words[:2])
        return before != [] and words[0] != before[0] and (before[1] in words[1:3] or written < int(words[3]))

    def _begin_anew(self, memory: Remembered) -> None:
        """What was given since then may be given again: in another epoch, and tokens not at all."""
        self.bucket.level, self.bucket.stamp = min(self.bucket.level, 0), self.t
        self._turn(max(self.epoch + 1, memory.least))

    def _turn(self, epoch: int) -> None:
        """A new epoch: what is numbered from now on stands behind everything numbered so far."""
        self.bases[self.epoch] = self.last, self.raw // 1000 - AWAY_ORIGIN
        self.epoch, self.base = epoch, self.last

    def _draw(self, terms: Terms) -> None:
        """Everybody numbered before the opening is drawn, once. From then on bits and marks are by place. -1: there was nobody,
        or nothing was promised before the opening, because the room got its draw when it had opened: who stands there keeps the
        place."""
        if not terms.draw or self.drawn > 0:
            return
        if self.raw < terms.opens_us:
            self.seed = self.seed or self.offer
            self.drawn = 0  # also where the opening was put off
            return
        if self.drawn == 0:
            self.drawn = self.last if self.seed and self.last > 0 else -1
            if self.drawn > 0:
                self.presence.draw(self.t, self.last)

    def _purge(self, terms: Terms) -> None:
        """Who leaves the door without a pass keeps the place for the room's grace."""
        if self.due.is_over(self.t - PATIENCE):
            patience = PATIENCE if self._runs_over(terms) else GRACE
            for id_ in self.due.take_before(self.t - patience, PURGE):
                place = self._places[id_]
                if place.is_integer() and place < BEHIND and (self.epoch, int(place)) not in self.knocked:
                    self.calls.went()
                self.gone.pop(id_, None)  # the oldest first
                self.gone[id_] = self.worked
                self._leave_the_door(id_)
        if self.seats.is_over(self.t - SEAT_SLACK):
            self.seats.take_before(self.t - SEAT_SLACK)
        if self.groups.known:
            self.groups.purge(self.t)

    # -- the bucket and the seats

    def _is_full(self) -> bool:
        return self.bucket.level >= self.bucket.burst * self.bucket.cost

    def _runs_over(self, terms: Terms) -> bool:
        """The bucket is full, and whatever waits now is a token lost. Where seats are what is scarce, nothing is lost by it;
        and just after the opening a full bucket is not for the quickest."""
        scarce = self._free_seats(terms) * self.bucket.cost < self.bucket.level
        return self._is_full() and not scarce and self.raw >= terms.opens_us + RETURN

    def _inside(self) -> int:
        return len(self.seats) + (self.lost if self.t < self.lost_until else 0)

    def _free_seats(self, terms: Terms) -> float:
        return math.inf if terms.active is None else terms.active - self._inside()

    def _admit(self, id_: str, terms: Terms) -> None:
        self.bucket.take()
        self.admitted += 1
        self.flow += 1
        self.seats[id_] = self.t + terms.session_us

    def _is_spent(self, id_: str, epoch: int, number: int) -> bool:
        return (id_ if number >= AWAY else (epoch, number)) in self.spent

    def _mark_spent(self, id_: str, epoch: int, number: int) -> None:
        self.spent.add(id_ if number >= AWAY else (epoch, number))

    def _mark_knocked(self, epoch: int, place: int) -> bool:
        """True the first time."""
        first = (epoch, place) not in self.knocked
        self.knocked.add((epoch, place))
        return first

    def _leave_the_door(self, id_: str) -> None:
        del self._door[bisect_left(self._door, (self._places.pop(id_), id_))]
        self.due.pop(id_, None)

    # -- calling

    def _call_ahead(self, terms: Terms) -> None:
        """Moves ``serving`` so that enough present visitors stand at the door, however few of those called come."""
        invited = self.groups.uncalled > 0
        if terms.refusal(self.raw) is not None or (self.last == self.serving and not invited):
            return
        look = max(2.0, LOOK * terms.per_second)
        room, common = self.bucket.level // self.bucket.cost + look, self.ready
        if terms.active is not None:
            free = max(0.0, self._free_seats(terms))
            room = min(room, free + min(look, max(2.0, LOOK * self._turnover(terms.active, terms))))
        if self.groups.known:
            part, common = self._call_groups(room, terms)
            room *= part
        want = room - common - self.calls.on_the_way()
        if want > 0:
            self._call_common(want, self.present_share, terms)

    def _turnover(self, active: int, terms: Terms) -> float:
        """Seats a second that may become free: twice as many as were lately taken, and as many as sessions end."""
        return max(active * SECOND / terms.session_us, 2 * self.flow / TURNOVER)

    def _call_up_to(self, number: int, count: int, known: int, sure: bool, present: float, terms: Terms) -> None:
        self.calls.call(self.serving, number, count, known, sure, hearing(number - self.through, present, terms))
        self.serving = number

    def _call_fresh(self, want: float, limit: int, present: float, terms: Terms) -> float:
        """Numbers up to ``limit`` of whom nothing is known. How many are expected to come."""
        here, seen = self.calls.share, self.calls.counted
        upto = min(limit, self.serving + math.ceil(want / here))
        # no more than are wanted of those who are known to be present
        upto, known = self.presence.nth(self.serving, upto, math.ceil(want / seen))
        count = upto - self.serving
        self._call_up_to(upto, count, known, False, present, terms)
        return max(here * count, seen * known)

    def _call_seen(self, want: float, present: float, terms: Terms) -> float:
        """Those who have been seen again; the others are passed by."""
        seen = self.calls.counted
        upto, found = self.presence.nth(self.serving, self.presence.settled, math.ceil(want / seen))
        self.presence.seen = max(0, self.presence.seen - found)
        self._call_up_to(upto, found, found, True, present, terms)
        return seen * found

    def _call_common(self, want: float, present: float, terms: Terms) -> float:
        """From the common line. How many are expected to come; 0: there is nobody."""
        short = want
        blind, settled = self.presence.blind, self.presence.settled
        if self.serving < blind:
            short -= self._call_fresh(short, blind, present, terms)
        if short > 0 and blind <= self.serving < settled:
            short -= self._call_seen(short, present, terms)
        if short > 0 and max(blind, settled) <= self.serving < self.last:
            short -= self._call_fresh(short, self.last, present, terms)
        return want - short

    def _call_groups(self, room: float, terms: Terms) -> tuple[float, int]:
        """So that of ``room`` people in all each group has its part. What part is left to the common line, and how many of
        that are at the door."""
        lanes, total, common = [], 0.0, self.ready
        for group in self.groups.known:
            standing, present = self._in_lane(group, terms), group.share(self.t)
            here, (_, share) = standing + group.on_the_way(present), lane_of(group, terms)
            common -= standing
            if here > 0 or group.last > group.serving:
                lanes.append((group, here, standing + len(group.called), present, share))
                total += share
        if self.last > self.serving or common > 0:
            total += common_share(terms)
        for group, here, ahead, present, share in lanes:
            many = min(group.last - group.serving, math.ceil((room * share / total - here) / present))
            if many > 0:
                most, heard = (self.t + hearing(many + ahead, told, terms) for told in (present, 1))
                self.groups.call(group, many, self.t, most, heard)
        return common_share(terms) / total if total else 1.0, common

    # -- the lanes of groups at the door

    def _in_lane(self, group: Group, terms: Terms) -> int:
        first, _ = lane_of(group, terms)
        return bisect_left(self._door, (first + LANE, "")) - bisect_left(self._door, (first, ""))

    def _in_front(self) -> float:
        """A place before all numbers, behind those who have one already."""
        before = bisect_left(self._door, (1.0, ""))
        return self._door[before - 1][0] + 1 / 1048576 if before else 1 / 4

    def _promote(self, group: Group, terms: Terms) -> None:
        """Whom the group is owed an admission goes to the front."""
        while group.credit >= 1:
            first, _ = lane_of(group, terms)
            index = bisect_left(self._door, (first, ""))
            if index == len(self._door) or self._door[index][0] >= first + LANE:
                group.credit = 0.0
                return
            self._put(self._door[index][1], self._in_front())
            group.credit -= 1

    def _settle_up(self, terms: Terms, mine: Group | None = None) -> None:
        """After an admission: ``mine`` is the group that took it out of turn; None: it was the common line's."""
        for group in self.groups.known:
            if group is mine:
                group.credit = max(group.credit - 1, float(-terms.burst))
            elif mine is None:
                group.credit += lane_of(group, terms)[1] / common_share(terms)
                if group.credit >= 1:
                    self._promote(group, terms)

    def _put(self, id_: str, place: float) -> None:
        stood = self._places.get(id_)
        if stood == place:
            return
        if stood is not None:
            del self._door[bisect_left(self._door, (stood, id_))]
        self._places[id_] = place
        insort(self._door, (place, id_))
