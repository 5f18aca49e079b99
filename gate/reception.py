"""Newcomers at a room with a line: all that they are told is known before they come, but for their number.

In a storm nearly every request is a new visitor's. Whoever asks for the same thing in the same form and language gets the same
decision as long as a snapshot lasts, so it is asked for once (of :func:`decide`, with a visitor of that kind who carries
nothing), and the answer is made but for the place in line.
"""

from typing import Protocol

from gate.core.answer import Fields
from gate.core.cookies import set_cookie, ticket_age
from gate.core.credentials import KeyRing, Ticket
from gate.core.decide import decide
from gate.core.decision import Decision, Entry, Join, Told
from gate.core.line import Terms
from gate.core.settings import Room, Settings
from gate.core.snapshot import RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason
from gate.eager import Pending, started
from gate.store.local import Entrance
from gate.web.metrics import Tally
from gate.web.pages import Pages
from gate.web.sheets import Return

_GAP = "%"  # stands for the ticket; in no cookie's name or attributes


class Meter(Protocol):
    def tally(self, decision: Decision) -> Tally: ...


class Engine(Protocol):
    """What a desk needs of :class:`gate.engine.Engine`."""

    settings: Settings
    keyring: KeyRing
    snapshot: Snapshot
    pages: Pages

    @property
    def meter(self) -> Meter: ...
    def terms(self, room: Room) -> Terms: ...


class Desk:
    """For visitors who carry nothing of ours and ask what ``visit`` asks. ``room`` guards it, and neither a limit nor a bypass
    rule looks at it."""

    def __init__(self, engine: Engine, visit: Visit, room: Room, entrance: Entrance) -> None:
        self._engine = engine
        self._visit = visit
        self._room = room
        self._entrance = entrance
        self._to = Return(visit, room.name)
        self._snapshot: Snapshot | None = None
        self._keyring: KeyRing | None = None
        self._open = False
        self._terms: Terms
        self._view: RoomView
        self._greetings: dict[tuple[Reason, float], Greeting | None] = {}

    def open(self) -> bool:
        """Is a newcomer to be given a number now, or a pass? Else the decision is another one."""
        engine = self._engine
        if self._snapshot is not engine.snapshot or self._keyring is not engine.keyring:
            self._snapshot, self._keyring = engine.snapshot, engine.keyring
            self._greetings.clear()
            asked = decide(self._visit, engine.snapshot, engine.settings)
            self._open = isinstance(asked, Join) and not self._room.shadow
            self._terms, self._view = engine.terms(self._room), engine.snapshot.rooms[self._room.name]
        return self._open

    def join(self) -> Entry | Pending[Entry]:
        """A number, or a pass, where the desk is open; at once where a number is in hand."""
        terms, view = self._terms, self._view
        return self._entrance.join_at_once(terms, view) or started(self._entrance.join(terms, view))

    def greeting(self, entry: Entry) -> "Greeting | None":
        """What to answer to the one who got ``entry``, where the desk was found open a moment ago. None: that is no place in
        line, and the request must be decided."""
        if entry.status != "waiting":
            return None
        key = entry.reason, entry.retry_after
        greeting = self._greetings.get(key)
        if greeting is None and key not in self._greetings:
            greeting = self._greetings[key] = self._greet(entry)
        return greeting

    def decide(self, visit: Visit, entry: Entry) -> Decision:
        """The decision for one ``visit`` of this kind, who got ``entry``."""
        engine = self._engine
        decision = decide(visit, engine.snapshot, engine.settings, Told(entry=entry))
        assert isinstance(decision, Decision)  # noqa: S101 - nothing is left to ask
        return decision

    def _greet(self, entry: Entry) -> "Greeting | None":
        decision = self.decide(self._visit, entry)
        if decision.outcome is not Outcome.WAIT or decision.ticket is not entry.ticket:
            return None
        return Greeting(self._engine, self._visit, decision, self._to)


class Greeting:
    """The answer to newcomers of one kind who wait for one reason. ``fields`` are those that all of them get."""

    __slots__ = ("_keyring", "_own", "_tally", "_welcome", "fields", "status")

    def __init__(self, engine: Engine, visit: Visit, decision: Decision, to: Return) -> None:
        self._keyring = engine.keyring
        self._tally = engine.meter.tally(decision)
        room = decision.room or ""
        age = ticket_age(engine.snapshot.taken, engine.snapshot.rooms[room].opens)
        name, cookie = set_cookie("ticket", room, _GAP, age, secure=visit.scheme == "https")
        self._own = b"retry-after: %%d\r\n%b: %b\r\n" % (name, cookie.replace(_GAP.encode(), b"%b"))
        self._welcome = engine.pages.welcome(visit, decision, engine.snapshot.rooms[room], engine.snapshot.taken, to)
        self.status = self._welcome.status
        self.fields: Fields = (*self._welcome.fields, (b"gate-decision", decision.label.encode()))

    def answer(self, ticket: Ticket) -> tuple[bytes, bytes]:
        """The lines of the head that are the visitor's own, and the body."""
        self._tally.count += 1
        seconds, body = self._welcome.fill(ticket)
        return self._own % (seconds, self._keyring.ticket_token(ticket)), body
