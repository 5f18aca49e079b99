"""A long line costs the store no more than a short one. In short a hundred thousand; FULL=1 makes it a million."""

import os

import pytest

from tests.load.million import AT_THE_DOOR, FULL, MOVING, SHORT, TERMS, main

pytestmark = pytest.mark.slow
FLAT = 2  # a figure that grew with the line would be ten times as high, or a hundred


def test_a_long_line_costs_the_store_no_more_than_a_short_one() -> None:
    few, many = main(FULL if os.environ.get("FULL") else SHORT)
    assert many.visitors >= 10 * few.visitors
    # memory: next to nothing for those who never come back, 300 bytes for those who do
    assert max(few.memory, many.memory) < 1 << 14
    assert many.store < 1 << 20, "nor does the store keep anything of them elsewhere"
    assert 0 < many.seen <= 1
    assert 0 < many.present <= 300
    assert many.leases < many.visitors / 100
    # time
    assert many.tick < FLAT * few.tick
    assert many.claim < FLAT * few.claim
    # and the line moves
    for cost in (few, many):
        assert 0.25 * TERMS.per_second * MOVING < cost.moved <= TERMS.burst + TERMS.per_second * MOVING * 1.5
    assert TERMS.burst + TERMS.per_second * MOVING < AT_THE_DOOR, "there was somebody to admit all the time"
