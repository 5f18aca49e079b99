"""The laws of admission as a crowd meets them, in virtual time: rate, order, places, work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.line import Terms
from tests.core.crowd import KINDS, Crowd

# name: crowd, seconds to run
RUSHES = {
    "everybody stays": (Crowd(Terms(60, 60, 3), 60, arrive=9), 90),
    "everybody stays, and the bucket holds one": (Crowd(Terms(60, 60, 1), 60, arrive=9), 90),
    "one in three vanishes": (Crowd(Terms(120, 60, 20), 250, ghosts=0.3, bursts=(0, 2, 10, 25)), 130),
    "half vanish": (Crowd(Terms(300, 60, 10), 600, ghosts=0.5, bursts=(0, 5, 15)), 90),
    "some give up later": (Crowd(Terms(120, 60, 10), 250, ghosts=0.2, leave=0.02, bursts=(0, 3, 20)), 130),
    "a slow room": (Crowd(Terms(12, 60, 2), 40, ghosts=0.2, bursts=(0, 10)), 250),
}
ONE_RETURN = 2.0  # seconds: the longest a page needs that was told to come back at once


@pytest.mark.parametrize("name", RUSHES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_present_is_overtaken_and_no_place_grows(name, seed):
    crowd, seconds = RUSHES[name]
    crowd = Crowd(crowd.terms, crowd.size, crowd.ghosts, crowd.leave, arrive=crowd.arrive, bursts=crowd.bursts, seed=seed).run(
        seconds
    )
    pairs, most, longest = crowd.overtaken()
    assert longest <= ONE_RETURN, f"{pairs} pairs, {most} past one visitor"
    if crowd.ghosts == 0:
        assert pairs == 0
    assert crowd.grown <= 0
    assert crowd.excess <= 0
    assert crowd.used(max(10, 6 / crowd.terms.per_second), start=6) >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_visitor_keeps_its_turn(kind):
    crowd = Crowd(Terms(120, 60, 4), 100, kinds=(kind,), arrive=10).run(80)
    assert len(crowd.admitted) == 100
    assert crowd.overtaken() == (0, 0, 0.0)
    assert crowd.grown <= 0
    assert crowd.used() >= 0.95


def test_who_came_first_has_no_better_place_than_who_came_before():
    """Newcomers among those who were told to come back in a moment."""
    crowd = Crowd(Terms(60, 60, 3), 24, arrive=3.6).run(60)
    order = [crowd.visitors[who].came for _, who in crowd.admitted]
    assert order == sorted(order)


def test_the_room_says_how_many_wait():
    crowd = Crowd(Terms(60, 60, 5), 100, arrive=10).run(100)
    assert all(abs(said - there) <= 1 for _, said, there in crowd.waiting)


# name: crowd, seconds to run, window and start to measure the used rate in. The first seconds belong to those who came
# first: nobody knows yet that they are gone, and a bucket that holds less than those seconds flows over.
GHOSTS = {
    "half of a flash sale": (Crowd(Terms(120, 60, 20), 800, ghosts=0.5), 90, 10, 0),
    "nine of ten": (Crowd(Terms(120, 60, 20), 2000, ghosts=0.9), 90, 10, 0),
    "nine of ten, a bucket for a second": (Crowd(Terms(10, 1, 10), 6000, ghosts=0.9), 90, 10, 6),
    "nine of ten, a bucket for four seconds": (Crowd(Terms(10, 1, 40), 6000, ghosts=0.9, arrive=20), 90, 10, 0),
    "nearly all": (Crowd(Terms(600, 60, 10), 6000, ghosts=0.97), 60, 10, 6),
    "one in fifty gives up at every return": (Crowd(Terms(10, 1, 10), 1500, ghosts=0.5, leave=0.02), 60, 10, 6),
    "a slow room": (Crowd(Terms(6, 60, 1), 200, ghosts=0.9), 900, 60, 0),
}


@pytest.mark.parametrize("name", GHOSTS)
def test_the_rate_is_used_though_many_never_come_back(name):
    crowd, seconds, window, start = GHOSTS[name]
    crowd.run(seconds)
    assert len(crowd.admitted) > 10
    assert crowd.excess <= 0
    assert crowd.used(window, start) >= 0.95
    assert crowd.overtaken()[2] <= ONE_RETURN
    assert crowd.grown <= 0


def test_the_smallest_bucket_uses_nine_tenths():
    """It cannot fill while its one token waits for a visitor."""
    for ghosts in (0.0, 0.9):
        crowds = [Crowd(Terms(120, 60, 1), int(150 / (1 - ghosts)), ghosts=ghosts, seed=seed).run(70) for seed in range(6)]
        assert sum(crowd.used(20, start=8) for crowd in crowds) / len(crowds) >= 0.9


def test_a_full_room_lets_in_as_many_as_leave():
    crowd = Crowd(Terms(10, 1, 10, active=20, session=10), 600).run(90)
    assert crowd.most_inside == 20
    assert crowd.excess <= 0
    assert len(crowd.admitted) > 20 * 90 / (10 + 2 + 4)  # a session, its slack, and a return in between
    assert crowd.grown <= 0


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    ghosts=st.floats(0, 0.97),
    leave=st.floats(0, 0.2),
    amount=st.integers(1, 60),
    burst=st.integers(1, 30),
    active=st.sampled_from([None, 3, 30]),
)
def test_no_crowd_gets_more_than_the_bucket_gives(seed, ghosts, leave, amount, burst, active):
    terms = Terms(amount, 10, burst, active=active, session=10)
    crowd = Crowd(terms, 150, ghosts=ghosts, leave=leave, seed=seed).run(40)
    assert crowd.excess <= 0
    assert len({who for _, who in crowd.admitted}) == len(crowd.admitted)
    assert active is None or crowd.most_inside <= active
    assert crowd.grown <= 0
