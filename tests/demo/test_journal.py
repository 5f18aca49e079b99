from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.demo.journal import Entry, admissions, excess


def test_admissions_are_the_first_sights_of_each_visitor_in_the_room() -> None:
    seen = [(3.0, "a", "checkout"), (1.0, "b", "checkout"), (4.0, "a", "checkout"), (0.5, "c", "drop"), (0.1, None, None)]
    entries = [Entry(at, "GET", "/checkout", visitor, room, ()) for at, visitor, room in seen]
    assert admissions(entries, "checkout") == [1.0, 3.0]


@given(
    st.lists(st.integers(0, 1000).map(lambda tenth: tenth / 10), min_size=1, max_size=40).map(sorted),
    st.floats(0.1, 20),
    st.integers(1, 10),
)
def test_excess_is_that_of_the_worst_of_all_windows(times: list[float], rate: float, burst: int) -> None:
    every_window = (
        sum(start <= at <= end for at in times) - burst - rate * (end - start)
        for start, end in combinations_with_replacement(times, 2)
    )
    assert excess(times, rate=rate, burst=burst) == pytest.approx(max(every_window))


def test_excess_sees_one_visitor_too_many() -> None:
    lawful = [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]  # burst 3, then one a second
    assert excess(lawful, rate=1, burst=3) <= 0
    assert excess([*lawful, 3.0], rate=1, burst=3) == 1
