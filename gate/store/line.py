"""One room's admission, as one worker sees it: what to ask the store, and what to answer without asking."""

import asyncio
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gate.core import ledger, room
from gate.core.blocks import LARGEST, Block
from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.decide import FULL_RETRY, HOLD_RETRY, STORE_RETRY, until_opening
from gate.core.decision import Entry
from gate.core.draw import SEED_BYTES, drawn_place
from gate.core.invitations import Invitation
from gate.core.line import AWAY, GROUPED, Remembered, RoomState, Terms, Throughput, away_number, is_over, tag_of
from gate.core.snapshot import RoomView
from gate.core.standin import Admission
from gate.core.words import Reason, RoomMode
from gate.store.link import Link, StoreUnavailable
from gate.store.memory import Memory
from gate.store.server import THIS_SERVER

AT_ONCE = 64  # newcomers who try to enter at the same moment; in a storm the others get numbers, which cost nothing
HOLD = 2.0  # a token due within so many seconds is waited for in the gate; it comes later, when others come late,
HOLD_MOST = 3.5  # but nobody is held for longer than this
LINE_RETRY = 2.0
HICCUP = 0.5  # seconds for which a question to a store that was just lost waits for it, and is put once more
LATE = ledger.LATE / SECOND  # an answer that took longer says what was true then, and is asked for again
SEAT_SLACK = room.SEAT_SLACK / SECOND  # a seat outlives its pass by so long in the store
APART = 1.0  # seconds that two clocks may differ, which that slack is for; beyond it times are told by each one's own
NOTED_EVERY = 0.5  # seconds between two batches of tickets that were seen again,
NOTED_MOST = 2000  # each of no more than so many;
NOTED_KEPT = 200_000  # and so many are kept while the store is away
STOCK_EVERY = 0.2  # seconds between two words to the store about what is left to sell


def keys_of(room: str) -> list[str]:
    """KEYS of every room script. The hash tag keeps a room on one node of a cluster."""
    parts = ("line", "ready", "due", "seats", "revoked", "spent", "seen", "late", "moved", "invited", "called", "uses")
    return [f"gate:{{{room}}}:{part}" for part in parts]


def arguments(terms: Terms, known: Remembered, offer: str = "") -> list[str | int | float | bytes]:
    """ARGV 1 to 25 of every room script, as ``gate/store/lua/room.lua`` lists them. ``offer``: a seed for the draw."""
    closes = round(terms.closes * 1e6) if terms.closes < math.inf else 0
    groups = "".join(f"{tag_of(name)} {share!r};" for name, share in terms.groups)
    return [
        *(terms.step, terms.cost, terms.burst, _or_none(terms.active), round(terms.session * 1e6), terms.mode.value),
        *(round(terms.opens * 1e6), closes, int(terms.draw), _or_none(terms.maximum), round(terms.grace * 1e6), groups),
        *(known.epoch, known.last, known.serving, known.inside, known.birth, known.least),
        *(known.drawn, known.seed, _or_none(known.left), known.admitted, known.quiet, offer if terms.draw else ""),
        known.server,
    ]


def read_state(told: list[bytes]) -> tuple[RoomState, list[bytes]]:
    """What every room script returns first, and the rest."""
    raw, epoch, last, serving, birth, ready, waiting, through, inside, tokens, admitted, present, *told = told
    drawn, seed, left, groups, base, *rest = told
    state = RoomState(
        epoch=int(epoch),
        serving=int(serving),
        last=int(last),
        waiting=int(waiting),
        through=int(through),
        base=int(base),
        inside=int(inside),
        tokens=max(0.0, float(tokens)),
        now=int(raw) / 1e6,
        ready=int(ready),
        present=float(present),
        admitted=int(admitted),
        birth=birth.decode(),
        drawn=int(drawn),
        seed=seed.decode(),
        left=int(left) if int(left) >= 0 else None,
        groups=tuple(_group(entry) for entry in groups.decode().split(";") if entry),
    )
    return state, rest


def _or_none(value: int | None) -> int:
    return -1 if value is None else value


def _group(text: str) -> tuple[int, int, int]:
    tag, last, serving, _credit = text.split(",")
    return int(tag), int(last), int(serving)


@dataclass(slots=True)
class _Asked:
    """A ticket's question to the store, and how many wait for its answer."""

    claim: asyncio.Task[Entry]
    by: int = 0


