"""A crowd before the pure ledger, in virtual time: it joins, does as the pages tell it, gives up, and is logged at the door.

Three kinds of visitors come: browsers that run the page's script (they look at the shared status document, which a cache may
keep for a second, and check every second whether it is time), browsers without scripts (the page refreshes itself, after two
whole seconds at least) and programs (Retry-After, in whole seconds). They meet two workers, each with its own picture of the
room, taken four times a second.
"""

import heapq
import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.decision import Decision
from gate.core.ledger import Ledger, Word
from gate.core.line import Remembered, RoomState, Terms, Throughput
from gate.core.snapshot import RoomView
from gate.core.wait import JITTER, NEAR, place_of
from gate.core.words import Outcome, Reason
from gate.store.line import HOLD, HOLD_MOST, LINE_RETRY
from gate.web.standing import retry_after, state_of

START = 10**15  # the store's clock at second 0
NOTHING = Remembered()
KINDS = ("script", "page", "program")


@dataclass
class Worker:
    """One process of the gate: the store's last word, and the picture its answers are made from."""

    state: RoomState = field(default_factory=RoomState)
    view: RoomView = field(default_factory=lambda: RoomView("r"))
    seen: Throughput = field(default_factory=Throughput)
    noted: set[int] = field(default_factory=set)  # tickets seen again, for the next batch


@dataclass
class Visitor:
    came: float = 0.0
    kind: str = "program"
    ghost: bool = False
    ticket: Ticket | None = None
    entered: float | None = None
    left: bool = False
    greeted: bool = False
    knocked: float | None = None
    shown: list[int] = field(default_factory=list)  # people ahead, as it was told each time


