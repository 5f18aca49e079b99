"""The head of a request as it was read: its line, its cookie, and all the rest, which many visitors' heads have alike.

What is known of each of these three hangs on it, and is found with it when the same bytes come again.
"""

from typing import TYPE_CHECKING, Final

from gate.core.visit import Form

if TYPE_CHECKING:
    from gate.wire.way import Carried, Plan

CHUNKED: Final = -1  # Head.length of a chunked body
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Start:
    """A request line. ``plan``: what the fast path makes of it (:class:`gate.wire.way.Plan`). ``idempotent``: it may be sent
    twice."""

    __slots__ = ("idempotent", "line", "method", "minor", "plan", "target")

    def __init__(self, line: bytes, method: bytes, target: bytes, minor: int) -> None:
        self.line = line
        self.method = method
        self.target = target
        self.minor = minor
        self.idempotent = method in IDEMPOTENT
        self.plan: Plan | None = None


class Common:
    """What a head says besides its request line and its cookie; many visitors' heads have it alike.

    ``plain``: the lines that go to the origin unchanged, each with its end. ``others``: lines of kind OTHER. ``cookies``: of
    further Cookie lines. ``named``: Connection names further fields. ``usual``: nothing of all that, and no Upgrade.
    For the fast paths, ``accepted``: its Host is one of ours; ``reads``: the form and the languages asked for.
    """

    __slots__ = (
        "accepted",
        "cookies",
        "expects",
        "host",
        "keep_alive",
        "length",
        "named",
        "others",
        "plain",
        "reads",
        "upgrade",
        "usual",
    )

    accepted: bool
    cookies: list[bytes]
    expects: bool
    host: bytes
    keep_alive: bool
    length: int
    named: bool
    others: list[bytes]
    plain: bytes
    reads: tuple[Form, tuple[str, ...]] | None
    upgrade: bool
    usual: bool


class Head:
    """One request head. ``cookie``: the value of the first Cookie line, or b"". ``carried``: what the fast path made of one
    that read the same (:class:`gate.wire.way.Carried`)."""

    __slots__ = ("block", "carried", "common", "cookie", "start")

    block: bytes
    carried: "Carried | None"
    common: Common
    cookie: bytes
    start: Start

    @property
    def minor(self) -> int:
        return self.start.minor

    @property
    def method(self) -> bytes:
        return self.start.method

    @property
    def length(self) -> int:
        """Bytes of body to come, or :data:`CHUNKED`."""
        return self.common.length

    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """All fields in order, names in lower case."""
        pairs = (line.partition(b":") for line in self.block[:-4].split(b"\r\n")[1:])
        return tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)


def upgrade_of(head: Head) -> bytes | None:
    """What the visitor wants to speak instead, when that may be passed on; h2c never is (it would hide requests from us)."""
    if not head.common.upgrade:
        return None
    values = [value for name, value in head.fields() if name == b"upgrade"]
    if len(values) != 1 or b"," in values[0] or values[0].lower().startswith((b"h2", b"http")):
        return None
    return values[0]
