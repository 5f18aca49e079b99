"""A room at one worker while the store is away: who enters by the worker's share of the rate.

The ledger stands in for the store, born as if that had come back empty: it knows the numbers that the worker remembers, and its
bucket is empty. What several workers let in together keeps the room's law, because their shares are no more than the whole:
the rate and the burst are divided among them, and so are the seats that were free when the store was last heard. A burst that
is too small for every worker goes round: a worker whose turn it is begins with an empty bucket.
"""

from dataclasses import dataclass, replace

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger, Word
from gate.core.line import TICKET_LIFE, Remembered, RoomState, Terms, is_over
from gate.core.words import Reason

PART = 4, 5  # of the rate is shared out; the rest is for a gate that is cut off alone, and adds its share to the store's
TURN = 10.0  # seconds at least, where workers take turns
TURN_TOKENS = 6  # and as long as so many tokens take: what a worker has saved up of the next one is lost at the end
FOR_EVER = 2 * TICKET_LIFE  # seconds; only the store knows when a seat is free again


@dataclass(frozen=True, slots=True)
class Taken:
    """So many were let in without the store before this worker began: ``here`` at its gate, ``mine`` of them by its
    predecessors."""

    mine: int = 0
    here: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Worker number ``worker`` (from 0) of ``workers``, at one of ``gates`` that share a store."""

    worker: int = 0
    workers: int = 1
    gates: int = 1

    def burst_of(self, terms: Terms) -> int:
        """Of this gate. 0: it can let nobody in without letting in too many."""
        return terms.burst // self.gates

    def at_once(self, terms: Terms) -> int:
        """So many workers of this gate let visitors in at the same time."""
        return min(self.workers, self.burst_of(terms))

    def turn(self, ticks: float, terms: Terms) -> tuple[int, float]:
        """Which turn it is at ``ticks``, and in how many seconds the next one begins. The clock must be one for all workers."""
        lasts = TURN
        if terms.per_second > 0:
            lasts = max(TURN, TURN_TOKENS * PART[1] / PART[0] * self.gates * self.at_once(terms) / terms.per_second)
        number, since = divmod(ticks, lasts)
        return int(number), lasts - since

    def has_turn(self, number: int, terms: Terms) -> bool:
        return (self.worker + number) % self.workers < self.at_once(terms)

    def seats(self, free: int) -> int:
        """Of ``free`` ones at this gate."""
        return free // self.workers + (self.worker < free % self.workers)

    def of(self, terms: Terms, inside: int, taken: Taken = Taken(), *, on_turn: bool = True) -> Terms:
        """What this worker grants while ``inside`` are known to be inside; off its turn, nothing.

        A successor has what its predecessors left of their part, while the others have theirs; where all are successors, of
        however many, no more than their part of what all of those left."""
        working = max(1, self.at_once(terms))
        active = terms.active
        if active is not None:
            free = max(0, active - inside) // self.gates
            active = max(0, min(self.seats(free) - taken.mine, self.seats(max(0, free - taken.here))))
        return replace(
            terms,
            amount=terms.amount * PART[0] if on_turn else 0,
            period=terms.period * PART[1] * self.gates * working,
            burst=max(1, self.burst_of(terms) // working),
            active=active,
            session=FOR_EVER,
            grace=FOR_EVER,
            draw=False,
            maximum=None,
            groups=(),
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """Somebody let in without the store. Times are Unix seconds."""

    id: str
    epoch: int
    number: int
    expires: float


class StandIn:
    """One room at one worker. ``now`` is Unix time in seconds, ``ticks`` a clock that never steps and is the same for all
    workers of the gate; ``state`` is the store's last word."""

    def __init__(self, share: Share, memory: Remembered, state: RoomState, taken: Taken = Taken()) -> None:
        self._share = share
        self._taken = taken
        self._memory = replace(memory, epoch=max(1, memory.epoch), inside=0)
        self._known = replace(state, inside=max(state.inside, memory.inside))  # a worker that never met the store has no word
        self._ledger = Ledger()
        self._turn: int | None = None
        self._called: float | None = None
        self._admitted: dict[str, Admission] = {}

    def claim(self, now: float, ticks: float, terms: Terms, ticket: Ticket, turn: int | None = None) -> Word:
        """The ticket knocks at this worker, and is at the door until :meth:`leave`. ``turn``: its place in the order, where
        that is not its number."""
        known = self._admitted.get(ticket.id)
        if known is not None:
            over = known.expires <= now
            return Word("spent" if over else "entered", ticket.number, ticket.epoch, round(known.expires * SECOND))
        if is_over(ticket.joined / 1000, terms.opens, now):
            return Word("spent", ticket.number, ticket.epoch)
        mine, left = self._mine(now, ticks, terms)
        word = self._ledger.claim(round(now * SECOND), mine, self._remembered(ticks), ticket, turn)
        if word.status == "entered":
            self._admitted[ticket.id] = Admission(ticket.id, ticket.epoch, ticket.number, now + terms.session)
            return word._replace(number=ticket.number, expires=round((now + terms.session) * SECOND))
        if mine.amount == 0 < terms.amount and word.reason is Reason.RATE:  # it will be this worker's turn again
            return word._replace(ask=min(word.ask, max(SECOND, round(left * SECOND))))
        return word

    def leave(self, ticket: Ticket) -> None:
        """It does not wait here any more. It may knock at another worker next, so nothing is kept for it."""
        self._ledger.leave(ticket.id)

    def tick(self, now: float, ticks: float, terms: Terms) -> RoomState:
        """Calls whom it is time to call. The store's last word, with what has changed here since."""
        mine, _ = self._mine(now, ticks, terms)
        here = self._ledger.tick(round(now * SECOND), mine, self._remembered(ticks))
        known = self._known
        return replace(
            known,
            epoch=self._memory.epoch,
            last=max(known.last, here.last),
            serving=max(known.serving, here.serving),
            waiting=max(known.waiting - len(self._admitted), here.ready),
            through=self.through,
            base=known.base if known.epoch == self._memory.epoch else self._memory.last,
            inside=known.inside + self._taken.here + len(self._admitted),
            tokens=here.tokens,
            ready=here.ready,
            admitted_per_second=0.0,
        )

    @property
    def admitted(self) -> dict[str, Admission]:
        """By ticket id, the oldest first."""
        return self._admitted

    @property
    def serving(self) -> int:
        return max(self._known.serving, self._ledger.serving)

    @property
    def through(self) -> int:
        """What places are counted from."""
        return max(self._known.through, self._ledger.through)

    def _remembered(self, ticks: float) -> Remembered:
        """With the time since the last call: a clock that is set ahead brings no tokens here either."""
        quiet = -1 if self._called is None else round((ticks - self._called) * SECOND)
        self._called = ticks
        return replace(self._memory, quiet=quiet)

    def _mine(self, now: float, ticks: float, terms: Terms) -> tuple[Terms, float]:
        """This worker's terms at this moment, and the seconds until its turn may change."""
        number, left = self._share.turn(ticks, terms)
        on_turn = self._share.has_turn(number, terms)
        if number != self._turn and self._share.at_once(terms) < self._share.workers:
            before = self._turn
            if before != number - 1 or self._share.has_turn(before, terms) != on_turn:  # its turn begins, or is over
                self._empty(now)
        self._turn = number
        mine = self._share.of(terms, self._known.inside, self._taken, on_turn=on_turn)
        if not self._ledger.born:
            self._ledger.tick(round(now * SECOND), mine, self._memory)
            self._empty(now)  # and not in debt, like that of a store that comes back: nobody has anything to tell here
        return mine, left

    def _empty(self, now: float) -> None:
        bucket = self._ledger.bucket
        bucket.level, bucket.stamp = 0, max(bucket.stamp, round(now * SECOND) + self._ledger.skew)
