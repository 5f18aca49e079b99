"""The room's law through an outage of the store and its return, with several workers and gates, in exact arithmetic."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import AWAY, TICKET_LIFE, Remembered, RoomState, Terms, group_number, tag_of
from gate.core.standin import Share, StandIn, Taken
from gate.core.words import Reason, RoomMode

SECOND = 1_000_000
NOW = 1_800_000_000.0
HOLD = 2 * SECOND
PLENTY = Terms(100, 1, burst=50)
LINE = RoomState(epoch=1, last=1000, serving=1000, waiting=0)
KNOWN = Remembered(1, 1000, 1000)


def ticket(number: int, joined: float = NOW) -> Ticket:
    return Ticket("checkout", 1, number, int(joined * 1000), f"t{number}")


def excess(admitted: list[int], terms: Terms) -> int:
    """By how many units the fullest window is over ``burst + rate * window``."""
    least, most = None, -(10**30)
    for index, at in enumerate(sorted(admitted)):
        line = index * terms.cost - terms.step * at
        least = line if least is None else min(least, line)
        most = max(most, line - least + terms.cost - terms.burst * terms.cost)
    return most


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([(1, 1), (5, 1), (120, 60), (7, 3), (40, 1), (3, 60)]),
    burst=st.sampled_from([1, 2, 3, 5, 8, 40]),
    workers=st.integers(1, 4),
    gates=st.integers(1, 3),
    away=st.sampled_from([5, 30, 120]),
    pace=st.sampled_from([3, 30, 400]),  # knocks a second
)
def test_no_window_of_an_outage_holds_more_than_burst_and_rate(
    seed: int, rate: tuple[int, int], burst: int, workers: int, gates: int, away: int, pace: int
) -> None:
    rng = random.Random(seed)
    terms = Terms(rate[0], rate[1], burst, session=600.0)
    store = Ledger()
    start = round(NOW * SECOND)
    store.lease(start, terms, Remembered(), 5000)
    admitted: list[int] = []
    entered: set[str] = set()
    tickets = [Ticket("checkout", 1, number, round(NOW * 1000), f"t{number}") for number in range(1, 5001)]
    tickets += [Ticket("checkout", 1, AWAY + number, round(NOW * 1000), f"a{number}") for number in range(200)]
    front = 0

    def anybody() -> Ticket:
        return tickets[front + min(rng.randrange(60), len(tickets) - front - 1)]

    def knock_at_the_store(now: int) -> None:
        one = anybody()
        if store.claim(now, terms, store.remembered(), one).status == "entered" and one.id not in entered:
            entered.add(one.id)
            admitted.append(now)

    def knocks(begin: int, end: int) -> list[int]:
        return sorted(rng.randrange(begin, end) for _ in range(min(1200, pace * (end - begin) // SECOND + 1)))

    def advance() -> None:
        nonlocal front
        while tickets[front].id in entered:
            front += 1

    lost = start + 4 * SECOND
    for now in knocks(start, lost):
        knock_at_the_store(now)
        advance()
    ends = lost + away * SECOND
    crew = [Share(worker, workers, gates) for _ in range(gates) for worker in range(workers)]
    known, memory = store.state(), store.remembered()
    rooms = [StandIn(share, memory, known) for share in crew]
    begins = [lost + 2 * SECOND + rng.randrange(SECOND) for _ in crew]
    returns = [ends + (rng.randrange(HOLD) if index else 0) for index in range(len(crew))]
    rng.shuffle(returns)
    back: set[int] = set()
    shift = rng.random() * 100

    def come_back(index: int, now: int) -> None:
        if index not in back:
            back.add(index)
            told = [(one.id, one.epoch, one.number, round(one.expires * SECOND)) for one in rooms[index].admitted.values()]
            store.adopt(now, terms, store.remembered(), rooms[index].serving, rooms[index].through, HOLD, told)

    for now in knocks(lost, ends + 8 * SECOND):
        for index in sorted(range(len(crew)), key=returns.__getitem__):
            if returns[index] <= now:
                come_back(index, returns[index])
        index = rng.randrange(len(crew))
        if index in back:
            knock_at_the_store(now)
        elif now >= begins[index]:
            one = anybody()
            word = rooms[index].claim(now / SECOND, (now - start) / SECOND + shift, terms, one)
            if word.status == "entered" and one.id not in entered:
                entered.add(one.id)
                admitted.append(now)
        advance()
    assert excess(admitted, terms) <= 0
    assert [at for at in admitted if lost <= at < lost + 2 * SECOND] == []


@pytest.mark.parametrize(
    ("workers", "gates", "burst", "rate", "least"),
    [(2, 1, 10, 10, 0.7), (2, 2, 8, 10, 0.7), (4, 1, 4, 20, 0.6), (2, 1, 1, 2, 0.6), (4, 1, 2, 4, 0.6), (1, 1, 1, 5, 0.6)],
)
def test_the_share_is_used(workers: int, gates: int, burst: int, rate: int, least: float) -> None:
    """Visitors are held for three seconds at a worker, then try any other."""
    terms = Terms(rate, 1, burst)
    rng = random.Random(7)
    rooms = [StandIn(Share(worker, workers, gates), KNOWN, LINE) for _ in range(gates) for worker in range(workers)]
    waiting = [ticket(number) for number in range(1, 1001)]
    crowd: list[list[Any]] = [[waiting.pop(0), rng.choice(rooms), 3 * rng.random()] for _ in range(6 * len(rooms))]
    seconds, inside, first = 60, 0, 60.0
    for step in range(seconds * 50):
        at = step / 50
        for visitor in crowd:
            one, room, until = visitor
            if room.claim(NOW + at, at, terms, one).status == "entered":
                inside, first = inside + 1, min(first, at)
                visitor[:] = waiting.pop(0), rng.choice(rooms), at + 3
            elif at >= until:
                room.leave(one)
                visitor[1:] = rng.choice(rooms), at + 3
    assert inside >= least * rate * seconds
    assert first <= max(3.0, 3 / rate), "it goes on at once"
    assert inside <= 0.8 * rate * seconds + burst


def test_it_begins_empty() -> None:
    assert StandIn(Share(), KNOWN, LINE).claim(NOW, 0, PLENTY, ticket(1)).status == "waiting"
    assert StandIn(Share(), Remembered(), RoomState()).claim(NOW, 0, PLENTY, ticket(1)).status == "waiting", "never seen, too"


def test_the_lower_place_goes_first_and_places_by_time_stand_behind() -> None:
    room = StandIn(Share(), KNOWN, LINE)
    terms = Terms(10, 1, burst=5)
    crowd = [ticket(AWAY + 5), ticket(9), ticket(3), ticket(AWAY + 2)]
    for one in crowd:
        assert room.claim(NOW, 0, terms, one).status == "waiting"
    order: list[int] = []
    at = 0.0
    while len(order) < 4 and at < 5:
        at += 0.05
        for one in crowd:
            if one.number not in order and room.claim(NOW + at, at, terms, one).status == "entered":
                order.append(one.number)
    assert order == [3, 9, AWAY + 2, AWAY + 5]


def test_members_whose_turn_was_called_go_first_and_no_turn_is_called_without_the_store() -> None:
    tag = tag_of("members")
    known = replace(LINE, groups=((tag, 9, 2),))
    room = StandIn(Share(), KNOWN, known)
    terms = Terms(10, 1, burst=5, groups=(("members", 0.3),))
    member = ticket(group_number(tag, 2))
    crowd = [ticket(3), member, ticket(9)]
    order: list[int] = []
    for step in range(100):
        at = step / 20
        for one in crowd:
            if one.number not in order and room.claim(NOW + at, at, terms, one).status == "entered":
                order.append(one.number)
        assert room.tick(NOW + at, at, terms).groups == known.groups, "by which it is decided who may knock"
    assert order == [member.number, 3, 9]
    assert len(room.admitted) == 3


def test_the_same_ticket_is_one_pass_until_that_is_over() -> None:
    room = StandIn(Share(), KNOWN, LINE)
    room.claim(NOW, 0, PLENTY, ticket(1))
    first = room.claim(NOW + 1, 1, PLENTY, ticket(1))
    assert (first.status, first.expires) == ("entered", round((NOW + 601) * SECOND))
    assert room.claim(NOW + 5, 5, PLENTY, ticket(1)) == first
    assert len(room.admitted) == 1
    assert room.claim(NOW + 602, 602, PLENTY, ticket(1)).status == "spent"
    assert room.claim(NOW, 0, PLENTY, ticket(2, NOW - TICKET_LIFE - 1)).status == "spent"
    old = ticket(2, NOW - TICKET_LIFE - 1)
    assert room.claim(NOW, 0, replace(PLENTY, opens=NOW - 60), old).status == "entered", "it came before the opening"


def test_seats_are_those_that_were_free_divided_and_never_more() -> None:
    terms = Terms(1000, 1, burst=400, active=17, session=1.0)
    known = RoomState(epoch=1, last=1000, serving=1000, inside=10)
    inside = 0
    for worker in range(2):
        room = StandIn(Share(worker, 2, 1), KNOWN, known)
        for number in range(1, 40):
            for at in (0.0, 5.0, 600.0):
                room.claim(NOW + at, at, terms, ticket(number))
        inside += len(room.admitted)
        assert room.tick(NOW + 600, 600, terms).inside == 10 + len(room.admitted)
    assert inside == 7


def let_in(room: StandIn, terms: Terms, *, first: int = 1) -> int:
    """How many of a great crowd."""
    for number in range(first, first + 150):
        for at in (0.0, 5.0, 600.0):
            room.claim(NOW + at, at, terms, ticket(number))
    return len(room.admitted)


def test_a_worker_that_never_met_the_store_counts_the_seats_that_its_machine_remembers() -> None:
    terms = Terms(1000, 1, burst=400, active=100)
    assert let_in(StandIn(Share(), replace(KNOWN, inside=100), RoomState()), terms) == 0
    assert let_in(StandIn(Share(), replace(KNOWN, inside=70), RoomState()), terms) == 30


def test_a_successor_has_what_its_predecessor_left_of_its_part() -> None:
    terms = Terms(1000, 1, burst=400, active=100)
    assert let_in(StandIn(Share(0, 2), KNOWN, LINE), terms) == 50
    full = StandIn(Share(0, 2), KNOWN, LINE, Taken(50, 50))
    assert let_in(full, terms) == 0
    assert full.tick(NOW + 600, 600, terms).inside == 50
    assert let_in(StandIn(Share(0, 2), KNOWN, LINE, Taken(20, 20)), terms) == 30


def test_all_workers_new_have_what_all_before_them_left() -> None:
    terms = Terms(1000, 1, burst=400, active=100)
    again = [StandIn(Share(worker, 2), KNOWN, LINE, Taken(30, 60)) for worker in range(2)]
    assert sum(let_in(room, terms) for room in again) == 40
    more = [StandIn(Share(worker, 4), KNOWN, LINE, Taken(40 * (worker == 0), 40)) for worker in range(4)]
    assert sum(let_in(room, terms) for room in more) <= 60, "also where they were fewer"


def test_what_the_operator_and_the_clock_say_still_holds() -> None:
    room = StandIn(Share(), KNOWN, LINE)
    room.tick(NOW, 0, PLENTY)
    held = Terms(100, 1, burst=50, mode=RoomMode.HOLD)
    assert room.claim(NOW + 5, 5, held, ticket(1)).reason is Reason.HOLD
    assert room.claim(NOW + 5, 5, PLENTY, ticket(1)).status == "entered"


def test_a_gate_with_less_than_one_token_lets_nobody_in() -> None:
    room = StandIn(Share(0, 2, 3), KNOWN, LINE)
    terms = Terms(100, 1, burst=2)
    assert {room.claim(NOW + at, at, terms, ticket(1)).status for at in range(100)} == {"waiting"}


def test_who_is_off_its_turn_hears_when_it_comes() -> None:
    terms = Terms(2, 1, burst=1)
    first, second = (StandIn(Share(worker, 2, 1), KNOWN, LINE) for worker in (0, 1))
    words = [room.claim(NOW, 3.0, terms, ticket(1)) for room in (first, second)]
    assert min(word.ask for word in words) <= 3 * SECOND
    assert max(word.ask for word in words) <= 10 * SECOND
    assert {word.reason for word in words} == {Reason.RATE}


def test_a_clock_that_is_set_ahead_brings_no_tokens() -> None:
    room = StandIn(Share(), KNOWN, LINE)
    terms = Terms(10, 1, burst=10)
    room.claim(NOW, 0, terms, ticket(1))
    ahead = [room.claim(NOW + 3600, 0.05, terms, ticket(number)).status for number in range(1, 20)]
    assert set(ahead) == {"waiting"}


def test_the_picture_keeps_the_epoch_of_the_tickets_and_never_goes_back() -> None:
    known = RoomState(epoch=4, last=500, serving=100, through=90, waiting=410, inside=3, present=0.5)
    room = StandIn(Share(), Remembered(4, 500, 100), known)
    seen = [room.tick(NOW + at, at, Terms(5, 1, burst=5)) for at in range(60)]
    assert {state.epoch for state in seen} == {4}
    assert {state.last for state in seen} == {500}
    assert [state.serving for state in seen] == sorted(state.serving for state in seen)
    assert seen[-1].serving > 100, "it calls"
    assert all(state.through >= 90 for state in seen)
    assert room.serving == seen[-1].serving
