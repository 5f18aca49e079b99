"""The laws of admission as a crowd meets them, in virtual time, each look followed: rate, order, places, work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.blocks import DROPPED
from gate.core.ledger import PATIENCE
from gate.core.line import Terms
from gate.simulation.arrivals import Curve
from gate.simulation.log import Log
from gate.simulation.measures import figures, overtaken, used
from gate.simulation.run import simulate
from gate.simulation.sale import Sale

ONE_RETURN = 2.5  # seconds: the longest a page needs that was told to come back at once, and is held while its token is due


def crowd(terms, size, *, ghosts=0.0, arrive=2.0, rushes=(), seed=1, **given):
    """``ghosts``: the share of them. ``rushes``: the seconds at which they come, instead of ``arrive`` seconds."""
    gone = round(size * ghosts)
    curve = Curve.even(size - gone, arrive)
    if rushes:
        points = []
        for index, second in enumerate(rushes):
            points += [
                (second, (size - gone) * index // len(rushes)),
                (second + 0.5, (size - gone) * (index + 1) // len(rushes)),
            ]
        curve = Curve(tuple(points))
    mixed = {"no_js": 1 / 3, "programs": 1 / 3} | given
    return simulate(Sale(terms, curve, ghosts=gone, exact=True, seed=seed, **mixed))


def least_used(log: Log, window: float, start: float) -> float:
    use = used(log, window, start)
    return 1.0 if use is None else use.least


RUSHES = {
    "everybody stays": (Terms(60, 60, 3), 60, {"arrive": 9}),
    "everybody stays, and the bucket holds one": (Terms(60, 60, 1), 60, {"arrive": 9}),
    "one in three vanishes": (Terms(120, 60, 20), 250, {"ghosts": 0.3, "rushes": (0, 2, 10, 25)}),
    "half vanish": (Terms(300, 60, 10), 600, {"ghosts": 0.5, "rushes": (0, 5, 15)}),
    "some give up later": (Terms(120, 60, 10), 250, {"ghosts": 0.2, "leave": 0.3, "patience": 40, "rushes": (0, 3, 20)}),
    "a slow room": (Terms(12, 60, 2), 40, {"ghosts": 0.2, "rushes": (0, 10)}),
}


@pytest.mark.parametrize("name", RUSHES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_present_is_overtaken_and_no_place_grows(name, seed):
    terms, size, given = RUSHES[name]
    log = crowd(terms, size, seed=seed, **given)
    found = figures(log)
    assert found.overtaken_by <= ONE_RETURN, f"{found.overtaken} pairs"
    if not log.sale.ghosts:
        assert found.overtaken == 0
    assert found.grown == 0
    assert found.excess <= 0
    assert found.fates["waits"] == 0
    assert least_used(log, max(10, 40 / terms.per_second), 6) >= 0.9  # in fewer, one visitor more or less is much


@pytest.mark.parametrize(("no_js", "programs"), [(0, 0), (1, 0), (0, 1)])
def test_every_kind_of_visitor_keeps_its_turn(no_js, programs):
    found = figures(crowd(Terms(120, 60, 4), 100, arrive=10, no_js=no_js, programs=programs))
    assert found.fates["entered"] == 100
    assert (found.overtaken, found.grown) == (0, 0)
    assert found.used is not None
    assert found.used >= 0.95


def test_who_came_first_has_no_better_place_than_who_came_before():
    """Newcomers among those who were told to come back in a moment."""
    log = crowd(Terms(60, 60, 3), 24, arrive=3.6)
    came = log.people.came
    _, lead = overtaken([(came[who], at / 1e6) for at, who in log.admitted], DROPPED + log.sale.delay[1])
    assert lead < PATIENCE / 1e6  # a visitor for whom a full bucket did not wait


def test_the_room_says_how_many_wait():
    log = crowd(Terms(60, 60, 5), 100, arrive=10)
    dropped = max(log.people.number) - len(log.people)  # numbers of blocks that were too old when the next visitor came
    assert all(-1 <= sample.waiting - sample.there <= 1 + dropped for sample in log.samples)
    assert dropped <= 10


# Window and start to measure the used rate in, and the share of it. The first seconds belong to those who came first: nobody
# knows yet that they are gone, and a bucket that holds less than those seconds flows over. In ten seconds of a slow room one
# visitor is a twentieth.
GHOSTS = {
    "half of a flash sale": (Terms(120, 60, 20), 400, {"ghosts": 0.5}, 10, 0, 0.95),
    "nine of ten": (Terms(120, 60, 20), 1500, {"ghosts": 0.9}, 10, 6, 0.85),
    "nine of ten, a bucket for a second": (Terms(10, 1, 10), 5000, {"ghosts": 0.9}, 10, 6, 0.95),
    "nine of ten, a bucket for four seconds": (Terms(10, 1, 40), 5000, {"ghosts": 0.9, "arrive": 20}, 10, 6, 0.95),
    "nearly all": (Terms(600, 60, 10), 6000, {"ghosts": 0.97}, 10, 6, 0.9),
    "half, and half of the others give up": (Terms(10, 1, 10), 1500, {"ghosts": 0.5, "leave": 0.5, "patience": 60}, 10, 6, 0.9),
    "a slow room": (Terms(6, 60, 1), 200, {"ghosts": 0.9}, 60, 0, 0.95),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", GHOSTS)
def test_the_rate_is_used_though_many_never_come_back(name, seed):
    terms, size, given, window, start, share = GHOSTS[name]
    log = crowd(terms, size, seed=seed, **given)
    found = figures(log)
    assert len(log.admitted) > 10
    assert found.excess <= 0
    assert least_used(log, window, start) >= share
    assert found.overtaken_by <= ONE_RETURN
    assert found.grown == 0


SEEN = {
    "half": (Terms(10, 1, 10), 1200, 0.5),
    "nine of ten": (Terms(10, 1, 10), 5000, 0.9),
    "nine of ten, a bucket for four seconds": (Terms(10, 1, 40), 5000, 0.9),
    "nearly all": (Terms(10, 1, 50), 12_000, 0.97),
}


@pytest.mark.parametrize("opens", [None, 90.0])
@pytest.mark.parametrize("name", SEEN)
def test_the_rate_is_used_though_many_leave_after_their_page_was_seen_once(name, opens):
    """While their numbers are young, and after an opening for which they did not wait."""
    terms, size, ghosts = SEEN[name]
    log = crowd(terms, size, ghosts=ghosts, ghosts_seen=1.0, opens=opens, no_js=0, programs=0)
    found = figures(log)
    assert found.excess <= 0
    assert least_used(log, 10, (opens or 0) + 10) >= 0.9
    assert least_used(log, 20, (opens or 0) + 10) >= 0.95
    assert found.overtaken_by <= ONE_RETURN
    assert found.grown == 0


@pytest.mark.parametrize(("ghosts", "share"), [(0.0, 0.95), (0.9, 0.8)])
def test_the_smallest_bucket_loses_what_comes_while_its_one_token_waits_for_a_visitor(ghosts, share):
    for seed in range(1, 5):
        log = crowd(Terms(120, 60, 1), int(150 / (1 - ghosts)), ghosts=ghosts, seed=seed)
        assert least_used(log, 20, 8) >= share


def test_a_full_room_lets_in_as_many_as_leave():
    log = crowd(Terms(10, 1, 10, active=20, session=10), 120, buy=0.0, stay=0.1)
    assert log.most_inside == 20
    assert figures(log).excess <= 0
    assert log.end < 120 / 20 * (10 + 2 + 4)  # a session, its slack, and a return in between
    assert log.grown == 0


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    ghosts=st.floats(0, 0.97),
    leave=st.floats(0, 1),
    amount=st.integers(1, 60),
    burst=st.integers(1, 30),
    active=st.sampled_from([None, 3, 30]),
    hidden=st.sampled_from([0, 0.5]),
)
def test_no_crowd_gets_more_than_the_bucket_gives(seed, ghosts, leave, amount, burst, active, hidden):
    terms = Terms(amount, 10, burst, active=active, session=10)
    log = crowd(terms, 150, ghosts=ghosts, leave=leave, patience=30, hidden=hidden, buy=0.5, stay=5, limit=40, seed=seed)
    assert figures(log).excess <= 0
    assert len({who for _, who in log.admitted}) == len(log.admitted)
    assert active is None or log.most_inside <= active
    assert log.grown == 0