@dataclass
class Crowd:
    """``ghosts``: the share that never comes back after joining. ``leave``: the share that gives up at every return.

    ``arrive``: seconds in which all come; ``bursts``: the moments at which they come, in seconds, instead.
    """

    terms: Terms
    size: int
    ghosts: float = 0.0
    leave: float = 0.0
    arrive: float = 2.0
    bursts: tuple[float, ...] = ()
    kinds: tuple[str, ...] = KINDS
    delay: tuple[float, float] = (0.005, 0.08)  # of the network, one way
    tick: float = 0.25
    seed: int = 1
    visitors: list[Visitor] = field(default_factory=list)
    admitted: list[tuple[float, int]] = field(default_factory=list)  # (second, visitor)
    waiting: list[tuple[float, int, int]] = field(default_factory=list)  # (second, as the room says, as it is)
    most_inside: int = 0
    claims: int = 0

    def run(self, seconds: float) -> "Crowd":
        self._rng, self._ledger = random.Random(self.seed), Ledger()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._workers = [Worker(), Worker()]
        self._document = (-10.0, RoomView("r"))
        rng = self._rng
        self.visitors = [Visitor(kind=rng.choice(self.kinds), ghost=rng.random() < self.ghosts) for _ in range(self.size)]
        for who in range(self.size):
            second = rng.choice(self.bursts) + rng.random() * 0.5 if self.bursts else rng.random() * self.arrive
            self._at(second, lambda now, who=who: self._join(now, who))  # type: ignore[misc]
        for number, worker in enumerate(self._workers):
            for beat in range(int(seconds / self.tick)):
                self._at((beat + number / 2) * self.tick, lambda now, worker=worker: self._tick(now, worker))  # type: ignore[misc]
        while self._events:
            second, _, event = heapq.heappop(self._events)
            if second > seconds:
                break
            event(second)
        return self

    # -- the gate

    def _at(self, second: float, event: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (second, self._order, event))

    def _tick(self, now: float, worker: Worker) -> None:
        state = self._ledger.tick(_store(now), self.terms, NOTHING)
        if worker.noted:
            self._ledger.present(_store(now), self.terms, NOTHING, worker.noted)
            worker.noted.clear()
        pace = worker.seen.measure(now, state.admitted, standing=state.waiting > 0)
        worker.state = state
        worker.view = RoomView(
            "r",
            amount=self.terms.amount,
            period=self.terms.period,
            burst=self.terms.burst,
            active=self.terms.active,
            **{name: getattr(state, name) for name in ("epoch", "serving", "last", "waiting", "through", "inside")},
            tokens=state.tokens,
            present=state.present,
            admitted_per_second=pace,
        )
        there = [each for each in self.visitors if each.ticket and each.entered is None and not each.ghost and not each.left]
        self.waiting.append((now, state.waiting, len(there)))

    def _join(self, now: float, who: int) -> None:
        visitor, worker = self.visitors[who], self._rng.choice(self._workers)
        visitor.came = now
        if worker.state.last > worker.state.serving:
            number, epoch = self._ledger.lease(_store(now), self.terms, NOTHING, 1)
            word = Word("waiting", number, epoch, 0, 0, round(LINE_RETRY * SECOND), Reason.LINE)
        else:
            word = self._ledger.enter(_store(now), self.terms, NOTHING, str(who))
        worker.state = self._ledger.state()
        visitor.ticket = Ticket("r", word.epoch, word.number, 0, str(who))
        self._answer(now, who, worker, word)

    def _ask(self, now: float, who: int) -> None:
        """A visitor with a ticket asks for what the room guards."""
        visitor, worker = self.visitors[who], self._rng.choice(self._workers)
        assert visitor.ticket is not None
        if visitor.entered is not None:
            return
        if self._rng.random() < self.leave:
            visitor.left = True
            return
        if visitor.ticket.number <= worker.view.serving:
            visitor.knocked = visitor.knocked or now
            self._claim(now, who, worker, now + HOLD_MOST)
        else:
            worker.noted.add(visitor.ticket.number)
            self._answer(now, who, worker, None)

    def _claim(self, now: float, who: int, worker: Worker, until: float) -> None:
        ticket = self.visitors[who].ticket
        assert ticket is not None
        self.claims += 1
        word = self._ledger.claim(_store(now), self.terms, NOTHING, ticket)
        worker.state = self._ledger.state()
        due = now + word.due / SECOND + 0.001
        if word.status == "waiting" and word.reason is Reason.RATE and due <= min(now + HOLD, until):
            self._at(due + self._rng.uniform(0, 0.004), lambda then: self._claim(then, who, worker, until))
        else:
            self._answer(now, who, worker, word)

    def _answer(self, now: float, who: int, worker: Worker, word: Word | None) -> None:
        """``word`` None: not called yet."""
        visitor = self.visitors[who]
        if word is not None and word.status != "waiting":
            assert word.status == "entered"
            visitor.entered = now
            self.admitted.append((now, who))
            self.most_inside = max(self.most_inside, len(self._ledger.seats))
            return
        if visitor.ghost:
            return
        reason, wanted = (word.reason, word.ask / SECOND) if word else (Reason.LINE, None)
        decision = Decision(Outcome.WAIT, reason, room="r", ticket=visitor.ticket, retry_after=wanted)
        place = place_of(visitor.ticket, worker.view) if visitor.ticket else None
        assert place is not None
        visitor.shown.append(place.ahead)
        state = state_of(decision, place)
        seconds = round(retry_after(decision, place, state, self._rng.random()), 2)
        back = now + self._way()
        if visitor.kind == "script":
            if not visitor.greeted:  # once, the page asks for itself
                visitor.greeted = True
                number = visitor.ticket.number if visitor.ticket else 0
                self._at(back + self._rng.uniform(2, 8), lambda then: self._rng.choice(self._workers).noted.add(number))
            self._script(back, who, back, back + seconds, state)
        else:
            whole = math.ceil(seconds) if visitor.kind == "program" else max(2, math.ceil(seconds))
            self._at(back + whole + self._way(), lambda then: self._ask(then, who))

    # -- the page's script (static/waiting.js)

    def _script(self, now: float, who: int, loaded: float, due: float, state: str) -> None:
        at = max(now, loaded + math.ceil(due - loaded))
        if state == "called":
            self._at(at + self._way(), lambda then: self._ask(then, who))
        else:
            self._at(at + self._way(), lambda then: self._look(then, who, loaded))

    def _look(self, now: float, who: int, loaded: float) -> None:
        visitor, rng = self.visitors[who], self._rng
        if now - self._document[0] >= 1:
            self._document = (now, rng.choice(self._workers).view)
        view, back = self._document[1], now + self._way()
        assert visitor.ticket is not None
        if visitor.ticket.number <= view.serving:
            self._at(back + self._way(), lambda then: self._ask(then, who))
            return
        place = place_of(visitor.ticket, view)
        assert place is not None
        assert place.low is not None
        visitor.shown.append(place.ahead)
        seconds = min(30.0, max(NEAR, place.low * 0.15)) * (1 + JITTER * rng.random())
        self._script(back, who, loaded, back + seconds, "line")

    def _way(self) -> float:
        return self._rng.uniform(*self.delay)

    # -- what an outsider measures

    @property
    def excess(self) -> Fraction:
        """The most by which any window holds more admissions than burst + rate * window; exact."""
        least, most = None, Fraction(-(10**9))
        for index, (second, _) in enumerate(self.admitted):
            line = index - Fraction(self.terms.step, self.terms.cost) * round(second * SECOND)
            least = line if least is None else min(least, line)
            most = max(most, line - least + 1 - self.terms.burst)
        return most

    def used(self, window: float = 10.0, start: float = 0.0) -> float:
        """The least share of the rate used in any ``window`` seconds from ``start`` on in which somebody present waited all the
        time. One visitor more or less is where the window begins. 1 when nobody waited so long."""
        times = [second for second, _ in self.admitted]
        idle = [second for second, _, there in self.waiting if there == 0]
        least, end = 1.0, self.waiting[-1][0]
        while start + window <= end:
            if bisect_left(idle, start) == bisect_left(idle, start + window):
                within = bisect_left(times, start + window) - bisect_left(times, start)
                least = min(least, (within + 1) / (self.terms.per_second * window))
            start += 0.5
        return least

    def overtaken(self, by: float = 1.0) -> tuple[int, int, float]:
        """Of visitors who came more than ``by`` seconds later: how many pairs entered in the wrong order, the most who
        overtook one visitor, and the most seconds by which."""
        entered = [each for each in self.visitors if each.entered is not None]
        entered.sort(key=lambda each: each.entered or 0.0)
        pairs, most, longest = 0, 0, 0.0
        for index, early in enumerate(entered):
            assert early.entered is not None
            past = [late for late in entered[:index] if late.came > early.came + by]
            if past:
                pairs, most = pairs + len(past), max(most, len(past))
                longest = max(longest, early.entered - min(late.entered or 0.0 for late in past))
        return pairs, most, longest

    @property
    def grown(self) -> int:
        """The most by which the place shown to one visitor grew from one answer to the next."""
        steps = (b - a for each in self.visitors for a, b in zip(each.shown, each.shown[1:], strict=False))
        return max(steps, default=0)

    @property
    def mix(self) -> Counter[str]:
        return Counter(each.kind for each in self.visitors)


def _store(second: float) -> int:
    return START + round(second * SECOND)
