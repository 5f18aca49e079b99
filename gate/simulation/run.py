"""The event loop: visitors join, look, knock, give up, shop and leave."""

import gc
import heapq
import math
import random
from array import array
from collections.abc import Callable

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.decide import STORE_RETRY, is_called, until_opening
from gate.core.decision import Decision
from gate.core.ledger import Word
from gate.core.line import AWAY, GROUPED, group_turn
from gate.core.snapshot import RoomView
from gate.core.wait import FAR, JITTER, NEAR, PAUSED, SHARE, outlook_of, place_of, poll_policy
from gate.core.words import Outcome, Reason
from gate.simulation.agenda import Agenda
from gate.simulation.desk import TICK, Desk, Worker
from gate.simulation.log import WINDOW, Log, Sample
from gate.simulation.people import ENTERED, FULL, GHOST, HIDDEN, LEFT, OVER, PAGE, PROGRAM, SCRIPT, WAITS, People
from gate.simulation.sale import START, Sale
from gate.store.line import HOLD, HOLD_MOST
from gate.web.standing import retry_after, state_of

STEP = 0.5  # seconds: the page's script sees so often whether it is time
ASLEEP = 60.0  # a browser lets the timers of a hidden tab run once a minute (Chrome, since 88)
ATTENTION = 60.0  # seconds until somebody looks at a tab that has rung, on average
TOLD_EVERY = 4.0  # seconds between two batches of those who were seen again; in the gate half a second, here it is time
BEATS = 256  # steps of visitors a second: those that fall together find the ledger as it was a moment ago; but in a bucket of
STEADY_BURST = 1.0  # less than so many seconds of rate the token of a moment ago is lost
BEAT = 1.0  # seconds between two calls ahead while nobody looks


