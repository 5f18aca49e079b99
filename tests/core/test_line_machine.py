"""A line and whatever can happen to it, in any order: the laws hold after every step.

The store is the pure ledger, which a differential test holds to the scripts. Time is the shop's own; the store's may be set.
"""

from copy import deepcopy
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger, Word
from gate.core.line import Remembered, Terms
from gate.core.words import RoomMode
from gate.demo.journal import excess
from gate.store.memory import Memory

BEGIN = 10**15


class Line(RuleBasedStateMachine):
    @initialize(
        amount=st.sampled_from([1, 3, 7, 100]),
        period=st.sampled_from([1, 7, 60]),
        burst=st.sampled_from([1, 3, 20]),
        active=st.sampled_from([None, 2, 5]),
    )
    def begin(self, amount: int, period: int, burst: int, active: int | None) -> None:
        self.now, self.clock = BEGIN, 0  # microseconds; and by how much the store's clock is off
        self.terms = Terms(amount, period, burst, active, session=60.0)
        self.ledger, self.copy = Ledger(), Ledger()
        self.known, self.heard = Memory(), -1
        self.tickets: list[Ticket] = []
        self.admitted: dict[str, float] = {}  # id -> when its visitor came to the shop first, seconds
        self.over: dict[str, int] = {}  # id -> when its pass is over, true time
        self.given: set[tuple[int, int]] = set()

    # -- the gates

    def _call(self) -> tuple[int, Terms, Remembered]:
        """What a gate hands over with a call."""
        quiet = self.now - self.heard if self.heard >= 0 else -1
        return self.now + self.clock, self.terms, replace(self.memory, quiet=quiet)

    def _answered(self, *, lost: bool = False) -> None:
        if lost:
            return
        self.heard = self.now
        self.known.saw("r", self.ledger.state())

    @property
    def memory(self) -> Remembered:
        return self.known.of("r")

    def _entered(self, id_: str, word: Word, *, lost: bool) -> None:
        if word.status == "entered" and not lost:
            self.admitted.setdefault(id_, self.now / SECOND)
            self.over[id_] = self.now + 60 * SECOND

    @rule(lost=st.booleans())
    def enter(self, lost: bool) -> None:
        id_ = f"e{len(self.tickets)}"
        word = self.ledger.enter(*self._call(), id_)
        self._answered(lost=lost)
        if lost:
            return  # nobody holds that ticket
        self.tickets.append(Ticket("r", word.epoch, word.number, 0, id_))
        assert (word.epoch, word.number) not in self.given, "a number is given once"
        self.given.add((word.epoch, word.number))
        self._entered(id_, word, lost=lost)

    @rule(count=st.integers(1, 8))
    def lease(self, count: int) -> None:
        first, epoch = self.ledger.lease(*self._call(), count)
        self._answered()
        for number in range(first, first + count):
            assert (epoch, number) not in self.given, "a number is given once"
            self.given.add((epoch, number))
            self.tickets.append(Ticket("r", epoch, number, 0, f"l{len(self.tickets)}"))

    @precondition(lambda self: self.tickets)
    @rule(who=st.integers(0, 10**6), lost=st.booleans(), times=st.integers(1, 3))
    def claim(self, who: int, lost: bool, times: int) -> None:
        """``times`` at once; when the answers are lost, the visitor has not come in."""
        ticket = self.tickets[who % len(self.tickets)]
        before = self.ledger.admitted
        for _ in range(times):
            word = self.ledger.claim(*self._call(), ticket)
            self._answered(lost=lost)
            self._entered(ticket.id, word, lost=lost)
        assert self.ledger.admitted - before <= 1, "claims at once take one token"

    @precondition(lambda self: self.admitted)
    @rule(who=st.integers(0, 10**6))
    def renew(self, who: int) -> None:
        id_ = list(self.admitted)[who % len(self.admitted)]
        if self.over[id_] > self.now and self.ledger.renew(*self._call(), id_):
            self.over[id_] = self.now + 60 * SECOND
            self._answered()

    @precondition(lambda self: self.admitted)
    @rule(who=st.integers(0, 10**6))
    def release(self, who: int) -> None:
        id_ = list(self.admitted)[who % len(self.admitted)]
        self.ledger.release(*self._call(), id_)
        self._answered()
        self.over[id_] = self.now

    @rule()
    def tick(self) -> None:
        self.ledger.tick(*self._call())
        self._answered()

    # -- the world

    @rule(micros=st.sampled_from([1000, 100_000, SECOND, 3 * SECOND, 20 * SECOND, 70 * SECOND]))
    def time_passes(self, micros: int) -> None:
        self.now += micros

    @rule(hours=st.sampled_from([-1, 1]))
    def the_clock_is_set(self, hours: int) -> None:
        self.clock += hours * 3600 * SECOND

    @rule(mode=st.sampled_from([RoomMode.AUTO, RoomMode.AUTO, RoomMode.HOLD, RoomMode.CLOSED]))
    def the_operator_orders(self, mode: RoomMode) -> None:
        self.terms = replace(self.terms, mode=mode)

    @rule()
    def the_store_comes_back_empty(self) -> None:
        if self.memory.epoch:
            self.ledger = Ledger()

    @rule()
    def a_replica_is_kept(self) -> None:
        self.copy = deepcopy(self.ledger)

    @rule()
    def an_old_replica_takes_over(self) -> None:
        if self.copy.born:
            self.ledger = deepcopy(self.copy)

    # -- the laws

    @invariant()
    def the_bucket_is_the_law(self) -> None:
        times = sorted(self.admitted.values())
        assert excess(times, rate=self.terms.per_second, burst=self.terms.burst) <= 0.051 * self.terms.per_second + 1e-6

    @invariant()
    def no_seat_is_taken_twice(self) -> None:
        if self.terms.active is not None:
            assert sum(1 for end in self.over.values() if end > self.now) <= self.terms.active

    def teardown(self) -> None:
        """Whoever still waits gets in, when all is well again and they ask, and there are seats."""
        if not hasattr(self, "tickets") or not self.tickets:
            return
        self.terms = replace(self.terms, mode=RoomMode.AUTO, active=None)
        waiting = [ticket for ticket in self.tickets if ticket.id not in self.admitted]
        for _ in range(400):
            if not waiting:
                return
            self.now += max(SECOND // 2, round(SECOND / self.terms.per_second))
            self.tick()
            for ticket in list(waiting):
                word = self.ledger.claim(*self._call(), ticket)
                self._answered()
                self._entered(ticket.id, word, lost=False)
                if word.status != "waiting":  # spent: its answer was lost, and nobody asked again while the pass lasted
                    waiting.remove(ticket)
        self.the_bucket_is_the_law()
        assert not waiting, f"stuck: {waiting[:3]}"


Line.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestLine = Line.TestCase
