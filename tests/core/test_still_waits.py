"""What a simulation is told instead of a claim that would be in vain is what the claim would have told."""

import random
from copy import deepcopy

import pytest

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms
from gate.core.words import Reason

NOTHING = Remembered()
START = 10**15


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "terms",
    [Terms(10, 1, 5), Terms(60, 60, 30), Terms(5, 1, 3, active=40, session=20.0), Terms(8, 1, 8, groups=(("vip", 0.3),))],
)
def test_it_tells_what_the_claim_would_have(terms, seed):
    rng, ledger, now = random.Random(seed), Ledger(), START
    tickets: dict[str, Ticket] = {}
    foreseen = entered = 0
    for turn in range(500):
        now += rng.randrange(1, SECOND // 8)
        id_ = str(turn)
        if turn < 120 or rng.random() < 0.1:
            word = ledger.enter(now, terms, NOTHING, id_)
            tickets[id_] = Ticket("room", word.epoch, word.number, 0, id_)
            if terms.groups and rng.random() < 0.3:
                found = ledger.invite(now, terms, NOTHING, id_, 7, "link", 0, (word.epoch, word.number))
                if not isinstance(found, str):
                    tickets[id_] = Ticket("room", found[1], found[0], 0, id_)
        ledger.tick(now, terms, NOTHING)
        id_ = rng.choice([*tickets])
        wait = ledger.still_waits(now, terms, id_)
        other = ledger if wait == 0 else deepcopy(ledger)
        word = other.claim(now, terms, NOTHING, tickets[id_])
        if wait > 0:
            foreseen += 1
            assert (word.status, word.reason, word.due) == ("waiting", Reason.RATE, wait)
            assert ledger.due[id_] == other.due[id_]
            assert ledger.state() == other.state()
        else:
            entered += word.status == "entered"
    assert foreseen > 10
    assert entered > 10
