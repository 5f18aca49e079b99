"""What :func:`gate.core.decide.decide` answers, what it may ask first, and what the store tells it."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gate.core.credentials import Pass, Ticket
from gate.core.settings import Limit, Room, Route
from gate.core.words import Outcome, Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """The one outcome of a request. ``label`` is the same in header, metric, log and ``gate explain``."""

    outcome: Outcome
    reason: Reason
    room: str | None = None
    route: Route | None = None
    ticket: Ticket | None = None  # the place in line: show it, and set its cookie
    granted: Pass | None = None  # a pass made by this request: set its cookie
    held: Pass | None = None  # the pass this request came with
    renew: bool = False  # less than half of the held pass is left: extend its seat and give a fresh one
    retry_after: float | None = None  # seconds
    detail: str = ""  # for the refused: what was wrong, in a sentence for the log and the problem document
    limit: Limit | None = None
    quota: "Quota | None" = None

    @property
    def label(self) -> str:
        """``wait; room=checkout; reason=rate`` (the value of the Gate-Decision header)."""
        room = f"; room={self.room}" if self.room else ""
        return f"{self.outcome}{room}; reason={self.reason}"


@dataclass(frozen=True, slots=True)
class Quota:
    """One per-client limit after this hit, for the RateLimit headers (draft-ietf-httpapi-ratelimit-headers)."""

    allowed: bool
    limit: int  # requests per window
    window: int  # seconds
    remaining: int
    reset: float  # seconds until there is room again


@dataclass(frozen=True, slots=True)
class Hit:
    """Ask: count this request against ``limit`` for ``client`` (an address prefix, pass id or header digest)."""

    limit: Limit
    client: str


@dataclass(frozen=True, slots=True)
class Join:
    """Ask: a newcomer at ``room``: a pass if there is a token and nobody waits, else a number."""

    room: Room


@dataclass(frozen=True, slots=True)
class Claim:
    """Ask: the holder of a called ticket wants its pass."""

    room: Room
    ticket: Ticket


Ask = Hit | Join | Claim


class Entry(NamedTuple):
    """The store's answer to a join or a claim. A tuple: in a storm one is made for everybody.

    ``entered``: ``ticket`` has its pass until ``expires``; with the reason ``pass`` it had it before, and asks again.
    ``waiting``: not yet, ask again in ``retry_after`` seconds; ``reason`` says what is missing.
    ``spent``: the ticket's pass is over or was given back, a new ticket is needed.
    ``full``: the line is at its maximum, and the ticket has no place in it.
    """

    status: Literal["entered", "waiting", "spent", "full"]
    ticket: Ticket
    expires: float = 0.0  # Unix time, seconds
    retry_after: float = 0.0
    reason: Reason = Reason.RATE


@dataclass(frozen=True, slots=True)
class Told:
    """What the store has answered to this request so far. ``None``: not asked. ``entry_failed``: it did not answer."""

    quotas: dict[str, Quota | None] = field(default_factory=dict)  # by Limit.name; None: the store did not answer
    entry: Entry | None = None
    entry_failed: bool = False
