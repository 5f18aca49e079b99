"""Places, waits and poll times: the sums of gate.core.wait."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.credentials import Ticket
from gate.core.line import AWAY, group_number, tag_of
from gate.core.snapshot import GroupView, RoomView
from gate.core.wait import (
    FAR,
    JITTER,
    NEAR,
    PAUSED,
    Span,
    ask_again,
    at_the_door,
    pace_of,
    place_of,
    poll_policy,
    span_of,
)
from gate.core.words import RoomMode

VIEW = RoomView("checkout", amount=120, period=60, serving=100, last=500, through=90, waiting=410, admitted_per_second=1.8)


def ticket(number: int, epoch: int = 1) -> Ticket:
    return Ticket("checkout", epoch, number, 0, "x" * 22)


def test_those_called_but_not_yet_through_are_still_ahead():
    assert at_the_door(VIEW) == 10
    place = place_of(ticket(101), VIEW)
    assert place is not None
    assert (place.ahead, place.called) == (10, False)


def test_a_called_ticket_counts_those_who_may_stand_before_it_at_the_door():
    place = place_of(ticket(95), VIEW)
    assert place is not None
    assert (place.ahead, place.called) == (4, True)


def test_numbers_go_on_from_epoch_to_epoch():
    for epoch in (1, 2):
        assert place_of(ticket(400, epoch), replace(VIEW, epoch=2, base=450)) == place_of(ticket(400), VIEW)


def test_what_an_earlier_epoch_gave_out_and_the_store_forgot_is_for_the_store_to_tell():
    for last in (500, 501, 900):  # also when the number has been given again
        place = place_of(ticket(501, epoch=1), replace(VIEW, epoch=2, base=500, last=last))
        assert place is not None
        assert (place.ahead, place.called) == (410, True)


def test_a_member_of_a_group_counts_those_of_its_group():
    tag = tag_of("members")
    view = replace(VIEW, groups={tag: GroupView(serving=3, share=0.25)})
    assert place_of(ticket(group_number(tag, 4)), VIEW) is None
    near, far = (place_of(ticket(group_number(tag, turn)), view) for turn in (3, 10))
    assert near is not None
    assert (near.ahead, near.called) == (0, True)
    assert far is not None
    assert (far.ahead, far.called) == (6, False)
    assert far.low == pytest.approx(7 / 2)
    assert far.high == pytest.approx(7 * 1.25 / (1.8 * 0.25))


@pytest.mark.parametrize("given", [ticket(5, epoch=2), ticket(AWAY + 17)])
def test_what_nobody_can_count_has_no_place(given):
    assert place_of(given, VIEW) is None


@given(
    number=st.integers(1, 10_000),
    serving=st.integers(0, 10_000),
    door=st.integers(0, 200),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20),
)
def test_the_place_never_grows_while_the_room_calls_and_admits(number, serving, door, steps):
    last, door = 20_000, min(door, serving)
    shown = None
    for called, entered in steps:
        serving += called
        door += called
        door -= min(door, entered)
        view = replace(VIEW, serving=serving, last=last, through=serving - door)
        place = place_of(ticket(number), view)
        assert place is not None
        assert shown is None or place.ahead <= shown
        shown = place.ahead


def test_the_pace_is_the_rate_at_best_and_what_was_seen_at_worst():
    low, high = pace_of(VIEW) or (0, 0)
    assert low == pytest.approx(1 / 2, abs=1e-4)
    assert high == pytest.approx(1.25 / 1.8, abs=1e-4)


def test_a_full_room_moves_as_fast_as_people_leave_it():
    low, high = pace_of(replace(VIEW, active=50, inside=50, admitted_per_second=0.1)) or (0, 0)
    assert low == pytest.approx(10.0)
    assert high == pytest.approx(12.5)


def test_little_seen_in_the_first_minute_does_not_promise_hours():
    _, high = pace_of(replace(VIEW, admitted_per_second=0.01)) or (0, 0)
    assert high == pytest.approx(1.25 / 1.0)


def test_those_who_left_the_line_take_no_time():
    low, high = pace_of(replace(VIEW, present=0.5)) or (0, 0)
    assert low == pytest.approx(0.5 / 2, abs=1e-4)
    assert high == pytest.approx(1.25 * 0.75 / 1.8, abs=1e-4)


@given(
    number=st.integers(1, 10_000),
    amount=st.integers(1, 200_000),
    seen=st.floats(0, 5000),
    tokens=st.floats(0, 500),
    inside=st.none() | st.integers(0, 200),
)
def test_the_least_wait_is_no_less_than_the_bucket_allows(number, amount, seen, tokens, inside):
    """Right after another rate was ordered, too, when what was seen is of the one before."""
    active = None if inside is None else 100
    view = replace(VIEW, amount=amount, admitted_per_second=seen, tokens=tokens, active=active, inside=inside or 0)
    place = place_of(ticket(number), view)
    assert place is not None
    assert place.low is not None
    assert place.high is not None
    assert place.low >= (place.ahead - tokens) / view.per_second * 0.99999
    assert place.low <= place.high


def test_who_finds_a_token_and_a_seat_waits_for_none():
    def low(**change: object) -> float | None:
        place = place_of(ticket(110), replace(VIEW, **change))
        assert place is not None
        assert place.ahead == 19
        return place.low

    assert low(tokens=5.9) == pytest.approx(15 / 2)
    assert low(tokens=20.0) == 0
    assert low(tokens=20.0, active=50, inside=48) == pytest.approx(18 / 2)
    assert low(tokens=20.0, active=50, inside=60) == pytest.approx(20 / 1.8, rel=1e-5)


@pytest.mark.parametrize("mode", [RoomMode.HOLD, RoomMode.CLOSED])
def test_nobody_can_tell_while_nobody_is_called(mode):
    view = replace(VIEW, mode=mode)
    assert pace_of(view) is None
    place = place_of(ticket(300), view)
    assert place is not None
    assert (place.low, place.high) == (None, None)


@given(low=st.floats(0, 1e6), draw=st.floats(0, 0.999))
def test_polls_stay_between_near_and_far(low, draw):
    assert NEAR <= ask_again(low, draw) <= FAR * (1 + JITTER)
    assert PAUSED <= ask_again(None, draw) <= PAUSED * (1 + JITTER)


def test_the_far_ask_seldom_and_the_near_often():
    assert ask_again(5, 0) == NEAR
    assert ask_again(3600, 0) == FAR
    assert ask_again(100, 0) == 15


@pytest.mark.parametrize(
    ("low", "high", "span"),
    [
        (0.4, 20, Span(0, 1, False)),
        (40, 61, Span(0, 2, False)),
        (60, 60, Span(1, 2, False)),
        (501, 921, Span(8, 16, False)),
        (1300, 2000, Span(20, 35, False)),
        (3000, 5400, Span(50, 90, False)),
        (3000, 5401, Span(0, 2, True)),
        (7300, 11000, Span(2, 4, True)),
    ],
)
def test_waits_are_told_coarser_the_longer_they_are(low, high, span):
    assert span_of(low, high) == span


@given(low=st.floats(0, 1e6), more=st.floats(0, 1e6))
def test_a_span_holds_the_estimate_and_is_never_empty(low, more):
    span = span_of(low, low + more)
    unit = 3600 if span.hours else 60
    assert span.low * unit <= low
    assert span.high * unit >= low + more or span.high == 1
    assert span.low < span.high


@pytest.mark.parametrize(("waiting", "far"), [(0, 2.5), (12_500, 2.5), (50_000, 10.0), (150_000, 30.0), (10_000_000, 30.0)])
def test_everybody_looks_soon_until_so_many_wait_that_it_costs(waiting, far):
    policy = poll_policy(waiting, 5000)
    assert policy["far"] == far
    assert poll_policy(waiting, 1_000_000)["far"] <= far
    soonest = policy["far"] * (1 + policy["jitter"])
    assert waiting > 12_500 or soonest + 1.5 <= 5, "with the second of a cache and the page's half-second beat"


def test_who_waits_for_a_draw_has_no_place_until_it_was_held():
    before = replace(VIEW, serving=0, last=500, waiting=500, draw=True, seed=b"x" * 32, opens=10.0)
    early = ticket(7)._replace(joined=9_000)
    assert place_of(early, before) is None
    drawn = place_of(early, replace(before, drawn=500))
    assert drawn is not None
    assert drawn.ahead == replace(before, drawn=500).turn_of(7) - 1
    assert place_of(early._replace(joined=11_000), before) is not None, "who came later stands behind, in the order of arrival"
    assert place_of(early, replace(before, serving=3)) is not None, "nobody came to the draw: it is over all the same"
