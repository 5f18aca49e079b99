"""Decides the laws of the line from what clients and the shop wrote down, and from nothing else.

After Jepsen: the system under test has no say. Each law is a function from the records to its breaches, in words.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile

from gate.demo.journal import Entry, excess
from tests.laws.records import Fault, Saw

BLOCK = 0.1  # seconds: numbers are leased in blocks, and within one workers may number out of order
HELD = 3.5  # seconds for which the gate may hold an answer back (gate.store.line)
WINDOW = 10.0  # seconds over which work is measured
LEAST = 0.95  # of the rate
FAITHFUL = ("present", "racer")  # they ask when they are told to, all the time


@dataclass(frozen=True)
class History:
    """One run: ``rate`` visitors per second after ``burst``; ``active`` inside for ``session`` seconds each."""

    saws: list[Saw]
    faults: list[Fault]
    entries: list[Entry]
    rate: float
    burst: int
    active: int | None = None
    session: float = 600.0
    room: str = "checkout"

    def entered(self) -> dict[str, float]:
        """When each visitor was first seen by the shop, behind the door of the room."""
        first: dict[str, float] = {}
        for entry in self.entries:
            if entry.room == self.room and entry.visitor is not None:
                first.setdefault(entry.visitor, entry.at)
        return first

    def by_client(self) -> dict[int, list[Saw]]:
        found: dict[int, list[Saw]] = defaultdict(list)
        for saw in self.saws:
            found[saw.client].append(saw)
        return found


def breaches(history: History) -> list[str]:
    """All of them, of all laws; an empty list is what one wants."""
    return [*rate(history), *seats(history), *one(history), *place(history), *order(history), *work(history), *lost(history)]


def rate(history: History) -> Iterator[str]:
    """In any window W: at most burst + rate * W. Less than one visitor too many is the way from the gate to the shop."""
    worst = excess(sorted(history.entered().values()), rate=history.rate, burst=history.burst)
    if worst >= 1:
        yield f"rate: {worst:.2f} visitors too many in one window"


def seats(history: History) -> Iterator[str]:
    """Nobody here uses a pass twice, so whoever came within the last session holds a seat."""
    times = sorted(history.entered().values())
    for index, at in enumerate(times):
        inside = index + 1 - bisect_right(times, at - history.session)
        if history.active is not None and inside > history.active:
            yield f"seats: {inside} inside at {at:.2f}, {history.active} allowed"
            return


def one(history: History) -> Iterator[str]:
    """A visitor enters once, under the ticket it holds; nobody enters under another's, or under none."""
    holders: dict[str, set[int]] = defaultdict(set)
    for saw in history.saws:
        if saw.ticket is not None:
            holders[saw.ticket].add(saw.client)
    entered: dict[int, list[str]] = defaultdict(list)
    for visitor in history.entered():
        if not holders[visitor]:
            yield f"one: {visitor} entered, and no client holds that ticket"
        for client in holders[visitor]:
            entered[client].append(visitor)
    for visitor, clients in holders.items():
        if len(clients) > 1:
            yield f"one: clients {sorted(clients)} hold the same ticket {visitor}"
    for client, visitors in entered.items():
        if len(visitors) > 1:
            yield f"one: client {client} entered {len(visitors)} times: {', '.join(visitors)}"


def place(history: History) -> Iterator[str]:
    """What a visitor is told to have ahead never grows, and its ticket is never changed for another."""
    for client, saws in history.by_client().items():
        told = [(saw.got, saw.ahead) for saw in saws if saw.ahead is not None and saw.kind != "racer"]
        for (_, before), (at, after) in pairwise(told):
            if after > before:
                yield f"place: client {client} had {before} ahead, and {after} at {at:.2f}"
        tickets = list(dict.fromkeys(saw.ticket for saw in saws if saw.ticket is not None))
        if len(tickets) > 1 and saws[0].kind in FAITHFUL:
            yield f"place: client {client} held {len(tickets)} tickets"