def simulate(sale: Sale) -> Log:
    """Runs the sale until nobody waits any more, at most for ``sale.limit`` seconds after the last arrival.

    Meanwhile Python does not look for cycles among a million visitors' steps, of which there are none.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return Run(sale).run()
    finally:
        if collects:
            gc.enable()


class Run:
    def __init__(self, sale: Sale) -> None:
        rng = random.Random(sale.seed)  # noqa: S311 - a crowd, not a key
        people = People(sale, rng)
        self.sale, self.people, self.rng = sale, people, rng
        self.log = Log(sale, people)
        self.desk = Desk(sale, rng)
        self._agenda = Agenda()
        self._standing: list[int] = [-1]  # who has a number, by number
        self._lanes: dict[int, list[int]] = {}  # who has a turn in a group, by its tag and the turn
        self._lanes_woken: dict[int, int] = {}
        self._greetings: dict[int, list[int]] = {}  # whose page asks for its ticket again, by the second
        self._told_at = -TOLD_EVERY
        self._drawn: RoomView | None = None  # since the draw
        self._held: dict[int, tuple[Worker, float]] = {}
        self.there = 0  # visitors who wait
        self._leavers = sorted(
            ((at, who) for who, at in enumerate(people.leaves) if at < math.inf and people.kind[who] != GHOST), reverse=True
        )
        self._beat = TICK if sale.exact else BEAT
        self._ticks = [(number * self._beat / sale.workers, number) for number in range(sale.workers if sale.exact else 1)]
        self._awake = bytearray(kind == GHOST for kind in people.kind)  # whose next look is known; a ghost has none
        self._woken = 0  # everybody up to here has been called, and will look
        self._paused = -math.inf  # pages were told to pause until then
        self._at_beats = not sale.exact and sale.terms.burst >= STEADY_BURST * sale.terms.per_second
        self._way = sale.delay[0], sale.delay[1] - sale.delay[0]

    # -- the loop

    def run(self) -> Log:
        people, agenda, ticks, came = self.people, self._agenda, self._ticks, self.people.came
        self._plan()
        joined, count, second = 0, len(people), 0.0
        limit = self.sale.curve.end + self.sale.limit
        while self.log.over is None and second < limit and (self.there > 0 or joined < count):
            comes = came[joined] if joined < count else math.inf
            happens = agenda.next_at()
            if ticks[0][0] <= min(comes, happens):
                second, number = ticks[0]
                heapq.heapreplace(ticks, (second + self._beat, number))
                self._tick(second, number)
            elif comes <= happens:
                second = comes
                self._join(second, joined)
                joined += 1
            else:
                second, _, event, who = agenda.take()
                event(second, who)
            while self._leavers and self._leavers[-1][0] <= second:
                self._leave(self._leavers.pop()[1])
            if not self.sale.exact and self.desk.serving > self._woken:
                self._wake(second)
            if self._lanes and not self.sale.exact and not self.desk.away:
                self._wake_lanes(second)
        self.log.end = second
        for who in range(joined):
            if people.fate[who] == WAITS and self.log.over is not None:
                people.fate[who] = OVER
        return self.log

    def _plan(self) -> None:
        if self.sale.closes is not None:
            self._then(self.sale.closes, self._close)
        outage = self.sale.outage
        if outage is not None:
            policy = self.sale.without_store
            self._then(outage.at, lambda _now, _who: self.desk.lose_the_store())
            if policy.then == "local" and policy.closed < outage.seconds:
                self._then(outage.at + policy.closed, lambda now, _who: self.desk.go_on_alone(now))
            self._then(outage.at + outage.seconds, self._store_is_back)

    def _then(self, second: float, event: Callable[[float, int], None], who: int = -1) -> None:
        self._agenda.put(second, event, who)

    def _at(self, second: float, event: Callable[[float, int], None], who: int) -> None:
        """A visitor's next step; there is one at a time."""
        self._awake[who] = True
        self._then(math.ceil(second * BEATS) / BEATS if self._at_beats else second, event, who)

    def _on_the_way(self) -> float:
        return self._way[0] + self.rng.random() * self._way[1]

    # -- the gate by itself

    def _tick(self, now: float, number: int) -> None:
        worker = self.desk.workers[number]
        if self.sale.exact:
            self.desk.tick(now, worker)
        else:
            self.desk.view(now, worker)
        self._sample(now, worker.view)
        if self._greetings and now >= self._told_at + TOLD_EVERY * (not self.sale.exact):
            self._told_at = now
            self._greet(now)
        if worker.view.drawn > 0 and self._drawn is None:
            self._take_drawn_turns(now, worker.view)

    def _take_drawn_turns(self, now: float, view: RoomView) -> None:
        """The draw is over: everybody who came before has another turn, and a page that looks again."""
        people, standing = self.people, self._standing
        drawn = [who for who in standing[1 : view.drawn + 1] if who >= 0]
        standing[1 : view.drawn + 1] = [-1] * view.drawn
        self._drawn, self.log.turns = view, array("d", people.came)
        for who in drawn:
            self._put_in_line(who, people.number[who])
            if people.fate[who] == WAITS and people.kind[who] != GHOST:
                self._will_be_seen(now, who, PAUSED)

    def _sample(self, now: float, view: RoomView) -> None:
        nearly = (1 + WINDOW * view.per_second) if view.active is not None else 0
        full = view.active is not None and view.inside + nearly > view.active
        limited = full or self.desk.away or START + now < view.opens
        self.log.samples.append(Sample(now, self.there, view.waiting, view.inside, limited))

    def _close(self, _now: float, _who: int) -> None:
        self.log.over = Reason.SALE_OVER

    def _store_is_back(self, now: float, _who: int) -> None:
        self.desk.find_the_store(now)
        self._paused = now + PAUSED * (1 + JITTER)
        for who in self._standing[self.desk.ledger.last + 1 :]:  # given out, and forgotten: only the store knows their turn
            if who >= 0 and not self._awake[who]:
                self._look_in(now, who, None)
        for lane in self._lanes.values():  # and so are the turns of all groups
            for who in lane:
                if who >= 0 and not self._awake[who]:
                    self._look_in(now, who, None)
        self._lanes, self._lanes_woken = {}, {}

    # -- joining

    def _join(self, now: float, who: int) -> None:
        self.there += self.people.kind[who] != GHOST
        self._come(now, who)

    def _come(self, now: float, who: int) -> None:
        people = self.people
        group = people.group[who]
        word = self.desk.invite(now, str(who), self.sale.invited[group - 1][0]) if group else self.desk.join(now, str(who))
        if word is None:  # the link is tried again
            if people.fate[who] == WAITS:
                self._then(now + STORE_RETRY * (1 + JITTER * self.rng.random()), self._come, who)
            return
        if word.status == "full":
            people.fate[who] = FULL
            self.there -= people.kind[who] != GHOST
            return
        number = word.number
        self._stand(who, word)
        if word.status == "entered":
            self._entered(now, who)
            return
        if people.kind[who] == GHOST:
            if word.reason in (Reason.LINE, Reason.NOT_OPEN) and 0 < self.sale.ghosts_seen > self.rng.random():
                self._will_be_seen(now, who, max(6.0, number / 1000))
            return
        people.loaded[who] = now + self._on_the_way()
        if group:
            if self.sale.exact or word.reason is not Reason.LINE:
                self._answer(now, who, self.desk.any_worker(), word)
            return
        if word.reason in (Reason.LINE, Reason.NOT_OPEN):
            self._will_be_seen(now, who, max(6.0, number / 1000) if people.kind[who] in (SCRIPT, HIDDEN) else FAR)
        if self.sale.exact or word.reason not in (Reason.LINE, Reason.NOT_OPEN) or number >= AWAY:
            self._answer(now, who, self.desk.any_worker(), word)
        elif people.turn[who] <= self._woken:  # called as it came
            self._look_in(now, who, 0.0)

    def _will_be_seen(self, now: float, who: int, spread: float) -> None:
        """The page soon asks for its own ticket, which tells the gate that somebody is there."""
        at = int(now + NEAR + spread * self.rng.random()) + 1
        if at < self.people.leaves[who]:
            self._greetings.setdefault(at, []).append(who)

    def _greet(self, now: float) -> None:
        """The store is told in batches."""
        while self._greetings and not self.desk.away:
            at = min(self._greetings)
            if at > now:
                return
            people, serving = self.people, self.desk.ledger.serving
            turns = [people.turn[who] for who in self._greetings.pop(at) if people.fate[who] == WAITS]
            self.desk.present(now, [turn for turn in turns if serving < turn < AWAY])

    def _leave(self, who: int) -> None:
        if self.people.fate[who] == WAITS:
            self.people.fate[who] = LEFT
            self.there -= 1

    def _wake(self, now: float) -> None:
        """Those who have just been called hear of it when they look next."""
        view = self.desk.workers[0].view
        outlook = outlook_of(view)
        upto, standing = self.desk.serving, self._standing
        before = 1 + view.serving - outlook.at_door
        for number in range(self._woken + 1, min(upto, len(standing) - 1) + 1):
            who = standing[number]
            if who >= 0 and not self._awake[who]:
                ahead = max(0, number - before)
                self._look_in(now, who, outlook.wait(ahead)[0])
        self._woken = upto

    def _wake_lanes(self, now: float) -> None:
        """The same for the groups; who is called there was next in line at the last look."""
        for group in self.desk.ledger.groups.known:
            woken = self._lanes_woken.get(group.tag, 0)
            if group.serving > woken:
                self._lanes_woken[group.tag] = group.serving
                for who in self._lanes[group.tag][woken + 1 : group.serving + 1]:
                    if not self._awake[who]:
                        self._look_in(now, who, 0.0)

    def _look_in(self, now: float, who: int, low: float | None) -> None:
        """When a visitor that has been waiting, and whose wait is ``low`` seconds now, looks next: somewhere in the interval
        that its last look began, when the wait was longer by what has gone of it."""
        people, draw = self.people, self.rng.random
        kind, part, stretch = people.kind[who], draw(), 1 + JITTER * draw()
        refreshes = kind in (PAGE, PROGRAM)
        seconds = self._longest(kind)
        opened = now - self.sale.opens if self.sale.opens is not None else math.inf
        if opened < 2 * PAUSED and people.came[who] < now - opened:  # the page counts down, and looks spread out
            last = 0.0 if kind == SCRIPT else PAUSED * part * JITTER
            wait = seconds * draw() if kind in (SCRIPT, HIDDEN) else last
            self._at(now + max(0.0, wait - opened) + self._on_the_way(), self._ask if refreshes else self._look, who)
            return
        if low is not None and now > self._paused:
            seconds = min(seconds, max(NEAR, SHARE * low / (1 - SHARE * part)))
        elif refreshes:
            seconds = PAUSED
        if refreshes:
            wait = math.ceil(seconds * stretch) * (1 - part)
        elif kind == HIDDEN:
            wait = ASLEEP * draw()
        else:
            wait = seconds * stretch * (1 - part) + STEP * draw()
        wait = max(wait, people.came[who] + NEAR - now)  # one who has just come
        at = now + max(0.0, wait)
        if at < people.leaves[who]:
            self._at(at + self._on_the_way(), self._ask if refreshes else self._look, who)

    def _longest(self, kind: int) -> float:
        """Seconds between two looks of one who is far away."""
        if kind in (PAGE, PROGRAM):
            return FAR
        policy = poll_policy(self.desk.workers[0].view.waiting, self.sale.polls)
        return policy["hidden"] if kind == HIDDEN else policy["far"]

    # -- a visitor

    def _look(self, now: float, who: int) -> None:
        """The page's script reads the shared status document."""
        people = self.people
        if people.fate[who] != WAITS:
            return
        kind, back = people.kind[who], now + self._on_the_way()
        seconds = self._longest(kind)
        if not self.desk.away or self.desk.local:
            view = self.desk.paper(now)
            if self._called(who, view):  # nobody goes in behind the visitor's back: a hidden tab rings
                comes = self.rng.expovariate(1 / ATTENTION) if kind == HIDDEN else 0.0
                self._at(back + comes + self._on_the_way(), self._ask, who)
                return
            place = place_of(self._ticket(who), view)
            if place is not None and place.low is not None:
                seconds = min(seconds, max(NEAR, place.low * SHARE))
                self._show(who, place.ahead)
        self._script(back, who, back + seconds * (1 + JITTER * self.rng.random()), called=False)

    def _ask(self, now: float, who: int) -> None:
        """A visitor with a ticket asks for what the room guards, or for its pass."""
        if self.people.fate[who] != WAITS:
            return
        desk, worker = self.desk, self.desk.any_worker()
        if desk.away and not desk.local:
            self._answer(now, who, worker, Word("waiting", 0, 0, 0, 0, round(STORE_RETRY * SECOND), Reason.STORE))
        elif START + now < desk.terms.opens:
            wait = until_opening(worker.view.opens, START + now)
            self._answer(now, who, worker, Word("waiting", 0, 0, 0, 0, round(wait * SECOND), Reason.NOT_OPEN))
        elif self._called(who, desk.view(now, worker)):
            self.people.knocked[who] = min(self.people.knocked[who], now)
            self._knock(now, who, worker, now + HOLD_MOST)
        else:
            self._answer(now, who, worker, None)

    def _called(self, who: int, view: RoomView) -> bool:
        people = self.people
        number = people.number[who]
        if number >= AWAY:
            return is_called(self._ticket(who), view)
        if not view.draw or number <= view.drawn or START + people.came[who] >= view.opens:
            return view.has_called(people.turn[who], people.epoch[who])
        return False  # waits for the draw

    def _knock(self, now: float, who: int, worker: Worker, until: float) -> None:
        """A claim, and more of them while its token is due in a moment: the gate holds the request so long
        (:meth:`gate.store.line.Line.claim`)."""
        self.log.claims += 1
        word = self._claim(now, who, worker)
        due = now + word.due / SECOND + 0.001
        if word.status == "waiting" and word.reason is Reason.RATE and due <= now + HOLD and due <= until:
            self._held[who] = worker, until
            self._at(due + 0.004 * self.rng.random(), self._knock_again, who)
        else:
            if worker.stand_in is not None:
                self.desk.end(worker, self._ticket(who))
            self._answer(now, who, worker, word)

    def _knock_again(self, now: float, who: int) -> None:
        worker, until = self._held.pop(who)
        if self.people.fate[who] == WAITS:
            self._knock(now, who, worker, until)

    def _claim(self, now: float, who: int, worker: Worker) -> Word:
        word = self.desk.claim(now, worker, self._ticket(who), self.people.turn[who])
        if word.number not in (0, self.people.number[who]):  # it came too late, and stands at the end of the line again
            self._stand(who, word)
        return word

    def _stand(self, who: int, word: Word) -> None:
        people = self.people
        people.number[who] = people.turn[who] = word.number
        people.epoch[who] = word.epoch
        if word.number < AWAY:
            self._put_in_line(who, word.number)
        elif word.number >= GROUPED:
            tag, turn = group_turn(word.number)
            lane = self._lanes.setdefault(tag, [-1])
            lane.extend([-1] * (turn + 1 - len(lane)))
            lane[turn] = who

    def _put_in_line(self, who: int, number: int) -> None:
        """Also one who came when the draw was over can have a number that was drawn: its block was leased before."""
        standing, view, turn = self._standing, self._drawn, number
        if view is not None and number <= view.drawn:
            turn = self.people.turn[who] = view.turn_of(number)
            if self.log.turns is not None and self.sale.opens is not None:
                self.log.turns[who] = self.sale.opens * turn / view.drawn
        standing.extend([-1] * (turn + 1 - len(standing)))
        standing[turn] = who

    def _answer(self, now: float, who: int, worker: Worker, word: Word | None) -> None:
        """``word`` None: not called yet."""
        people = self.people
        if word is not None and word.status == "entered":
            self._entered(now, who)
            return
        if people.kind[who] == GHOST:
            return
        reason, wanted = (word.reason, word.ask / SECOND) if word else (Reason.LINE, None)
        if wanted is not None and reason in (Reason.RATE, Reason.ACTIVE) and not self.sale.exact:
            seconds, called = wanted, True
        else:
            ticket = self._ticket(who)
            decision = Decision(Outcome.WAIT, reason, room="room", ticket=ticket, retry_after=wanted)
            place = place_of(ticket, worker.view)
            state = state_of(decision, place)
            seconds = round(retry_after(decision, place, state, self.rng.random()), 2)
            called = state == "called"
            self._show(who, place.ahead if place is not None else None)
        back = now + self._on_the_way()
        if people.kind[who] in (SCRIPT, HIDDEN):
            self._script(back, who, back + seconds, called=called)
        else:
            whole = math.ceil(seconds) if people.kind[who] == PROGRAM else max(2, math.ceil(seconds))
            self._at(back + whole + self._on_the_way(), self._ask, who)

    def _script(self, now: float, who: int, due: float, *, called: bool) -> None:
        """The page's script (``static/waiting.js``) sees every half second whether it is time; hidden, every minute."""
        loaded = self.people.loaded[who]
        step = ASLEEP if self.people.kind[who] == HIDDEN and not called else STEP
        at = max(now, loaded + math.ceil((due - loaded) / step) * step)
        self._at(at + self._on_the_way(), self._ask if called else self._look, who)

    def _show(self, who: int, ahead: int | None) -> None:
        if ahead is not None:
            shown = self.people.shown[who]
            if 0 <= shown < ahead:
                self.log.grown = max(self.log.grown, ahead - shown)
            self.people.shown[who] = ahead

    def _ticket(self, who: int) -> Ticket:
        people = self.people
        return Ticket("room", people.epoch[who], people.number[who], int((START + people.came[who]) * 1000), str(who))

    # -- inside

    def _entered(self, now: float, who: int) -> None:
        self.people.fate[who], self.people.entered[who] = ENTERED, now
        self.there -= self.people.kind[who] != GHOST
        self.log.admitted.append((round(now * SECOND), who))
        self.log.most_inside = max(self.log.most_inside, len(self.desk.ledger.seats))
        if self.people.kind[who] == GHOST:
            return
        stays = self.rng.expovariate(1 / self.sale.stay)
        half = self.desk.terms.session / 2
        for renewal in range(1, int(stays / half) + 1):
            self._then(now + renewal * half, lambda then, who: self.desk.renew(then, str(who)), who)
        if self.rng.random() < self.sale.buy:
            self._then(now + stays, self._buys, who)

    def _buys(self, now: float, who: int) -> None:
        self.desk.release(now, str(who))
        self.log.sold += 1
        if self.log.sold == self.sale.stock:
            self.log.over = Reason.SOLD_OUT
