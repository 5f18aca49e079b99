"""New visitors on a guarded path, answered from what is known of those who asked the same before.

Which room guards a request line, and what Accept and Accept-Language ask for, is read once for all who send the same bytes.
What is left for each is a number, its ticket and the bytes of the page. Whoever carries something of ours, comes with what has
to be looked at for each visitor, or does not have to wait, goes the long way.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from gate.core import negotiate
from gate.core.address import visitor_address
from gate.core.decision import Entry
from gate.core.visit import Form, Headers, Visit
from gate.wire.contract import Desk, Greeting
from gate.wire.heads import connection_line, lines, status_line
from gate.wire.memo import Memo
from gate.wire.request import Common, Head
from gate.wire.way import Plan

if TYPE_CHECKING:
    from gate.wire.door import Door
    from gate.wire.protocol import VisitorConnection

DESKS: Final = 1024
_LOOKED_AT: Final = frozenset({b"gate-ticket", b"gate-pass", b"via"})  # read anew for each request
Reads = tuple[Form, tuple[str, ...]]


class Counter:
    """A desk, and the bytes that all its answers begin with."""

    __slots__ = ("desk", "greeting", "start")

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.greeting: Greeting | None = None
        self.start = b""


class Newcomers:
    """One per worker."""

    def __init__(self, door: "Door") -> None:
        self._door = door
        self._counters: Memo[tuple[bytes, bool, Reads], Counter] = Memo(DESKS)

    def serve(self, visitor: "VisitorConnection", head: Head, plan: Plan) -> bool:
        """Answer, if this is a newcomer who has to wait. False: not this way."""
        common = head.common
        if plan.room is None or plan.verb != b"GET" or not head.start.minor or common.length:
            return False
        if not common.usual or common.expects or b"gate_" in head.cookie:
            return False
        secure = visitor.tls
        if common.others:
            fields = _fields(common.others)
            if not _LOOKED_AT.isdisjoint([name for name, _ in fields]):
                return False
            secure = (visitor_address(visitor.peer, fields, self._door.engine.trust).scheme or _scheme(secure)) == "https"
        if not common.accepted and not self._door.plans.knows_host(common):
            return False
        reads = common.reads or _read(common)
        key = head.start.line, secure, reads
        counter = self._counters.young.get(key) or self._counters.find(key)
        if counter is None:
            counter = Counter(self._door.engine.desk(_visit(plan, head, secure, reads), plan.room))
            self._counters.put(key, counter)
        if not counter.desk.open():
            return False
        entry = counter.desk.join()
        if isinstance(entry, Entry):
            self._answer(visitor, head, counter, entry)
        else:
            self._door.spawn(self._later(visitor, head, counter, entry))
        return True

    async def _later(self, visitor: "VisitorConnection", head: Head, counter: Counter, pending: Awaitable[Entry]) -> None:
        try:
            entry = await pending
            if visitor.serves(head):
                if counter.desk.open():
                    self._answer(visitor, head, counter, entry)
                else:
                    self._door.entered(visitor, head, counter.desk, entry)
        except Exception:
            self._door.broken(visitor, head)

    def _answer(self, visitor: "VisitorConnection", head: Head, counter: Counter, entry: Entry) -> None:
        greeting = counter.desk.greeting(entry)
        if greeting is None:
            self._door.entered(visitor, head, counter.desk, entry)
            return
        if greeting is not counter.greeting:
            counter.greeting = greeting
            counter.start = status_line(greeting.status) + lines(greeting.fields)
        own, body = greeting.answer(entry.ticket)
        end = b"\r\n" if visitor.keeps else connection_line(1, keep=False) + b"\r\n"
        framing = b"content-length: %d\r\n" % len(body)
        visitor.send_whole(b"".join((counter.start, self._door.date, own, framing, end, body)))


def _fields(lines_: list[bytes]) -> Headers:
    pairs = (line.partition(b":") for line in lines_)
    return tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)


def _scheme(secure: bool) -> str:
    return "https" if secure else "http"


def _read(common: Common) -> Reads:
    fields = _fields(common.plain.split(b"\r\n")[:-1])
    reads = common.reads = negotiate.form(fields), negotiate.languages(fields)
    return reads


def _visit(plan: Plan, head: Head, secure: bool, reads: Reads) -> Visit:
    """A visitor of this kind who carries nothing."""
    query = head.start.target.partition(b"?")[2]
    return Visit("GET", "https" if secure else "http", "", plan.path, query, (), None, accepts=reads[0], languages=reads[1])
