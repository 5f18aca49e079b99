from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.draw import commitment, drawn_place

SEED = bytes(range(32))


@settings(deadline=None)
@given(st.integers(1, 3000), st.binary(min_size=32, max_size=32))
def test_everybody_gets_one_place_of_their_own(drawn, seed):
    assert sorted(drawn_place(seed, drawn, number) for number in range(1, drawn + 1)) == list(range(1, drawn + 1))


def test_places_that_others_have_worked_out():
    """A change here would make every published draw unverifiable."""
    assert [drawn_place(SEED, 10, number) for number in range(1, 11)] == [2, 5, 6, 4, 7, 3, 10, 1, 8, 9]
    assert commitment(SEED) == sha256(SEED).hexdigest()


def test_the_early_gain_nothing_by_it():
    """Over many seeds, the first and the last to come have the same chances: a mean in the middle, and any tenth as likely."""
    drawn, seeds = 100, 2000
    for number in (1, 2, 99, 100):
        places = [drawn_place(sha256(b"%d" % n).digest(), drawn, number) for n in range(seeds)]
        tenths = [sum(1 for place in places if (place - 1) // 10 == tenth) for tenth in range(10)]
        assert sum((count - seeds / 10) ** 2 / (seeds / 10) for count in tenths) < 27.9  # chi-square, 9 degrees, p = 0.001


def test_neighbours_are_torn_apart():
    places = [drawn_place(SEED, 10_000, number) for number in range(1, 1001)]
    near = sum(1 for one, other in pairwise(places) if abs(one - other) < 100)
    assert near < 60  # 20 expected


@pytest.mark.parametrize("number", [0, 11, -1])
def test_who_was_not_drawn_has_no_drawn_place(number):
    with pytest.raises(ValueError, match="not one of the 10"):
        drawn_place(SEED, 10, number)
