"""Console sessions: an opaque random id in a cookie, everything else in this process's memory.

A restart of the operator process signs everybody out; so does removing the operator, at once.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from secrets import token_urlsafe
from time import monotonic

from starlette.requests import HTTPConnection

from gate.operators import Operator, Operators

IDLE = 8 * 3600.0  # seconds without a request
LONGEST = 24 * 3600.0  # seconds in all
MOST = 200  # sessions; the least used goes first
TRIES = 5  # wrong tokens per address …
TRIES_WITHIN = 60.0  # … in this many seconds
COOKIE = "gate_operator"
SECURE_COOKIE = "__Host-gate_operator"


@dataclass(slots=True)
class Session:
    operator: Operator
    began: float
    used: float
    notice: str = ""  # what the last change did, shown for a while
    noticed: float = -1e9
    failed: bool = False


class Sessions:
    def __init__(self, operators: Operators, ticks: Callable[[], float] = monotonic) -> None:
        self._operators = operators
        self._ticks = ticks
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, operator: Operator) -> str:
        """The id for a new session. Never one that a visitor brought along."""
        now = self._ticks()
        id_ = token_urlsafe(32)
        self._open[_hash(id_)] = Session(operator, now, now)
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return id_

    def find(self, request: HTTPConnection) -> Session | None:
        """The session of this request, if it has a living one, of an operator who is still listed."""
        for id_ in _ids(request):
            key, now = _hash(id_), self._ticks()
            session = self._open.get(key)
            if session is None:
                continue
            operator = self._operators.still(session.operator)
            if operator is None or now - session.used > IDLE or now - session.began > LONGEST:
                del self._open[key]
                continue
            session.operator, session.used = operator, now
            self._open.move_to_end(key)
            return session
        return None

    def end(self, request: HTTPConnection) -> None:
        for id_ in _ids(request):
            self._open.pop(_hash(id_), None)


class Tries:
    """How often an address may be wrong."""

    def __init__(self, ticks: Callable[[], float] = monotonic) -> None:
        self._ticks = ticks
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        times = self._wrong.get(address)
        now = self._ticks()
        if times is None or len(times) < TRIES:
            return 0.0
        return max(0.0, times[0] + TRIES_WITHIN - now)

    def wrong(self, address: str) -> None:
        self._wrong.setdefault(address, deque(maxlen=TRIES)).append(self._ticks())
        self._wrong.move_to_end(address)
        while len(self._wrong) > 1000:
            self._wrong.popitem(last=False)


def _ids(request: HTTPConnection) -> list[str]:
    jar: SimpleCookie = SimpleCookie()
    for header in request.headers.getlist("cookie"):
        try:
            jar.load(header)
        except CookieError:
            continue
    return [jar[name].value for name in (SECURE_COOKIE, COOKIE) if name in jar]


def _hash(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()
