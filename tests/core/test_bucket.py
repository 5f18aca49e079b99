"""The bucket counts exactly, over any run of calls."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.bucket import MOST, SECOND, Bucket, lowest_terms
from gate.core.line import Terms

RATES = st.tuples(st.integers(1, 10_000), st.sampled_from([1, 7, 60, 3600, 86400]))


@pytest.mark.parametrize(
    ("amount", "period", "expected"),
    [(120, 60, (1, 500_000)), (1, 1, (1, SECOND)), (7, 60, (7, 60 * SECOND)), (3_000_000, 1, (3, 1)), (0, 60, (0, 1))],
)
def test_the_rate_is_reduced_to_lowest_terms(amount, period, expected):
    assert lowest_terms(amount, period) == expected


@given(rate=RATES, burst=st.integers(1, 100), waits=st.lists(st.integers(0, 5 * SECOND), max_size=50))
def test_no_window_gets_more_than_burst_and_rate(rate, burst, waits):
    """A greedy taker, checked in every window with exact fractions."""
    step, cost = lowest_terms(*rate)
    bucket, now, taken = Bucket.full(step, cost, burst, 0), 0, []
    for wait in waits:
        now += wait
        bucket.refill(now, step, cost, burst)
        while bucket.has(1) and len(taken) < 500:
            bucket.take()
            taken.append(now)
    per_micro = Fraction(rate[0], rate[1] * SECOND)
    least = None
    for index, at in enumerate(taken):
        line = index - per_micro * at
        least = line if least is None else min(least, line)
        assert line - least + 1 <= burst


@given(rate=RATES, burst=st.integers(1, 100), waits=st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=30))
def test_nothing_is_lost_by_looking_often(rate, burst, waits):
    step, cost = lowest_terms(*rate)
    often, once = Bucket(step, cost, burst, 0, 0), Bucket(step, cost, burst, 0, 0)
    now = 0
    for wait in waits:
        now += wait
        often.refill(now, step, cost, burst)
    once.refill(now, step, cost, burst)
    assert often == once


@given(rate=RATES, burst=st.integers(1, 50), level=st.floats(0, 1), before=st.integers(0, 20))
def test_the_due_time_is_when_the_token_is_there_and_not_sooner(rate, burst, level, before):
    step, cost = lowest_terms(*rate)
    bucket = Bucket(step, cost, before + 1, int(level * cost), 0)
    due = bucket.due_in(before)
    early = Bucket(step, cost, before + 1, bucket.level, 0)
    early.refill(due - 1, step, cost, before + 1)
    bucket.refill(due, step, cost, before + 1)
    assert bucket.has(before + 1)
    assert due == 1 or not early.has(before + 1)


@given(
    old=RATES,
    new=RATES,
    bursts=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    level=st.integers(0, 10**9),
    pause=st.integers(0, SECOND),
)
def test_a_new_rate_neither_makes_nor_loses_a_token(old, new, bursts, level, pause):
    step, cost = lowest_terms(*old)
    bucket = Bucket(step, cost, bursts[0], min(level, bursts[0] * cost), 0)
    before = Bucket(step, cost, bursts[0], bucket.level, 0)
    before.refill(pause, step, cost, bursts[0])
    tokens = min(Fraction(before.level, cost), bursts[1])
    bucket.refill(pause, *lowest_terms(*new), bursts[1])
    changed = Fraction(bucket.level, bucket.cost)
    assert changed <= tokens
    assert tokens - changed <= Fraction(2, bucket.cost) or bucket.cost == 1


def test_a_clock_far_ahead_gives_one_burst():
    bucket = Bucket(1, 500_000, 20, 0, 0)
    bucket.refill(10**15, 1, 500_000, 20)
    assert bucket.tokens == 20


def test_an_empty_bucket_gives_nothing():
    with pytest.raises(ValueError, match="empty"):
        Bucket(1, 10, 1, 9, 0).take()


def test_a_rate_of_nothing_never_gives():
    bucket = Bucket(0, 1, 5, 0, 0)
    bucket.refill(10**15, 0, 1, 5)
    assert not bucket.has(1)
    assert bucket.due_in(0) == 60 * SECOND


def test_a_burst_that_cannot_be_counted_exactly_is_cut():
    terms = Terms(1, 365 * 86400, burst=10_000)
    assert terms.burst * terms.cost <= MOST
    assert terms.burst == MOST // terms.cost


@pytest.mark.parametrize("wrong", [{"amount": -1}, {"period": 0}, {"burst": 0}, {"session": 0}])
def test_terms_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="not terms"):
        Terms(**{"amount": 1, "period": 1, **wrong})
