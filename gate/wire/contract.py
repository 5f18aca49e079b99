"""What the wire needs of the engine. The wire imports only the core; the engine fits these shapes."""

from collections.abc import Awaitable
from typing import Protocol

from gate.core.address import Trust
from gate.core.answer import Answer, Fields
from gate.core.credentials import KeyRing, Ticket
from gate.core.decision import Ask, Decision, Entry
from gate.core.facts import Refusal
from gate.core.settings import Room, Route, Settings
from gate.core.settle import Trouble
from gate.core.snapshot import Snapshot
from gate.core.visit import Form, Visit


class Attempt(Protocol):
    """One request at the origin. Exactly one of these is called, once; ``since``: when it began, by the monotonic clock."""

    def answered(self, decision: Decision, status: int, since: float) -> Decision:
        """The head of an answer is there: the decision to deliver it, or another."""
        ...

    def failed(self, decision: Decision, trouble: Trouble, since: float) -> Decision:
        """No head came: what to answer instead."""
        ...

    def left(self) -> None:
        """The visitor went first."""
        ...


class Lane(Protocol):
    """What requests on one route have in common (:class:`gate.attempt.Lane`)."""

    def start(self, tick: float) -> Attempt: ...


class Tally(Protocol):
    """Counts requests that were decided alike."""

    count: int


class Meter(Protocol):
    def decided(self, decision: Decision) -> None: ...
    def tally(self, decision: Decision) -> Tally: ...


class Access(Protocol):
    """Writes one line about a request that is over. ``seconds`` from its head to the end of the answer, ``sent`` bytes."""

    def wants(self) -> bool:
        """Asked when a request begins: is it one of those that are written down?"""
        ...

    def __call__(self, visit: Visit, decision: Decision, status: int, seconds: float, *, sent: int = 0) -> None: ...


class Greeting(Protocol):
    """What newcomers of one kind are answered: ``fields`` to all of them, and what :meth:`answer` says to one."""

    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> Fields: ...
    def answer(self, ticket: Ticket) -> tuple[bytes, bytes]:
        """The lines of the head that are the visitor's own, and the body."""
        ...


class Desk(Protocol):
    """Where newcomers of one kind are received (:class:`gate.reception.Desk`)."""

    def open(self) -> bool: ...
    def join(self) -> Entry | Awaitable[Entry]: ...
    def greeting(self, entry: Entry) -> Greeting | None: ...
    def decide(self, visit: Visit, entry: Entry) -> Decision: ...


class Engine(Protocol):
    settings: Settings
    keyring: KeyRing
    trust: Trust
    snapshot: Snapshot

    @property
    def meter(self) -> Meter: ...
    @property
    def access(self) -> Access | None: ...
    def now(self) -> float:
        """Unix time, seconds."""
        ...

    def ticks(self) -> float:
        """Seconds since some moment in the past."""
        ...

    async def consider(self, visit: Visit, asked: Ask | None = None) -> Decision: ...
    def desk(self, visit: Visit, room: Room) -> Desk: ...
    def answer(self, visit: Visit, decision: Decision, body: bytes | None = None) -> Answer: ...
    def refuse(self, refusal: Refusal, wants: Form = "html", languages: tuple[str, ...] = ()) -> Answer: ...
    def headers_for_origin(self, visit: Visit, decision: Decision) -> Fields: ...
    def headers_for_visitor(self, visit: Visit, decision: Decision) -> Fields: ...
    def renewed_until(self, pass_id: str) -> float: ...
    def lane(self, route: Route | None) -> Lane: ...
    def on_command(self, visit: Visit, decision: Decision, value: bytes) -> None: ...