class Line:
    """One per room and worker. ``clock``: Unix time, seconds; by it blocks and tickets age, and passes end."""

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
        self._asked: dict[tuple[str, int, int], _Asked] = {}  # by ticket: id, epoch and number
        self._block = Block()
        self._joining: deque[asyncio.Future[tuple[int, int] | None]] = deque()
        self._leasing: asyncio.Task[None] | None = None
        self._revoked: dict[str, float] = {}  # pass id -> store's time until which to keep it
        self._since = "0"
        self._throughput = Throughput()
        self._ahead = 0.0  # seconds that the store's clock is ahead of ours, where they are plainly apart
        self._heard = float("-inf")  # when the last call that was answered was sent; the loop's clock
        self._offer = secrets.token_hex(SEED_BYTES)
        self._noted: set[int] = set()  # numbers of tickets that were seen again
        self._noted_at = 0.0
        self._stock: int | None = None  # to be told to the store
        self._stocking: asyncio.Task[None] | None = None

    # -- what visitors ask

    async def join(self, terms: Terms, view: RoomView | None = None) -> Entry:
        """A newcomer: a seat where nobody waits and a token is there, else a number.

        Never fails: without the store, the ticket has a place by time, behind everyone who has a number.
        """
        at_once = self.join_at_once(terms, view)
        if at_once is not None:
            return at_once
        id_ = self._new_id()
        try:
            if self._may_enter(terms, view):
                return await self._enter(id_, terms)
            found = await self._next_number(terms)
        except StoreUnavailable:
            again = LINE_RETRY if self.link.up else STORE_RETRY
            return Entry("waiting", self._without_store(id_), retry_after=again, reason=Reason.STORE)
        if found is None:
            return Entry("full", self._ticket(id_, 0, 0), retry_after=FULL_RETRY, reason=Reason.LINE_FULL)
        number, epoch = found
        return self._waits(id_, number, epoch, terms, self._clock())

    def join_at_once(self, terms: Terms, view: RoomView | None = None) -> Entry | None:
        """What :meth:`join` gives where a number is in hand: in a storm, to nearly everybody. None: it has to be waited for."""
        self._terms = terms
        if self._joining or self._may_enter(terms, view):
            return None
        now = self._clock()
        found = self._block.take(now)
        if found is None:
            return None
        number, epoch = found
        if number >= self._block.ask:
            self._lease_ahead(terms, now)
        return self._waits(self._new_id(), number, epoch, terms, now)

    async def claim(self, ticket: Ticket, terms: Terms, *, patience: float = HOLD_MOST) -> Entry:
        """A called ticket wants its pass; the same ticket gets the same answer, and pays once. However many ask with it at the
        same time, the store is asked once.

        A token due within two seconds is waited for here, up to ``patience`` seconds in all: with a small burst, the time in
        which a token lies about is time in which the bucket cannot fill. Raises :class:`StoreUnavailable`.
        """
        self._terms = terms
        now = self._clock()
        if is_over(ticket.joined / 1000, terms.opens, now):
            return Entry("spent", ticket)
        if ticket.number < AWAY:
            self.memory.saw_ticket(self.name, ticket.epoch, ticket.number)
        elif ticket.number < GROUPED:
            self.memory.gave_without_store(self.name, ticket.epoch)
        key = ticket.id, ticket.epoch, ticket.number
        asked = self._asked.get(key)
        first = asked is None or asked.claim.done()
        if asked is None or first:
            asked = self._asked[key] = _Asked(asyncio.create_task(self._claim(ticket, terms, patience)))
            asked.claim.add_done_callback(_look)
        asked.by += 1
        try:
            entry = await asyncio.shield(asked.claim)
        finally:
            asked.by -= 1
            if not asked.by:  # nobody is left to hear it: no token is waited for
                asked.claim.cancel()
                if self._asked.get(key) is asked:
                    del self._asked[key]
        return entry if first or entry.reason is not Reason.ADMITTED else entry._replace(reason=Reason.PASS)

    async def _claim(self, ticket: Ticket, terms: Terms, patience: float) -> Entry:
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            sent = loop.time()
            turn, drawn = self.turn_of(ticket.number), self.state.drawn
            told = await self._run("claim", terms, ticket.id, ticket.epoch, ticket.number, turn, drawn)
            status, expires, due, ask, reason, number, epoch = told
            if status == b"entered" and loop.time() - sent > LATE and loop.time() < until:
                continue  # this worker stood still; what it was given then may have to be paid for again
            if int(number) != ticket.number:  # it came too late, and stands at the end of the line now
                ticket = self._ticket(ticket.id, int(epoch), int(number))
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
        return int(expires) / 1e6 - self._ahead if int(expires) else None

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

    async def adopt(self, admitted: Sequence[Admission], called: int, hold: float, terms: Terms, through: int = 0) -> int:
        """Tells the store whom this worker has let in while it was away, 1000 at most, the highest number it has called, and
        what it counted places from. The bucket is empty then, and for ``hold`` seconds. How many were news.

        Raises :class:`StoreUnavailable`.
        """
        ends = (round((one.expires + self._ahead) * 1e6) for one in admitted)
        each = [part for one, end in zip(admitted, ends, strict=True) for part in (one.id, one.epoch, one.number, end)]
        (news,) = await self._run("adopt", terms, called, max(through, self.state.through), round(hold * 1e6), *each)
        return int(news)

    async def invite(self, invitation: Invitation, terms: Terms, ticket: Ticket | None = None) -> Entry | None:
        """A place in the invitation's group, the same for the same ``ticket``: the one that its bearer has already, if any. It
        replaces that. None: as many have come with this invitation as may. Raises :class:`StoreUnavailable`."""
        self._terms = terms
        bearers = [(self._new_id(), 0, 0)]
        if ticket is not None:
            bearers.insert(0, (ticket.id, ticket.epoch, ticket.number))
        used = invitation.id, invitation.uses, invitation.expires
        for id_, *old in bearers:
            status, number, epoch = await self._run("invite", terms, id_, tag_of(invitation.group), *used, *old)
            if status == b"invited":
                mine = self._ticket(id_, int(epoch), int(number))
                return Entry("waiting", mine, retry_after=LINE_RETRY, reason=terms.refusal(1e6 * self._clock()) or Reason.LINE)
            if status == b"used-up":
                return None
        return None

    def present(self, ticket: Ticket) -> None:
        """Somebody who waits was seen again. Costs nothing here: the store is told in batches, with the ticks."""
        if ticket.number < AWAY and len(self._noted) < NOTED_KEPT and self.turn_of(ticket.number) > self.state.serving:
            self._noted.add(ticket.number)

    def stock(self, left: int) -> None:
        """So much is left to sell. However often it is said, the store is told the newest a few times a second."""
        self._stock = left
        if self._stocking is None:
            self._stocking = asyncio.create_task(self._tell_stock(), name=f"stock {self.name}")

    # -- what the gate does by itself

    async def tick(self, terms: Terms) -> RoomState:
        """Calls whom it is time to call and tells the room's state. Raises :class:`StoreUnavailable`."""
        self._terms = terms
        birth = self.state.birth
        upto, keep, *ids = await self._run("tick", terms, self._since)
        if self.state.birth == birth:
            self._since = upto.decode() if isinstance(upto, bytes) else str(upto)
        until = self.state.now + int(keep) / 1e6
        for id_ in ids:
            self._revoked[id_.decode()] = max(until, self._revoked.get(id_.decode(), 0.0))  # some passes live longer by order
        over = [pass_id for pass_id, end in self._revoked.items() if end < self.state.now]
        for pass_id in over:
            del self._revoked[pass_id]
        if over or len(self._revoked) != len(self.state.revoked):
            self._publish_revoked()
        await self._tell_present(terms)
        measured = self._throughput.measure(self.state.now, self.state.admitted, standing=self.state.waiting > 0)
        self.state = replace(self.state, admitted_per_second=measured)
        return self.state

    def turn_of(self, number: int) -> int:
        """The place in the order of the ticket ``number``: itself, unless it was drawn."""
        drawn, seed = self.state.drawn, self.state.seed
        return drawn_place(bytes.fromhex(seed), drawn, number) if 0 < number <= drawn and seed else number

    def ticket_without_store(self) -> Ticket:
        """A place by time, behind everyone who has a number, for a visitor who comes while the store is away."""
        return self._without_store(self._new_id())

    # -- inside

    def _may_enter(self, terms: Terms, view: RoomView | None) -> bool:
        """Is it worth asking? Nobody stands in line, and not many ask already."""
        if terms.mode is not RoomMode.AUTO or self._entering >= AT_ONCE:
            return False
        state = self.state if self.state.now or view is None else view
        return state.last <= state.serving

    def _waits(self, id_: str, number: int, epoch: int, terms: Terms, now: float) -> Entry:
        ticket = Ticket(self.name, epoch, number, int(now * 1000), id_)
        reason = terms.refusal(1e6 * now)
        if reason is None:
            return Entry("waiting", ticket, 0.0, LINE_RETRY, Reason.LINE)
        wait = until_opening(terms.opens, now) if reason is Reason.NOT_OPEN else HOLD_RETRY
        return Entry("waiting", ticket, retry_after=wait, reason=reason)

    async def _enter(self, id_: str, terms: Terms) -> Entry:
        self._entering += 1
        try:
            status, number, epoch, expires, _due, ask, reason = await self._run("enter", terms, id_)
        finally:
            self._entering -= 1
        return self._entry(status, self._ticket(id_, int(epoch), int(number)), expires, ask, reason)

    async def _next_number(self, terms: Terms) -> tuple[int, int] | None:
        """From the next lease; those who wait for it are served in the order they came. None: the line is full."""
        mine: asyncio.Future[tuple[int, int] | None] = asyncio.get_running_loop().create_future()
        self._joining.append(mine)
        if self._leasing is None:
            self._leasing = asyncio.create_task(self._lease(terms), name=f"lease {self.name}")
        return await mine

    def _lease_ahead(self, terms: Terms, now: float) -> None:
        """While numbers are in hand. Not where the line has an end: those that nobody gets would bring it nearer."""
        if self._block.wants_next(now) and self._leasing is None and terms.maximum is None:
            self._leasing = asyncio.create_task(self._lease(terms), name=f"lease {self.name}")

    async def _lease(self, terms: Terms) -> None:
        trouble = StoreUnavailable("no number was leased")
        try:
            while True:
                size = min(LARGEST, self._block.next_size(self._clock()) + max(0, len(self._joining) - 1))
                first, epoch, count = await self._run("lease", terms, size)
                now = self._clock()
                self._block.refill(int(first), int(epoch), int(count), now)
                if int(count) == 0:
                    while self._joining:
                        _settle(self._joining.popleft(), None)
                while self._joining and (found := self._block.take(now)) is not None:
                    _settle(self._joining.popleft(), found)
                if not self._joining:
                    return
        except StoreUnavailable as error:
            trouble = error
        finally:  # whatever happened, nobody is left standing
            self._leasing = None
            while self._joining:
                _settle(self._joining.popleft(), trouble)

    async def _tell_present(self, terms: Terms) -> None:
        """Where there was a draw in between, once more: places are others then."""
        now = asyncio.get_running_loop().time()
        if not self._noted or now - self._noted_at < NOTED_EVERY:
            return
        self._noted_at = now
        while self._noted:
            drawn, batch = self.state.drawn, sorted(self._noted)[:NOTED_MOST]
            await self._run("present", terms, drawn, *(self.turn_of(number) for number in batch))
            if self.state.drawn == drawn:
                self._noted.difference_update(batch)

    async def _tell_stock(self) -> None:
        while self._stock is not None:
            left, self._stock = self._stock, None
            try:
                if self._terms is not None:
                    await self._run("stock", self._terms, left)
            except StoreUnavailable:
                self._stock = left if self._stock is None else self._stock  # until it is back
            await asyncio.sleep(STOCK_EVERY)
        self._stocking = None

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
                return Entry("entered", ticket, expires=int(expires) / 1e6 - self._ahead, reason=why)
            case b"spent":
                return Entry("spent", ticket)
            case b"full":
                return Entry("full", ticket, retry_after=FULL_RETRY, reason=Reason.LINE_FULL)
        return Entry("waiting", ticket, retry_after=int(ask) / 1e6, reason=Reason(reason.decode()))

    async def _run(self, name: str, terms: Terms, *args: str | int) -> list[bytes]:
        told = await self._put(name, terms, *args)
        state, rest = read_state(told)
        mine = self.state
        if state.birth != mine.birth or (state.epoch, state.last, state.admitted) >= (mine.epoch, mine.last, mine.admitted):
            # else: an older answer, overtaken on the way
            if state.epoch != mine.epoch:
                self._block = Block()  # numbers of an epoch that is over
            if state.birth != mine.birth:
                self._since = "0"  # room time begins anew, and may be behind what it was
            through = max(state.through, mine.through)  # also of a store that has forgotten some of it: no place grows
            self.state = replace(state, through=through, admitted_per_second=mine.admitted_per_second, revoked=mine.revoked)
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
        loop = asyncio.get_running_loop()
        sent = loop.time()
        quiet = round((sent - self._heard) * 1e6) if math.isfinite(self._heard) else -1
        known = replace(self.memory.of(self.name), quiet=quiet, server=THIS_SERVER)
        told = await self.link.run(name, self._keys, [*arguments(terms, known, self._offer), *args])
        self._heard = max(self._heard, sent)
        if loop.time() - sent <= LATE:
            ahead = int(told[0]) / 1e6 - self._clock()
            self._ahead = ahead if abs(ahead) > APART else 0.0
        return told

    def _publish_revoked(self) -> None:
        self.state = replace(self.state, revoked=frozenset(self._revoked))


def _look(task: "asyncio.Task[Entry]") -> None:
    if not task.cancelled():
        task.exception()  # nobody may be left to ask for it


def _settle(waiter: "asyncio.Future[tuple[int, int] | None]", result: tuple[int, int] | StoreUnavailable | None) -> None:
    if waiter.done():  # its visitor has left
        return
    if isinstance(result, StoreUnavailable):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)
