"""The second choice about a request: what came back from the origin, and whether the visitor gets it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from gate.core.decision import Decision
from gate.core.words import Outcome, Reason

BUSY_RETRY = 5.0  # seconds


class Trouble(StrEnum):
    """How an exchange with the origin failed before the head of its answer was complete."""

    CONNECT = "connect"  # refused, unreachable, no connection within the deadline
    TIMEOUT = "timeout"  # no first byte in time
    RESET = "reset"  # closed or reset before the head was complete
    GARBAGE = "garbage"  # not an HTTP response
    BUSY = "busy"  # no connection free in the pool


@dataclass(frozen=True, slots=True)
class Result:
    """What came back. Exactly one of ``status`` and ``trouble`` is set. ``seconds`` from request to head or failure."""

    status: int | None = None
    trouble: Trouble | None = None
    seconds: float = 0.0


def is_failure(result: Result) -> bool:
    """Counts against the route's breaker: no answer, and 5xx answers, except the two that describe the request (501, 505).

    That our own pool was full says nothing about the origin.
    """
    if result.trouble is not None:
        return result.trouble is not Trouble.BUSY
    return result.status is not None and is_failed(result.status)


def is_failed(status: int) -> bool:
    """Is an answer with this status a failure of the origin?"""
    return status >= 500 and status not in (501, 505)


def settle(decision: Decision, result: Result) -> Decision:
    """The same decision to deliver what came back, or a fallback.

    A route with a canned answer serves it for any failure. Without one, the origin's own error page is delivered, and only
    trouble (no answer at all) becomes the static page.
    """
    if result.trouble is Trouble.BUSY:
        return replace(decision, outcome=Outcome.SHED, reason=Reason.OVERLOAD, retry_after=BUSY_RETRY)
    if not is_failure(result):
        return decision
    if decision.route is not None and decision.route.fallback is not None:
        return replace(decision, outcome=Outcome.FALLBACK, reason=Reason.ORIGIN_FAILED)
    if result.trouble is not None:
        return replace(decision, outcome=Outcome.FALLBACK, reason=Reason.ORIGIN_FAILED, route=None)
    return decision
