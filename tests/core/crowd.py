"""A crowd before the pure ledger, in virtual time: joins, polls, gives up, and is logged at the door."""

import heapq
import random
from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms
from gate.core.words import Reason

START = 10**15  # the store's clock at second 0


@dataclass
class Crowd:
    """``ghosts``: the share that never comes back after joining. ``leave``: the share that gives up at every knock.

    ``poll``: seconds between two looks at the status when near. ``patience``: how long the gate holds a knock.
    """

    terms: Terms
    size: int
    ghosts: float = 0.0
    leave: float = 0.0
    arrive: float = 2.0
    poll: tuple[float, float] = (0.8, 1.6)
    patience: float = 1.0
    tick: float = 0.25
    seed: int = 1
    admitted: list[tuple[float, int]] = field(default_factory=list)  # (second, visitor)
    left: dict[int, float] = field(default_factory=dict)
    knocked: dict[int, float] = field(default_factory=dict)
    tickets: dict[int, Ticket] = field(default_factory=dict)
    most_inside: int = 0

    def run(self, seconds: float) -> "Crowd":
        rng, ledger, nothing = random.Random(self.seed), Ledger(), Remembered()
        self.ghostly = {who for who in range(self.size) if rng.random() < self.ghosts}
        events: list[tuple[float, int, tuple[Any, ...]]] = []
        order = 0
        serving = 0

        def at(second: float, *event: Any) -> None:
            nonlocal order
            order += 1
            heapq.heappush(events, (second, order, event))

        def entered(second: float, who: int) -> None:
            self.admitted.append((second, who))
            self.most_inside = max(self.most_inside, len(ledger.seats))

        for who in range(self.size):
            at(rng.random() * self.arrive, "join", who)
        for beat in range(int(seconds / self.tick)):
            at(beat * self.tick, "tick")
        while events:
            second, _, event = heapq.heappop(events)
            if second > seconds:
                break
            now = START + round(second * SECOND)
            match event:
                case ("tick",):
                    serving = ledger.tick(now, self.terms, nothing).serving
                case ("join", who) if ledger.last > ledger.serving:
                    number, epoch = ledger.lease(now, self.terms, nothing, 1)
                    self.tickets[who] = Ticket("r", epoch, number, 0, str(who))
                    at(second + rng.uniform(1, 2), "look", who)
                case ("join", who):
                    word = ledger.enter(now, self.terms, nothing, str(who))
                    self.tickets[who] = Ticket("r", word.epoch, word.number, 0, str(who))
                    if word.status == "entered":
                        entered(second, who)
                    else:
                        at(second + word.ask / SECOND + 0.03, "look", who)
                case ("look", who) if who in self.ghostly:
                    pass
                case ("look", who) if self.tickets[who].number <= serving:
                    at(second, "knock", who, second)
                case ("look", who):
                    wait = (self.tickets[who].number - serving) * ledger.state().present / self.terms.per_second
                    at(second + max(rng.uniform(*self.poll), min(wait / 4, 20) * rng.uniform(0.8, 1.2)), "look", who)
                case ("knock", who, since):
                    if rng.random() < self.leave:
                        self.left[who] = second
                        continue
                    self.knocked.setdefault(who, second)
                    word = ledger.claim(now, self.terms, nothing, self.tickets[who])
                    due = second + word.due / SECOND + 0.001
                    if word.status == "entered":
                        entered(second, who)
                    elif word.reason is Reason.RATE and due <= since + self.patience:
                        at(due + rng.uniform(0, 0.004), "knock", who, since)
                    else:
                        back = second + word.ask / SECOND + rng.uniform(0.01, 0.08)
                        at(back, "knock", who, back)
        return self

    # -- what an outsider measures

    @property
    def excess(self) -> Fraction:
        """The most by which any window holds more admissions than burst + rate * window; exact."""
        least, most = None, Fraction(-(10**9))
        for index, (second, _) in enumerate(self.admitted):
            line = index - Fraction(self.terms.step, self.terms.cost) * round(second * SECOND)
            least = line if least is None else min(least, line)
            most = max(most, line - least + 1 - self.terms.burst)
        return most

    def used(self, window: float = 10.0) -> float:
        """The least share of the rate used in any ``window`` seconds, up to the last one present."""
        times = [second for second, who in self.admitted]
        end = max(second for second, who in self.admitted if who not in self.ghostly)
        shares, start = [], 0.0
        while start + window <= end:
            within = bisect_left(times, start + window) - bisect_left(times, start)
            shares.append(within / (self.terms.per_second * window))
            start += 0.5
        return min(shares)

    @property
    def overtaken(self) -> int:
        """The most visitors with a higher number who entered while a lower one was already knocking."""
        most = 0
        for second, who in self.admitted:
            since = self.knocked.get(who, second)
            number = self.tickets[who].number
            first = bisect_left(self.admitted, (since, -1))
            last = bisect_left(self.admitted, (second, -1))
            most = max(most, sum(self.tickets[other].number > number for _, other in self.admitted[first:last]))
        return most