@dataclass(frozen=True)
class _Turn:
    client: int
    asked: float  # before this it cannot have had a number
    numbered: float  # from here on it certainly had one
    entered: float
    saws: tuple[Saw, ...]

    def poll(self, at: float) -> float:
        """How long it had been told to stay away at that time, and may be held: once more for each time it met no store."""
        before = [saw for saw in self.saws if saw.got <= at]
        in_vain = takewhile(lambda saw: saw.state == "store" or saw.error, (saw for saw in self.saws if saw.got > at))
        return sum((saw.again or 0.0) + HELD for saw in (*before[-1:], *in_vain))


def _turns(history: History) -> list[_Turn]:
    entered = history.entered()
    turns = []
    for client, saws in history.by_client().items():
        holding = [saw for saw in saws if saw.ticket is not None]
        if not holding or saws[0].kind not in FAITHFUL or holding[-1].ticket not in entered:
            continue
        at = entered[holding[-1].ticket]
        turns.append(_Turn(client, holding[0].sent, holding[0].got, at, tuple(saws)))
    return sorted(turns, key=lambda turn: turn.numbered)


def order(history: History) -> Iterator[str]:
    """Nobody who asks when told is overtaken by more than one poll by somebody who came more than a block later."""
    turns = _turns(history)
    for index, earlier in enumerate(turns):
        for later in turns[index + 1 :]:
            if later.asked <= earlier.numbered + BLOCK:
                continue
            broken = _broken(history, later.entered, earlier.entered)
            if later.entered + earlier.poll(later.entered) + broken < earlier.entered:
                sooner = earlier.entered - later.entered
                yield f"order: client {later.client} came after client {earlier.client} and entered {sooner:.1f} s before it"
    tau = kendall(history)
    if len(turns) > 20 and not history.faults and tau < 0.99:  # of clients who ask every second or two, eight a second
        yield f"order: Kendall's tau is {tau:.4f}"


def _broken(history: History, begin: float, end: float) -> float:
    """Seconds of that time in which a fault was on, and answers were held by it."""
    return sum(fault.end - fault.begin + HELD for fault in history.faults if fault.begin < end and fault.end > begin)


def kendall(history: History) -> float:
    """Of the order of coming and the order of entering: 1 is the same, -1 the reverse."""
    turns = _turns(history)
    agree = differ = 0
    for index, one_ in enumerate(turns):
        for other in turns[index + 1 :]:
            if other.asked <= one_.numbered + BLOCK:
                continue
            if one_.entered <= other.entered:
                agree += 1
            else:
                differ += 1
    return (agree - differ) / max(1, agree + differ)


def work(history: History) -> Iterator[str]:
    """While somebody faithful waits, at least 95 % of the rate is used over any 10 s without a fault in it."""
    if history.active is not None:
        return  # a full room moves as its visitors leave it
    times = sorted(history.entered().values())
    entered = history.entered()
    waits = []
    for saws in history.by_client().values():
        holding = [saw for saw in saws if saw.ticket is not None]
        if holding and saws[0].kind in FAITHFUL:
            waits.append((holding[0].got, entered.get(holding[-1].ticket or "", saws[-1].got)))
    begin, end = min(wait[0] for wait in waits), max(wait[1] for wait in waits)
    at = begin
    while at + WINDOW <= end:
        stop = at + WINDOW
        disturbed = any(fault.begin < stop and fault.end + fault.slack > at for fault in history.faults)
        # enough of them must be there all the time for the rate to be used by anybody
        there = sum(1 for came, went in waits if came <= at and went >= stop)
        if not disturbed and there > 0:
            done = bisect_left(times, stop) - bisect_left(times, at)
            if done < LEAST * history.rate * WINDOW - 1:
                yield f"work: {done} entered from {at:.1f} to {stop:.1f}, {there} waited all the time"
                return
        at += 0.25


def lost(history: History) -> Iterator[str]:
    """Whoever asked until the end of the run got in."""
    entered = history.entered()
    for client, saws in history.by_client().items():
        if saws[0].kind not in FAITHFUL and saws[0].kind != "sleeper":
            continue
        if not any(saw.ticket in entered for saw in saws if saw.ticket is not None):
            last = saws[-1]
            yield f"lost: client {client} ({last.kind}) never got in; last seen: {last.status} {last.state} {last.error}"
