"""The gate's decisions at work in one worker: facts in, decisions and answers out.

The engine holds the pure parts (rules, breakers, overload, health) and the things they need (lines, quotas, pages), and
keeps the :class:`~gate.core.snapshot.Snapshot` that every decision reads. The wire and the web see nothing else of the gate.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from gate.attempt import Lane, Shop
from gate.core.address import Trust
from gate.core.answer import Answer, Fields
from gate.core.breaker import Breaker
from gate.core.cookies import TICKET_AGE, set_cookie, ticket_age
from gate.core.credentials import KeyRing, Pass
from gate.core.decide import STORE_RETRY, client_of, decide, first_limit, is_foreign_form, limits_of, may_enter
from gate.core.decision import Ask, Claim, Decision, Entry, Hit, Join, Told
from gate.core.facts import Refusal
from gate.core.health import Health
from gate.core.invitations import Invitation
from gate.core.line import RoomState, Terms, tag_of
from gate.core.orders import Orders
from gate.core.overload import Overload
from gate.core.settings import Limit, Room, Route, Settings
from gate.core.settle import Result
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Form, Visit
from gate.core.words import Order, Outcome, Reason, RoomMode
from gate.reception import Desk
from gate.store.line import Line
from gate.store.link import StoreUnavailable
from gate.store.local import Entrance, Policy
from gate.store.quotas import Quotas
from gate.web.forms import seal
from gate.web.metrics import Tally
from gate.web.pages import Pages

FORM_LIMIT = Limit.model_validate({"match": "/__gate/notify-me", "rate": "5/minute", "by": "address"})
INVITATION_LIMIT = Limit.model_validate({"match": "/__gate/rooms/*/invitation", "rate": "30/minute", "by": "address"})
RENEWALS_KEPT = 4096
STOCK = 10**9  # pieces, the most that a shop can say
STORE_LOST = 1.5  # seconds without a word until the store counts as away: one late answer sends nobody to the end of a pause
_CACHE_NAMES = frozenset((b"cache-control", b"cdn-cache-control", b"surrogate-control", b"expires"))
_PRIVATE: Fields = (
    (b"cache-control", b"private, no-store"),
    (b"cdn-cache-control", b"no-store"),
    (b"surrogate-control", b"no-store"),
)


def _is_stock(number: bytes) -> bool:
    return number.isdigit() and len(number) <= len(str(STOCK)) and int(number) <= STOCK  # Python reads 4300 digits at most


class Meter(Protocol):
    """What the engine reports; :mod:`gate.web.metrics` counts it."""

    def decided(self, decision: Decision) -> None: ...
    def tally(self, decision: Decision) -> Tally: ...
    def answered(self, seconds: float) -> None: ...
    def origin(self, result: Result) -> None: ...


class Access(Protocol):
    """One line per request, or per so many; :class:`gate.logs.AccessLog`."""

    def wants(self) -> bool: ...
    def __call__(self, visit: Visit, decision: Decision, status: int, seconds: float, *, sent: int = 0) -> None: ...


class Engine:
    """One per worker. Not thread-safe: everything runs on the worker's event loop."""

    def __init__(
        self,
        settings: Settings,
        keyring: KeyRing,
        trust: Trust,
        *,
        lines: dict[str, Line],
        quotas: Quotas,
        pages: Pages,
        meter: Meter,
        access: Access | None = None,
        without_store: Policy | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.keyring = keyring
        self.trust = trust
        self.pages = pages
        self.meter = meter
        self.access = access
        self.now = clock
        self.ticks = ticks
        self.orders = Orders()
        self.shop = Shop(
            health=Health(
                settings.origin.health.fall if settings.origin.health else 3,
                settings.origin.health.rise if settings.origin.health else 2,
            ),
            overload=Overload(settings.shedding.in_flight, settings.shedding.latency),
            breakers={
                route.name: Breaker(route.breaker.failures, route.breaker.within, route.breaker.open)
                for route in settings.routes
                if route.breaker is not None
            },
        )
        self._lines = lines
        self._entrances = {name: Entrance(line, without_store, now=clock, ticks=ticks) for name, line in lines.items()}
        self._quotas = quotas
        self._forms = FixedWindowRateLimiter(MemoryStorage())
        self._limits_of = {name: limits_of(room, settings) for name, room in settings.rooms.items()}
        self._states: dict[str, RoomState] = {}
        self._store_up = False
        self.told_at = 0.0  # when the store last told the state of all rooms; Unix time, seconds
        self._told: dict[str, float] = {}  # and of each: on a cluster some may be on a node that is lost
        self._lanes: dict[str | None, Lane] = {}
        self._terms: dict[str, tuple[Orders, Snapshot, Terms]] = {}
        self._renewed: dict[str, Pass] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.snapshot = Snapshot()
        self.compose()

    # ------------------------------------------------------------------ the picture

    def compose(self) -> None:
        """A new snapshot from the latest store states, orders, health, breakers and load."""
        tick = self.ticks()
        self.snapshot = Snapshot(
            taken=self.now(),
            store_up=self._store_up,
            local=any(entrance.local for entrance in self._entrances.values()),
            origin_up=self.shop.health.up,
            fallback=self.orders.fallback,
            shedding=self.orders.shedding,
            overload=self.shop.overload.level(tick),
            open_breakers=frozenset(name for name, breaker in self.shop.breakers.items() if breaker.refuses(tick)),
            rooms={name: self._view(name, room) for name, room in self.settings.rooms.items()},
        )

    def _view(self, name: str, room: Room) -> RoomView:
        view = self.orders.room(name).view_of(room)
        state = self._states.get(name)
        if state is None:
            return view
        shares = {tag_of(group): each.share for group, each in room.groups.items()}
        return replace(view.told_by(state, shares), told=self.now() - self._told[name] < STORE_LOST)

    def told(self, room: str) -> RoomState:
        """What the store told last of ``room``, whatever the operators order."""
        return self._states.get(room, RoomState())

    def terms(self, room: Room) -> Terms:
        """What the store's scripts need to know of a room right now. While the shop is down nobody is called."""
        known = self._terms.get(room.name)
        if known is not None and known[0] is self.orders and known[1] is self.snapshot:
            return known[2]
        orders = self.orders.room(room.name)
        amount, period = orders.amount_and_period(room)
        terms = Terms(
            amount=amount,
            period=period,
            burst=orders.burst_of(room),
            active=orders.active_of(room),
            session=orders.session_of(room),
            mode=RoomMode.HOLD if self.snapshot.fallback_on and orders.mode is RoomMode.AUTO else orders.mode,
            opens=room.opens or 0.0,
            closes=math.inf if room.closes is None else room.closes,
            draw=room.order is Order.RANDOM,
            maximum=room.maximum,
            grace=room.grace,
            groups=tuple((name, group.share) for name, group in room.groups.items()),
        )
        self._terms[room.name] = self.orders, self.snapshot, terms
        return terms

    async def refresh(self) -> None:
        """Ask the store for every room's state, then compose. Called several times a second."""
        rooms = self.settings.rooms
        told = await asyncio.gather(
            *(self._entrances[name].tick(self.terms(room)) for name, room in rooms.items()), return_exceptions=True
        )
        failed: list[BaseException] = []
        for name, answer in zip(rooms, told, strict=True):
            if isinstance(answer, BaseException):
                failed.append(answer)
            else:
                self._states[name], self._told[name] = answer, self.now()
        if failed or any(entrance.local for entrance in self._entrances.values()):
            self._store_up = self._store_up and self.now() - self.told_at < STORE_LOST
        else:
            self._store_up, self.told_at = True, self.now()
        self.compose()
        for error in failed:
            if not isinstance(error, StoreUnavailable):
                raise error

    # ------------------------------------------------------------------ deciding

    async def consider(self, visit: Visit, asked: Ask | None = None) -> Decision:
        """The decision for this request, after putting to the store what :func:`decide` asks: first of all ``asked``."""
        decision = await self._resolve(lambda told: decide(visit, self.snapshot, self.settings, told), asked)
        self._notice(visit, decision)
        return decision

    def desk(self, visit: Visit, room: Room) -> Desk:
        """For newcomers who ask at ``room`` for what ``visit`` asks."""
        return Desk(self, visit, room, self._entrances[room.name])

    async def consider_room(self, visit: Visit, name: str, *, claim: bool = True) -> Decision:
        """The same for one named room (the room endpoints). Without ``claim`` a called ticket is only looked at."""
        room = self.settings.rooms[name]

        def step(told: Told) -> Decision | Ask:
            asked = may_enter(visit, self.snapshot, room, told)
            if isinstance(asked, Join):
                asked = first_limit(visit, self._limits_of[name], told) or asked
            if isinstance(asked, Claim) and not claim:
                return Decision(Outcome.WAIT, Reason.RATE, room=name, ticket=asked.ticket)
            return asked

        decision = await self._resolve(step)
        self._notice(visit, decision)
        return decision

    def _notice(self, visit: Visit, decision: Decision) -> None:
        """Who comes back with a ticket and waits is present; the line goes by that when it calls."""
        if decision.outcome is Outcome.WAIT and decision.room is not None and decision.room in visit.tickets:
            self._lines[decision.room].present(visit.tickets[decision.room])

    async def _resolve(self, step: Callable[[Told], Decision | Ask], first: Ask | None = None) -> Decision:
        told = Told()
        while True:
            asked = first or step(told)
            first = None
            match asked:
                case Decision():
                    return asked
                case Hit(limit=limit, client=client):
                    quota = await self._quotas.hit(limit, client)
                    told = replace(told, quotas={**told.quotas, limit.name: quota})
                case Join(room=room):
                    view = self.snapshot.rooms[room.name]
                    told = await self._tell(told, self._entrances[room.name].join(self.terms(room), view))
                case Claim(room=room, ticket=ticket):
                    told = await self._tell(told, self._entrances[room.name].claim(ticket, self.terms(room)))

    async def _tell(self, told: Told, question: Coroutine[Any, Any, Entry]) -> Told:
        try:
            return replace(told, entry=await question)
        except StoreUnavailable:
            return replace(told, entry_failed=True)

    async def invite(self, visit: Visit, invitation: Invitation) -> Decision | None:
        """What the bearer of ``invitation`` gets at its room, in place of an ordinary ticket. None: it is used up.

        Nothing is used where the visitor may go on anyway, or nobody may; the room's limits count it as they count a join, and
        so does one of our own, since an invitation may have any number of uses.
        """
        room = self.settings.rooms[invitation.room]
        asked = may_enter(visit, self.snapshot, room, Told())
        if isinstance(asked, Decision) and asked.outcome is not Outcome.WAIT and asked.reason is not Reason.LINE_FULL:
            return asked
        limited = await self._limited(visit, [*self._limits_of[room.name], INVITATION_LIMIT])
        if limited is not None:
            return limited
        try:
            entry = await self._lines[room.name].invite(invitation, self.terms(room), visit.tickets.get(room.name))
        except StoreUnavailable:
            return Decision(Outcome.WAIT, Reason.STORE, room=room.name, retry_after=STORE_RETRY)
        if entry is None:
            return None
        decision = may_enter(visit, self.snapshot, room, Told(entry=entry))
        assert isinstance(decision, Decision)  # noqa: S101 - nothing is left to ask
        return decision

    async def _limited(self, visit: Visit, limits: list[Limit]) -> Decision | None:
        """Counts a request by all of these limits, up to the first that is used up."""
        told = Told()
        while isinstance(asked := first_limit(visit, limits, told), Hit):
            quota = await self._quotas.hit(asked.limit, asked.client)
            told = replace(told, quotas={**told.quotas, asked.limit.name: quota})
        return asked

    async def hit_form(self, visit: Visit) -> bool:
        """May this client send the e-mail form once more? Without the store this worker counts for itself."""
        client = client_of(FORM_LIMIT, visit) or "unnamed"
        quota = await self._quotas.hit(FORM_LIMIT, client)
        return quota.allowed if quota is not None else await self._forms.hit(FORM_LIMIT.rate, client)

    # ------------------------------------------------------------------ answering

    def answer(self, visit: Visit, decision: Decision, body: bytes | None = None) -> Answer:
        """The gate's own response to every decision that is not forwarded. ``body``: a form that the page is to keep."""
        answer = self._render(visit, decision, body)
        self._notice(visit, decision)
        self.meter.decided(decision)
        cookies = self.cookies(visit, decision)
        if cookies:  # whatever a canned answer says of caches: this one is somebody's own
            answer = Answer(answer.status, (*(f for f in answer.headers if f[0] not in _CACHE_NAMES), *_PRIVATE), answer.body)
        return answer.plus((b"gate-decision", decision.label.encode()), *cookies)

    def _render(self, visit: Visit, decision: Decision, body: bytes | None = None) -> Answer:
        now = self.now()
        match decision.outcome:
            case Outcome.WAIT:
                kept = None
                if body is not None and decision.ticket is not None:
                    kept = seal(self.keyring, visit, decision.ticket, body, now)
                return self.pages.waiting(visit, decision, self.snapshot.rooms[decision.room or ""], now, kept=kept)
            case Outcome.CLOSED:
                return self.pages.closed(visit, decision, self.snapshot.rooms[decision.room or ""])
            case Outcome.LIMIT:
                return self.pages.limited(visit, decision)
            case Outcome.SHED:
                if decision.route is not None and decision.route.fallback is not None:
                    return self.pages.canned(decision.route.fallback, visit)
                return self.pages.shed(visit, decision)
            case _:
                if decision.route is not None and decision.route.fallback is not None:
                    return self.pages.canned(decision.route.fallback, visit)
                return self.pages.fallback(visit, decision, now)

    def refuse(self, refusal: Refusal, wants: Form = "html", languages: tuple[str, ...] = ()) -> Answer:
        """The answer to a request that could not be read."""
        decision = Decision(Outcome.REFUSE, refusal.reason, detail=refusal.detail)
        self.meter.decided(decision)
        answer = self.pages.problem(refusal.status, refusal.detail, wants, languages, reason=refusal.reason)
        return answer.plus((b"gate-decision", decision.label.encode()))

    def cookies(self, visit: Visit, decision: Decision) -> Fields:
        """The Set-Cookie fields that this decision asks for."""
        secure = visit.scheme == "https"
        fields: list[tuple[bytes, bytes]] = []
        kept = decision.outcome in (Outcome.WAIT, Outcome.CLOSED) or decision.reason is Reason.SHADOW
        if kept and decision.ticket is not None:
            ticket = decision.ticket
            old = self.now() - ticket.joined / 1000 > TICKET_AGE / 2  # who still comes keeps it: its cookie lives on
            if (old or visit.tickets.get(ticket.room) != ticket) and not is_foreign_form(visit):
                token = self.keyring.sign_ticket(ticket)
                age = ticket_age(self.now(), self.snapshot.rooms[ticket.room].opens)
                fields.append(set_cookie("ticket", ticket.room, token, age, secure=secure))
        granted = decision.granted or (self._renew(decision) if decision.renew else None)
        if granted is not None:
            age = max(1, int(granted.expires - self.now()))
            fields.append(set_cookie("pass", granted.room, self.keyring.sign_pass(granted), age, secure=secure))
            if granted.room in visit.tickets:
                fields.append(set_cookie("ticket", granted.room, "", 0, secure=secure))
        return tuple(fields)

    def _renew(self, decision: Decision) -> Pass | None:
        """A pass that lives from now on; its seat is extended in the background. Parallel requests share one renewal."""
        held = decision.held
        if held is None:
            return None
        room = self.settings.rooms[held.room]
        session = self.orders.room(held.room).session_of(room)
        known = self._renewed.get(held.id)
        now = self.now()
        if known is not None and known.expires - now > session / 2:
            return known
        renewed = Pass(held.room, held.id, now, now + session)
        if len(self._renewed) >= RENEWALS_KEPT:
            self._renewed.clear()
        self._renewed[held.id] = renewed
        self._later(self._lines[held.room].renew(held.id, self.terms(room)))
        return renewed

    def renewed_until(self, pass_id: str) -> float:
        """Unix time until which a pass lasts, if this worker has renewed it lately; else 0."""
        renewed = self._renewed.get(pass_id)
        return 0.0 if renewed is None else renewed.expires

    # ------------------------------------------------------------------ forwarding

    def headers_for_origin(self, visit: Visit, decision: Decision) -> Fields:
        """Who this is, signed, so that the origin can refuse what did not come through the gate."""
        carried = decision.granted or decision.held
        if decision.room is None or carried is None:
            return ()
        signature = self.keyring.sign_visitor(decision.room, carried.id, self.snapshot.taken)
        return (
            (b"gate-room", decision.room.encode()),
            (b"gate-visitor", carried.id.encode()),
            (b"gate-signature", signature.encode()),
        )

    def headers_for_visitor(self, visit: Visit, decision: Decision) -> Fields:
        """To add to the origin's response; cache fields here replace the origin's.

        What a room guards is personal: an edge that stored it would serve it to those who wait.
        """
        fields: Fields = ((b"gate-decision", decision.label.encode()), *self.cookies(visit, decision))
        if decision.room is not None:
            fields += _PRIVATE
        return fields

    def lane(self, route: Route | None) -> Lane:
        """On which requests with this route go to the origin."""
        name = None if route is None else route.name
        found = self._lanes.get(name)
        if found is None:
            found = self._lanes[name] = Lane(self, route)
        return found

    def on_command(self, visit: Visit, decision: Decision, value: bytes) -> None:
        """The origin's ``Gate-Command``: a list. ``release``: this visitor is done, the seat is free, the pass is over.
        ``left=40``: so much is left to sell in the room that the request was for."""
        carried = decision.granted or decision.held
        for command in value.lower().split(b","):
            word, _, number = command.strip().partition(b"=")
            if word == b"release" and carried is not None:
                self._later(self._lines[carried.room].release(carried.id))
            elif word == b"left" and decision.room is not None and _is_stock(number):
                self._lines[decision.room].stock(int(number))

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a store that was away; the next refresh sees it

    def leave(self) -> None:
        """The worker drains: while the store is away its share of the rate is its successor's."""
        for entrance in self._entrances.values():
            entrance.leave()

    async def drain(self) -> None:
        """Wait for what was left to do in the background."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=2.0)
