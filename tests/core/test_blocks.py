"""Leased numbers: each once and fresh, in order, and in a storm there before they are wanted."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.blocks import AHEAD_FROM, DROPPED, LARGEST, Block

STEPS = st.sampled_from([0.0, 0.0001, 0.002, 0.03, DROPPED, 0.3])


@given(st.lists(st.tuples(STEPS, st.sampled_from(["take", "lease", "ahead"])), max_size=80))
def test_numbers_are_given_once_and_in_order_and_fresh_or_not_at_all(steps):
    block, last, leased, given_ = Block(), 0, {}, []
    for now, (_, what) in zip(accumulate(step for step, _ in steps), steps, strict=True):
        found = block.take(now)
        if found is not None:
            assert found[1] == leased[found[0]][1]
            given_.append(found[0])
            assert now - leased[found[0]][0] <= DROPPED
        if found is None if what == "lease" else what == "ahead" and block.wants_next(now):
            size = block.next_size(now)
            assert 1 <= size <= LARGEST
            leased.update(dict.fromkeys(range(last + 1, last + 1 + size), (now, size)))
            block.refill(last + 1, size, size, now)  # the size stands for the epoch
            last += size
    assert given_ == sorted(set(given_))


def storm(rate: float, trip: float, visitors: int) -> tuple[Block, int, int, list[float]]:
    """``visitors`` come at an even ``rate``, and a lease takes ``trip`` seconds. The block, how many had to wait, how many
    numbers were leased, and when a lease was asked for ahead."""
    block, leased, late, ahead = Block(), 0, 0, []
    waiting, coming = 0, None
    for visitor in range(visitors):
        now = visitor / rate
        if coming is not None and coming[0] <= now:
            block.refill(leased + 1, 1, coming[1], coming[0])
            leased, coming = leased + coming[1], None
            while waiting and block.take(now):
                waiting -= 1
        found = None if waiting else block.take(now)
        if found is None:
            waiting, late = waiting + 1, late + 1
        elif found[0] < block.ask or not block.wants_next(now) or coming is not None:
            continue
        else:
            ahead.append(now)
        if coming is None:
            coming = now + trip, min(LARGEST, block.next_size(now) + max(0, waiting - 1))
    return block, late, leased, ahead


@pytest.mark.parametrize("rate", [3_000, 8_000, 30_000])
@pytest.mark.parametrize("trip", [0.001, 0.005])
def test_in_a_storm_the_next_numbers_are_there_before_they_are_wanted(rate, trip):
    _, late, leased, ahead = storm(rate, trip, rate)
    assert len(ahead) > 10
    assert late < 0.05 * rate, "all of them before the blocks were large"
    assert leased < 1.1 * rate


def test_who_comes_now_and_then_leaves_no_numbers_behind():
    block, _, leased, ahead = storm(100, 0.001, 1000)
    assert ahead == []
    assert leased < 1050
    assert block.ask == math.inf


def test_a_block_that_nobody_hurries_to_use_is_the_last_one():
    block = Block()
    block.refill(1, 1, AHEAD_FROM, 0.0)
    numbers = [block.take(0.05) for _ in range(AHEAD_FROM // 4 + 1)]
    assert numbers[-1] == (block.ask, 1)
    assert not block.wants_next(0.05)
    assert block.ask == math.inf, "asked once"
