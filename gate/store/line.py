"""One room's admission, as one worker sees it: what to ask the store, and what to answer without asking."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gate.core.blocks import LARGEST, Block
from gate.core.credentials import Ticket
from gate.core.decision import Entry
from gate.core.line import AWAY, TICKET_LIFE, Remembered, RoomState, Terms, Throughput, away_number
from gate.core.snapshot import RoomView
from gate.core.standin import Admission
from gate.core.words import Reason, RoomMode
from gate.store.link import Link, StoreUnavailable
from gate.store.memory import Memory

AT_ONCE = 64  # newcomers who try to enter at the same moment; in a storm the others get numbers, which cost nothing
HOLD = 2.0  # a token due within so many seconds is waited for in the gate; it comes later, when others come late,
HOLD_MOST = 3.5  # but nobody is held for longer than this
AWAY_RETRY = 10.0  # seconds a visitor is asked to wait while the store is away
LINE_RETRY = 2.0
HICCUP = 0.5  # seconds for which a question to a store that was just lost waits for it, and is put once more
LATE = 0.25  # seconds; an answer that took longer says what was true then, and is asked for again
SEAT_SLACK = 2.0  # seconds a seat outlives its pass in the store


def keys_of(room: str) -> list[str]:
    """KEYS of every room script. The hash tag keeps a room on one node of a cluster."""
    return [f"gate:{{{room}}}:{part}" for part in ("line", "ready", "due", "seats", "revoked", "spent")]


def arguments(terms: Terms, known: Remembered) -> list[str | int | float | bytes]:
    """ARGV 1 to 14 of every room script."""
    active = -1 if terms.active is None else terms.active
    return [
        *(terms.step, terms.cost, terms.burst, active, round(terms.session * 1e6), terms.mode.value),
        *(known.epoch, known.last, known.serving, known.inside, known.birth, known.least, known.quiet, known.admitted),
    ]


def read_state(told: list[bytes]) -> tuple[RoomState, list[bytes]]:
    """What every room script returns first, and the rest."""
    raw, epoch, last, serving, birth, ready, unheard, through, inside, tokens, admitted, present, *rest = told
    state = RoomState(
        epoch=int(epoch),
        serving=int(serving),
        last=int(last),
        waiting=int(last) - int(serving) + int(ready) + int(unheard),
        through=int(through),
        inside=int(inside),
        tokens=float(tokens),
        now=int(raw) / 1e6,
        ready=int(ready),
        present=float(present),
        admitted=int(admitted),
        birth=birth.decode(),
    )
    return state, rest


class Line:
    """One per room and worker. ``clock``: Unix time, seconds; used for the age of blocks and tickets only."""

    def __init__(
        self, link: Link, name: str, *, new_id: Callable[[], str], clock: Callable[[], float] = time.time, memory: Memory
    ) -> None:
        self.link = link
        self.name = name
        self.memory = memory
        self.state = RoomState()  # the store's last word
        self._new_id = new_id
        self._clock = clock
        self._keys = keys_of(name)
        self._terms: Terms | None = None
        self._entering = 0
        self._block = Block()
        self._joining: deque[asyncio.Future[tuple[int, int]]] = deque()
        self._leasing: asyncio.Task[None] | None = None
        self._revoked: dict[str, float] = {}  # pass id -> store's time until which to keep it
        self._since = "0"
        self._throughput = Throughput()
        self._heard = float("-inf")  # when the last call that was answered was sent; the loop's clock

    # -- what visitors ask

    async def join(self, terms: Terms, view: RoomView | None = None) -> Entry:
        """A newcomer: a seat where nobody waits and a token is there, else a number.

        Never fails: without the store, the ticket has a place by time, behind everyone who has a number.
        """
        self._terms = terms
        id_ = self._new_id()
        try:
            if terms.mode is RoomMode.AUTO and self._entering < AT_ONCE and not self._stands(view):
                return await self._enter(id_, terms)
            number, epoch = await self._next_number(terms)
        except StoreUnavailable:
            again = LINE_RETRY if self.link.up else AWAY_RETRY
            return Entry("waiting", self._without_store(id_), retry_after=again, reason=Reason.STORE)
        ticket = self._ticket(id_, epoch, number)
        match terms.mode:
            case RoomMode.HOLD:
                return Entry("waiting", ticket, retry_after=20.0, reason=Reason.HOLD)
            case RoomMode.CLOSED:
                return Entry("waiting", ticket, retry_after=20.0, reason=Reason.ROOM_CLOSED)
        return Entry("waiting", ticket, retry_after=LINE_RETRY, reason=Reason.LINE)

    async def claim(self, ticket: Ticket, terms: Terms, *, patience: float = HOLD_MOST) -> Entry:
        """A called ticket wants its pass; the same ticket gets the same answer, and pays once.

        A token due within two seconds is waited for here, up to ``patience`` seconds in all: with a small burst, the time in
        which a token lies about is time in which the bucket cannot fill. Raises :class:`StoreUnavailable`.
        """
        self._terms = terms
        now = self._clock()
        if now - ticket.joined / 1000 > TICKET_LIFE:
            return Entry("spent", ticket)
        if ticket.number >= AWAY:
            self.memory.gave_without_store(self.name, ticket.epoch)
        else:
            self.memory.saw_ticket(self.name, ticket.epoch, ticket.number)
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            sent = loop.time()
            told = await self._run("claim", terms, ticket.id, ticket.epoch, ticket.number)
            if loop.time() - sent > LATE and loop.time() < until:
                continue  # this worker stood still; what it was given then may have to be paid for again
            status, expires, due, ask, reason = told
            entry = self._entry(status, ticket, expires, ask, reason)
            wait = int(due) / 1e6 + 0.001
            held = wait <= HOLD and loop.time() + wait <= until
            if entry.status != "waiting" or entry.reason is not Reason.RATE or not held:
                return entry
            await asyncio.sleep(wait)

    async def renew(self, pass_id: str, terms: Terms) -> float | None:
        """The seat's new expiry (Unix time), or None: revoked. Raises :class:`StoreUnavailable`."""
        self._terms = terms
        (expires,) = await self._run("renew", terms, pass_id)
        return int(expires) / 1e6 if int(expires) else None

    async def release(self, pass_id: str) -> bool:
        """Frees the seat and revokes the pass, also where the seat was unknown (then False).

        Raises :class:`StoreUnavailable`, also as long as no call has told this line its terms.
        """
        if self._terms is None:
            raise StoreUnavailable("the room's terms are not known yet")
        (freed,) = await self._run("release", self._terms, pass_id)
        self._revoked[pass_id] = self.state.now + self._terms.session + SEAT_SLACK
        self._publish_revoked()
        return bool(int(freed))

    async def adopt(self, admitted: Sequence[Admission], called: int, hold: float, terms: Terms) -> int:
        """Tells the store whom this worker has let in while it was away, 1000 at most, and the highest number it has called.
        The bucket is empty then, and for ``hold`` seconds. How many were news. Raises :class:`StoreUnavailable`."""
        each = [part for one in admitted for part in (one.id, one.epoch, one.number, round(one.expires * 1e6))]
        (news,) = await self._run("adopt", terms, called, round(hold * 1e6), *each)
        return int(news)

    # -- what the gate does by itself

    async def tick(self, terms: Terms) -> RoomState:
        """Calls whom it is time to call and tells the room's state. Raises :class:`StoreUnavailable`."""
        self._terms = terms
        upto, keep, *ids = await self._run("tick", terms, self._since)
        self._since = upto.decode() if isinstance(upto, bytes) else str(upto)
        until = self.state.now + int(keep) / 1e6
        for id_ in ids:
            self._revoked[id_.decode()] = max(until, self._revoked.get(id_.decode(), 0.0))  # some passes live longer by order
        over = [pass_id for pass_id, end in self._revoked.items() if end < self.state.now]
        for pass_id in over:
            del self._revoked[pass_id]
        if over or len(self._revoked) != len(self.state.revoked):
            self._publish_revoked()
        measured = self._throughput.measure(self.state.now, self.state.admitted, standing=self.state.waiting > 0)
        self.state = replace(self.state, admitted_per_second=measured)
        return self.state

    def ticket_without_store(self) -> Ticket:
        """A place by time, behind everyone who has a number, for a visitor who comes while the store is away."""
        return self._without_store(self._new_id())

    # -- inside

    def _stands(self, view: RoomView | None) -> bool:
        state = self.state if self.state.now or view is None else view
        return state.last > state.serving

    async def _enter(self, id_: str, terms: Terms) -> Entry:
        self._entering += 1
        try:
            status, number, epoch, expires, _due, ask, reason = await self._run("enter", terms, id_)
        finally:
            self._entering -= 1
        return self._entry(status, self._ticket(id_, int(epoch), int(number)), expires, ask, reason)

    async def _next_number(self, terms: Terms) -> tuple[int, int]:
        """From the block in hand, else from the next lease; those who wait for it are served in the order they came."""
        if not self._joining:
            found = self._block.take(self._clock())
            if found is not None:
                return found
        mine: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._joining.append(mine)
        if self._leasing is None:
            self._leasing = asyncio.create_task(self._lease(terms), name=f"lease {self.name}")
        return await mine

    async def _lease(self, terms: Terms) -> None:
        trouble = StoreUnavailable("no number was leased")
        try:
            while self._joining:
                size = min(LARGEST, self._block.next_size(self._clock()) + len(self._joining) - 1)
                first, epoch = await self._run("lease", terms, size)
                now = self._clock()
                self._block.refill(int(first), int(epoch), size, now)
                while self._joining and (found := self._block.take(now)) is not None:
                    _settle(self._joining.popleft(), found)
        except StoreUnavailable as error:
            trouble = error
        finally:  # whatever happened, nobody is left standing
            self._leasing = None
            while self._joining:
                _settle(self._joining.popleft(), trouble)

    def _ticket(self, id_: str, epoch: int, number: int) -> Ticket:
        return Ticket(self.name, epoch, number, int(self._clock() * 1000), id_)

    def _without_store(self, id_: str) -> Ticket:
        epoch = max(1, self.memory.of(self.name).epoch, self.memory.of(self.name).least - 1)
        self.memory.gave_without_store(self.name, epoch)
        return self._ticket(id_, epoch, away_number(self._clock()))

    def _entry(self, status: bytes, ticket: Ticket, expires: bytes, ask: bytes, reason: bytes) -> Entry:
        match status:
            case b"entered":
                why = Reason.PASS if reason == b"pass" else Reason.ADMITTED
                return Entry("entered", ticket, expires=int(expires) / 1e6, reason=why)
            case b"spent":
                return Entry("spent", ticket)
        why = Reason.ROOM_CLOSED if reason == b"closed" else Reason(reason.decode())
        return Entry("waiting", ticket, retry_after=int(ask) / 1e6, reason=why)

    async def _run(self, name: str, terms: Terms, *args: str | int) -> list[bytes]:
        told = await self._put(name, terms, *args)
        state, rest = read_state(told)
        mine = self.state
        if state.birth != mine.birth or (state.epoch, state.last, state.admitted) >= (mine.epoch, mine.last, mine.admitted):
            # else: an older answer, overtaken on the way
            if state.epoch != mine.epoch:
                self._block = Block()  # numbers of an epoch that is over
            self.state = replace(state, admitted_per_second=mine.admitted_per_second, revoked=mine.revoked)
        self.memory.saw(self.name, state)
        return rest

    async def _put(self, name: str, terms: Terms, *args: str | int) -> Any:
        """One answer that is late must not cost a visitor its turn: every script can be run twice."""
        try:
            return await self._put_once(name, terms, *args)
        except StoreUnavailable:
            if name == "tick" or not await self.link.comes_back(HICCUP, self._keys[0]):
                raise
        return await self._put_once(name, terms, *args)

    async def _put_once(self, name: str, terms: Terms, *args: str | int) -> Any:
        sent = asyncio.get_running_loop().time()
        quiet = round((sent - self._heard) * 1e6) if math.isfinite(self._heard) else -1
        known = replace(self.memory.of(self.name), quiet=quiet)
        told = await self.link.run(name, self._keys, [*arguments(terms, known), *args])
        self._heard = max(self._heard, sent)
        return told

    def _publish_revoked(self) -> None:
        self.state = replace(self.state, revoked=frozenset(self._revoked))


def _settle(waiter: "asyncio.Future[tuple[int, int]]", result: tuple[int, int] | StoreUnavailable) -> None:
    if waiter.done():  # its visitor has left
        return
    if isinstance(result, StoreUnavailable):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)
