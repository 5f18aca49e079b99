"""The gate's side: workers with their pictures of the room before one ledger, which may go away and come back empty."""

import random
from collections.abc import Sequence
from dataclasses import replace

from gate.core.blocks import Block
from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.decide import STORE_RETRY
from gate.core.draw import SEED_BYTES
from gate.core.ledger import Ledger, Word
from gate.core.line import Remembered, RoomState, Terms, Throughput, away_number, tag_of
from gate.core.snapshot import RoomView
from gate.core.standin import Share, StandIn
from gate.core.words import Reason
from gate.simulation.sale import START, Sale
from gate.store.line import LINE_RETRY
from gate.store.local import SETTLE

TICK = 0.25  # seconds between two looks of a worker at the store (gate.app)
CACHED = 1.0  # seconds for which the status document is kept


class Worker:
    """One process of the gate: what it knows of the line, the numbers it has in hand, the picture its answers are made from."""

    def __init__(self, terms: Terms) -> None:
        self.block = Block()
        self.seen = Throughput()
        self.standing = False
        self.state = RoomState()
        self.view = _view_of(self.state, terms, 0.0)
        self.taken = -TICK
        self.stand_in: StandIn | None = None


class Desk:
    """Every operation of the gate on the room. ``now``: seconds since the first arrival."""

    def __init__(self, sale: Sale, rng: random.Random) -> None:
        self.sale = sale
        self.terms: Terms = sale.grants
        self._offer = rng.randbytes(SEED_BYTES).hex()
        self.ledger = Ledger(self._offer)
        self.memory = Remembered()
        self.away = False  # the store
        self.local = False  # and the workers let their parts in
        self.workers = [Worker(self.terms) for _ in range(sale.workers)]
        self._rng = rng
        self._paper = -CACHED, self.workers[0].view

    @property
    def serving(self) -> int:
        return max(worker.view.serving for worker in self.workers) if self.local else self.ledger.serving

    def any_worker(self) -> Worker:
        return self.workers[int(self._rng.random() * len(self.workers))]

    # -- what visitors ask

    def join(self, now: float, id_: str) -> Word:
        """A newcomer, as :meth:`gate.store.line.Line.join` has it."""
        worker = self.any_worker()
        if self.away:
            known = self.memory
            epoch = max(1, known.epoch, known.least - 1)
            self.memory = replace(known, least=max(known.least, epoch + 1))
            number = away_number(START + now)
            if worker.stand_in is not None:
                word = self.claim(now, worker, Ticket("room", epoch, number, int((START + now) * 1000), id_), number)
                self.end(worker, Ticket("room", epoch, number, 0, id_))
                return word
            return Word("waiting", number, epoch, 0, 0, round(STORE_RETRY * SECOND), Reason.STORE)
        if not worker.standing:
            word = self.ledger.enter(_clock(now), self.terms, self.memory, id_)
            worker.standing = self.ledger.last > self.ledger.serving
            return word
        while (found := worker.block.take(now)) is None:
            size = worker.block.next_size(now)
            first, epoch = self.ledger.lease(_clock(now), self.terms, self.memory, size)
            if self.ledger.last < first:
                return Word("full", reason=Reason.LINE_FULL)
            worker.block.refill(first, epoch, self.ledger.last + 1 - first, now)
            worker.standing = self.ledger.last > self.ledger.serving
        return Word("waiting", *found, 0, 0, round(LINE_RETRY * SECOND), Reason.LINE)

    def invite(self, now: float, id_: str, group: str) -> Word | None:
        """One with an invitation, as :meth:`gate.engine.Engine.invite` has it. None: the store is away, and nobody can tell."""
        if self.away:
            return None
        found = self.ledger.invite(_clock(now), self.terms, self.memory, id_, tag_of(group), group, 0)
        if isinstance(found, str):
            raise ValueError(f"nobody comes twice, and the invitation has no end: {found}")
        reason = self.terms.refusal(_clock(now)) or Reason.LINE
        return Word("waiting", *found, 0, 0, round(LINE_RETRY * SECOND), reason)

    def claim(self, now: float, worker: Worker, ticket: Ticket, turn: int) -> Word:
        """``turn``: the ticket's place in the order."""
        if worker.stand_in is not None:
            return worker.stand_in.claim(START + now, now, self.terms, ticket, turn)
        word = self.ledger.claim(_clock(now), self.terms, self.memory, ticket, turn, worker.state.drawn)
        worker.standing = self.ledger.last > self.ledger.serving
        return word

    def end(self, worker: Worker, ticket: Ticket) -> None:
        """Nobody holds the visitor's knock any more."""
        if worker.stand_in is not None:
            worker.stand_in.leave(ticket)

    def present(self, now: float, turns: Sequence[int]) -> None:
        """Tickets that were seen again. While the store is away, they are told later."""
        self.ledger.present(_clock(now), self.terms, self.memory, turns)

    def renew(self, now: float, id_: str) -> None:
        if not self.away:
            self.ledger.renew(_clock(now), self.terms, self.memory, id_)

    def release(self, now: float, id_: str) -> None:
        if not self.away:
            self.ledger.release(_clock(now), self.terms, self.memory, id_)

    # -- what it does by itself

    def tick(self, now: float, worker: Worker) -> None:
        """Calls whom it is time to call, and takes a new picture."""
        worker.taken = now
        if worker.stand_in is not None:
            state, pace = worker.stand_in.tick(START + now, now, self.terms), 0.0
        elif self.away:
            return
        else:
            state = self.ledger.tick(_clock(now), self.terms, self.memory, revoked=False)
            self.memory = replace(self.ledger.remembered(), least=self.memory.least)
            worker.standing = state.last > state.serving
            pace = worker.seen.measure(now, state.admitted, standing=state.waiting > 0)
        worker.state = state
        worker.view = _view_of(state, self.terms, pace)

    def view(self, now: float, worker: Worker) -> RoomView:
        """The picture it has. One that nobody has looked at need not have been taken, and one that another worker has just
        taken serves as well."""
        if now - worker.taken >= TICK:
            newest = max(self.workers, key=lambda each: each.taken)
            if now - newest.taken < TICK and worker.stand_in is None:
                worker.state, worker.view, worker.standing = newest.state, newest.view, newest.standing
            else:
                self.tick(now, worker)
        return worker.view

    def paper(self, now: float) -> RoomView:
        """The shared status document, which a cache keeps for a second."""
        if now - self._paper[0] >= CACHED:
            self._paper = now, self.view(now, self.any_worker())
        return self._paper[1]

    def lose_the_store(self) -> None:
        self.away = True

    def go_on_alone(self, now: float) -> None:
        """The time for which nobody enters is over."""
        self.local = True
        for number, worker in enumerate(self.workers):
            share = Share(number, len(self.workers), self.sale.without_store.gates)
            worker.stand_in = StandIn(share, self.memory, worker.state)
            self.tick(now, worker)

    def find_the_store(self, now: float) -> None:
        """It is empty. The gates tell it what they remember, and whom they have let in."""
        self.away, self.ledger = False, Ledger(self._offer)
        for worker in self.workers:
            worker.block, worker.seen = Block(), Throughput()
        for worker in self.workers:
            if worker.stand_in is not None:
                told = [
                    (one.id, one.epoch, one.number, round(one.expires * SECOND)) for one in worker.stand_in.admitted.values()
                ]
                called, through, hold = worker.stand_in.serving, worker.stand_in.through, round(SETTLE * SECOND)
                self.ledger.adopt(_clock(now), self.terms, self.memory, called, through, hold, told)
        self.local = False
        for worker in self.workers:
            worker.stand_in = None
            self.tick(now, worker)


def _view_of(state: RoomState, terms: Terms, pace: float) -> RoomView:
    view = RoomView(
        "room",
        mode=terms.mode,
        amount=terms.amount,
        period=terms.period,
        burst=terms.burst,
        active=terms.active,
        opens=terms.opens,
        closes=terms.closes,
        draw=terms.draw,
        maximum=terms.maximum,
    )
    shares = {tag_of(name): share for name, share in terms.groups}
    return view.told_by(replace(state, admitted_per_second=pace), shares)


def _clock(now: float) -> int:
    return START * SECOND + round(now * SECOND)
