"""The body of a form whose sender has to wait: read to its end, and handed to the page that keeps it."""

from typing import TYPE_CHECKING

from gate.core.decision import Decision
from gate.core.visit import Visit

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.protocol import VisitorConnection


class Keeping:
    """One small form. It comes under the deadlines of every body, and after its 100 (Continue) where one is asked for."""

    __slots__ = ("_body", "_decision", "_door", "_visit", "_visitor")

    def __init__(self, door: "Door", visitor: "VisitorConnection", visit: Visit, decision: Decision) -> None:
        self._door = door
        self._visitor = visitor
        self._visit = visit
        self._decision = decision
        self._body = b""

    def start(self) -> None:
        self._visitor.take(self)

    @property
    def heard(self) -> float:
        return 0.0

    def body(self, data: bytes, ended: bool) -> None:
        self._body += data  # no longer than its Content-Length, which was looked at before
        if not ended:
            return
        body, self._body = self._body, b""
        try:
            answer = self._door.engine.answer(self._visit, self._decision, body)
        except Exception:
            self._visitor.job = None
            self._door.broken(self._visitor, self._visitor.head)
        else:
            self._visitor.respond(answer, job=self)

    def writable(self, ready: bool) -> None:
        """Nothing is written before the end."""

    def left(self) -> None:
        self._body = b""
