"""What the access log hears of one request. Nothing here exists for requests that it does not want."""

from time import monotonic
from typing import TYPE_CHECKING, Final

from gate.core.decision import Decision
from gate.core.facts import Refusal
from gate.core.visit import Visit
from gate.core.words import Outcome

if TYPE_CHECKING:
    from gate.wire.contract import Access

LEFT: Final = 499  # the status of a visitor who went before an answer began, as nginx writes it


class Account:
    """Opened with the head of a request, closed when nothing more of it will be written. ``sent``: bytes of body."""

    __slots__ = ("_access", "_started", "decision", "sent", "status", "visit")

    def __init__(self, access: "Access") -> None:
        self._access = access
        self._started = monotonic()
        self.visit: Visit | None = None
        self.decision: Decision | None = None
        self.status = LEFT
        self.sent = 0

    def refused(self, refusal: Refusal) -> None:
        """What was decided before no longer holds."""
        self.status = refusal.status
        self.decision = Decision(Outcome.REFUSE, refusal.reason, detail=refusal.detail)

    def close(self) -> None:
        """Write the line. A request that could not be read has none: the metrics count it."""
        if self.visit is not None and self.decision is not None:
            self._access(self.visit, self.decision, self.status, monotonic() - self._started, sent=self.sent)
