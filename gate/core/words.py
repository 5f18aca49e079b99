"""The closed vocabularies of the gate: what can be ordered, decided and said.

Every label that leaves the process (header, metric, log, document) is a member of one of these enums, so that the docs can
be checked against them and a metric can never grow an unplanned label.
"""

from enum import StrEnum


class RoomMode(StrEnum):
    """What the operator ordered for a room."""

    AUTO = "auto"  # admit at the rate; a line forms beyond it
    OPEN = "open"  # everybody passes, nobody needs a pass
    HOLD = "hold"  # nobody new enters; the line grows and keeps its order
    CLOSED = "closed"  # nobody new enters and no line forms


class Switch(StrEnum):
    """What the operator ordered for the fallback page."""

    AUTO = "auto"  # the health checks decide
    ON = "on"
    OFF = "off"


class Shedding(StrEnum):
    """What the operator ordered for shedding. Levels are cumulative."""

    AUTO = "auto"  # the measured overload decides
    OFF = "off"
    SHEDDABLE = "1"  # sheddable routes answer their fallback
    NORMAL = "2"  # normal routes too; only critical ones are forwarded


class RouteClass(StrEnum):
    """How much a route matters when not everything can be served."""

    CRITICAL = "critical"
    NORMAL = "normal"
    SHEDDABLE = "sheddable"


class Order(StrEnum):
    FIFO = "fifo"
    RANDOM = "random"


class Outcome(StrEnum):
    """The one thing that happens to a request."""

    REFUSE = "refuse"  # the request is not one we can serve: 4xx
    OWN = "own"  # an endpoint of the gate itself
    FALLBACK = "fallback"  # the static page, or the route's canned answer
    LIMIT = "limit"  # this client asks too often: 429
    WAIT = "wait"  # the visitor stands in line
    CLOSED = "closed"  # the room takes nobody
    SHED = "shed"  # dropped now so that what matters stays fast
    FORWARD = "forward"  # the origin answers


class Reason(StrEnum):
    """Why. One label per cause; docs/architecture.md lists them with what to do."""

    # refuse
    MALFORMED = "malformed"  # framing, target or header that two programs could read differently
    HOST = "host"  # not a host name of this shop
    ASKER = "asker"  # asks about requests, and is no edge of `edge.ask`
    METHOD = "method"  # CONNECT, TRACE
    TOO_LARGE = "too-large"  # body, target or headers beyond the limit
    # own
    ENDPOINT = "endpoint"
    # fallback
    ORDERED = "ordered"  # the operator said so (also shed)
    ORIGIN_DOWN = "origin-down"  # health checks, active or passive
    ORIGIN_FAILED = "origin-failed"  # this request failed at the origin
    BREAKER = "breaker"  # the route's breaker is open
    # limit
    RATE_LIMIT = "rate-limit"
    # wait
    RATE = "rate"  # no token left
    ACTIVE = "active"  # the room is full
    LINE = "line"  # others came first
    HOLD = "hold"  # the operator holds the room
    STORE = "store"  # the store does not answer; nobody new enters
    NOT_OPEN = "not-open"  # before the room opens
    # closed
    ROOM_CLOSED = "room-closed"  # the operator closed the room
    SALE_OVER = "sale-over"  # after the room closes
    SOLD_OUT = "sold-out"  # nothing is left
    LINE_FULL = "line-full"  # as many wait as the room's maximum allows
    # shed
    OVERLOAD = "overload"
    # forward
    UNGUARDED = "unguarded"  # no room guards this path
    OPEN = "open"  # the room's mode is open
    BYPASS = "bypass"  # a bypass rule named this visitor
    PASS = "pass"  # noqa: S105 - a label, not a password
    ADMITTED = "admitted"  # got a pass with this very request
    LOCAL = "local"  # the same while the store is away, by this worker's share of the rate
    SHADOW = "shadow"  # the room only watches; it would have waited
