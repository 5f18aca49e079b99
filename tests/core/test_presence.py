"""Who never comes back costs the others nothing: presence, on the pure ledger."""

import random

import pytest

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms
from gate.core.presence import CHUNK, SETTLE

NOTHING = Remembered()
NOW = 10**15


def line_of(terms, ghosts, people):
    """``ghosts`` numbers that nobody comes back with, and ``people`` behind them; the bucket is empty."""
    ledger = Ledger()
    ledger.tick(NOW, terms, NOTHING)
    ledger.bucket.level = 0
    if ghosts:
        ledger.lease(NOW, terms, NOTHING, ghosts)
    first, epoch = ledger.lease(NOW, terms, NOTHING, people)
    return ledger, [Ticket("r", epoch, first + k, 0, f"v{k}") for k in range(people)]


def serve(ledger, terms, tickets, start, seconds, rng):
    """Everybody present looks every two to three seconds, knocks once called, and comes back when told. When each entered."""
    entered = {}
    looks = {ticket.id: start + rng.randrange(2 * SECOND) for ticket in tickets}
    for now in range(start, start + seconds * SECOND, SECOND // 4):
        ledger.tick(now, terms, NOTHING)
        for ticket in tickets:
            if ticket.id in entered or looks[ticket.id] > now:
                continue
            looks[ticket.id] = now + rng.randrange(2 * SECOND, 3 * SECOND)
            if ticket.number <= ledger.serving:
                word = ledger.claim(now, terms, NOTHING, ticket)
                if word.status == "entered":
                    entered[ticket.id] = now
                else:
                    looks[ticket.id] = now + max(SECOND // 2, min(word.due, word.ask))
    return entered


def test_a_million_who_never_come_back_hold_nobody_up():
    terms, rng = Terms(10, 1, burst=20), random.Random(1)
    ledger, tickets = line_of(terms, 1_000_000, 400)
    later = NOW + 5 * SECOND
    ledger.present(later, terms, NOTHING, [ticket.number for ticket in tickets])
    settled = NOW + SETTLE + 4 * SECOND
    for now in range(later, settled, SECOND):
        ledger.tick(now, terms, NOTHING)
    ledger.bucket.level = 0
    entered = serve(ledger, terms, tickets, settled, 40, rng)
    times = sorted((at - settled) / SECOND for at in entered.values())
    assert len(times) >= 380
    for begin in range(4, 28):  # the first of them hear of it within three seconds
        assert sum(begin <= at < begin + 10 for at in times) >= 0.95 * 100
    order = sorted(entered, key=lambda who: entered[who])
    displaced = max(abs(position - int(who[1:])) for position, who in enumerate(order))
    assert displaced <= 40, "four seconds of the rate: one look"


def test_who_never_came_back_is_not_said_to_wait():
    terms = Terms(1, 60)
    ledger, tickets = line_of(terms, 1_000_000, 50)
    ledger.present(NOW + SECOND, terms, NOTHING, [ticket.number for ticket in tickets[10:]])
    assert ledger.tick(NOW + SECOND, terms, NOTHING).waiting > 900_000
    for second in range(2, 60):
        state = ledger.tick(NOW + second * SECOND, terms, NOTHING)
    assert 40 <= state.waiting <= 80  # and a few who were called before, and may still come


def test_a_ghost_who_comes_after_all_has_its_place():
    terms = Terms(1, 1)
    ledger, tickets = line_of(terms, 0, 30)
    ledger.present(NOW + SECOND, terms, NOTHING, [ticket.number for ticket in tickets[10:]])
    later = NOW + SETTLE + 10 * SECOND
    for now in range(NOW + 2 * SECOND, later, SECOND):
        ledger.tick(now, terms, NOTHING)
    ledger.tick(later, terms, NOTHING)
    ledger.bucket.level = 0
    called = [ticket for ticket in tickets if ticket.number <= ledger.serving]
    assert len(called) > 15
    for ticket in reversed(called):
        ledger.claim(later, terms, NOTHING, ticket)
    assert [who for _, who in ledger._door] == [ticket.id for ticket in called]


def test_bits_are_kept_for_those_present_only():
    terms = Terms(100, 1, burst=100)
    ledger, _ = line_of(terms, 0, 5 * CHUNK)
    places = range(1, 5 * CHUNK, 1000)
    ledger.present(NOW + SECOND, terms, NOTHING, places)
    ledger.present(NOW + SECOND, terms, NOTHING, places)
    assert ledger.presence.bits == [place for place in places if place > ledger.serving]
    for second in range(2, 600):
        ledger.tick(NOW + second * SECOND, terms, NOTHING)
    assert ledger.serving == 5 * CHUNK
    assert ledger.presence.bits == [place for place in places if place >= 5 * CHUNK]


def test_after_a_loss_those_numbered_before_are_not_taken_for_ghosts():
    """Their bits are lost with the store, and a page that waits does not come again of itself."""
    terms = Terms(10, 1)
    ledger = Ledger()
    ledger.tick(NOW, terms, Remembered(1, 100_000, 100, 0, "x"))
    for second in range(1, 60):
        state = ledger.tick(NOW + second * SECOND, terms, ledger.remembered())
    assert ledger.presence.blind == 100_000
    assert state.waiting == 100_000 - state.serving + ledger.unheard > 0


@pytest.mark.parametrize(("after", "upto", "want"), [(0, 100, 1), (0, 100, 3), (10, 20, 1), (20, 90, 9), (89, 90, 1)])
def test_the_nth_bit(after, upto, want):
    ledger = Ledger()
    ledger.last = 100
    for place in (90, 20, 11, 55, 100):
        ledger.presence.note(place)
    inside = [place for place in (11, 20, 55, 90, 100) if after < place <= upto]
    expected = (inside[want - 1], want) if want <= len(inside) else (upto, len(inside))
    assert ledger.presence.nth(after, upto, want) == expected
