"""What a change does to the wait, told beforehand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.credentials import Ticket
from gate.core.effect import Wait, effect_of, people_in_line
from gate.core.snapshot import RoomView
from gate.core.wait import place_of
from gate.core.words import Reason, RoomMode
from gate.preview import preview_of

NOW = 1_800_000_000.0
BUSY = RoomView(
    "checkout",
    amount=120,
    burst=20,
    active=500,
    serving=4210,
    last=5494,
    waiting=1294,
    through=4200,
    inside=412,
    admitted_per_second=1.9,
)
FULL = replace(BUSY, inside=500, admitted_per_second=1.0)


def after(view: RoomView, **change: object) -> tuple[Wait, Wait | None]:
    found = effect_of(view, replace(view, **change), NOW)[1]
    return found.newcomer, found.last


def last(view: RoomView, **change: object) -> tuple[float, float]:
    found = after(view, **change)[1]
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def test_the_figures_now_are_those_of_the_pages():
    prospect = effect_of(BUSY, BUSY, NOW)[0]
    place = place_of(Ticket("checkout", 1, BUSY.last, 0, "x" * 22), BUSY)
    assert place is not None
    assert prospect.last is not None
    assert (prospect.last.low, prospect.last.high) == pytest.approx((place.low, place.high), rel=0.01)


def test_twice_the_rate_is_half_the_wait():
    now, then = last(BUSY), last(BUSY, amount=240, active=None)
    assert then == pytest.approx((now[0] / 2, now[1] / 2))


def test_a_full_room_moves_as_fast_as_visitors_leave_it():
    now = last(FULL)
    assert last(FULL, amount=240) == now  # whatever its rate
    assert last(FULL, amount=30)[0] > now[0]  # but no faster than the rate
    more = last(FULL, active=1000)
    assert more[1] < now[1] * 0.6  # 500 seats at once, and twice as many leave a second
    fewer = last(FULL, active=250)
    assert fewer[0] > now[0] * 2  # half as many leave a second, and first of all 250 must


def test_a_rate_that_fills_the_room_is_held_up_by_the_cap():
    stay = BUSY.inside / BUSY.admitted_per_second
    people = people_in_line(BUSY)
    assert last(BUSY, amount=1200)[1] == pytest.approx(people * 1.25 * stay / 500, rel=0.01)


def test_a_shorter_session_helps_a_full_room_at_best():
    now, then = last(FULL), last(FULL, session=300.0)
    assert then[0] < now[0]
    assert then[1] == now[1]
    longer = last(FULL, session=1200.0)
    assert longer[0] == now[0]
    assert longer[1] > now[1]
    assert last(BUSY, session=300.0)[0] == last(BUSY)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": RoomMode.HOLD}, Reason.HOLD),
        ({"mode": RoomMode.CLOSED}, Reason.ROOM_CLOSED),
        ({"left": 0}, Reason.SOLD_OUT),
        ({"closes": NOW}, Reason.SALE_OVER),
        ({"closes": NOW, "left": 0}, Reason.SALE_OVER),  # in the order in which visitors are told
        ({"closes": NOW, "left": 0, "mode": RoomMode.CLOSED}, Reason.ROOM_CLOSED),
    ],
    ids=str,
)
def test_where_nobody_enters_there_is_no_wait_to_tell(change, reason):
    assert after(BUSY, **change) == (Wait(None, None, reason),) * 2


def test_while_the_shop_is_away_no_change_helps():
    before, then = effect_of(BUSY, replace(BUSY, amount=240), NOW, Reason.ORIGIN_DOWN)
    assert before == then
    assert then.newcomer.reason is Reason.ORIGIN_DOWN


def test_a_full_line_gives_newcomers_no_place_and_the_last_its_wait():
    newcomer, last_ = after(BUSY, maximum=1294)
    assert newcomer.reason is Reason.LINE_FULL
    assert last_ is not None
    assert last_.reason is None


def test_an_empty_room_takes_a_newcomer_at_once():
    view = replace(BUSY, serving=5494, through=5494, waiting=0, tokens=1.0)
    assert effect_of(view, view, NOW)[0].newcomer == Wait(0.0, 0.0)
    assert effect_of(view, view, NOW)[0].last is None
    full = replace(view, inside=500)
    assert effect_of(full, full, NOW)[0].newcomer.low > 0


def test_before_the_draw_any_place_is_possible():
    view = replace(BUSY, serving=0, through=0, last=1000, waiting=1000, inside=0, admitted_per_second=0.0)
    early = replace(view, opens=NOW + 600, draw=True)
    low, high = last(early)
    assert low == 600
    assert high == pytest.approx(600 + 1000 * 1.25 / 2)
    fifo = last(replace(early, draw=False))
    assert fifo[0] > low
    assert fifo[1] == high


def test_who_comes_too_late_for_the_end_of_the_sale_is_told():
    newcomer, _ = after(BUSY, closes=NOW + 60)
    assert newcomer.reason is Reason.SALE_OVER
    assert "closes before" in preview_of(BUSY, replace(BUSY, closes=NOW + 60), NOW, [], None).after.newcomer.text
    perhaps = preview_of(BUSY, replace(BUSY, closes=NOW + 700), NOW, [], None).after.newcomer
    assert perhaps.reason is None
    assert perhaps.text.endswith("unless the sale closes before")


views = st.builds(
    replace,
    st.just(BUSY),
    amount=st.integers(1, 5000),
    active=st.none() | st.integers(1, 2000),
    inside=st.integers(0, 2000),
    last=st.integers(4210, 100_000),
    admitted_per_second=st.just(0.0) | st.floats(0.01, 100),
    session=st.floats(10, 3600),
    present=st.floats(0, 1),
    mode=st.sampled_from([RoomMode.AUTO, RoomMode.HOLD]),
    opens=st.sampled_from([0.0, NOW + 600]),
    draw=st.booleans(),
)


@given(views, views)
def test_every_effect_is_a_range_in_words(before, after):
    after = replace(before, amount=after.amount, active=after.active, session=after.session, mode=after.mode)
    for prospect in effect_of(before, after, NOW):
        for wait in filter(None, (prospect.newcomer, prospect.last)):
            assert (wait.low is None) == (wait.reason is not None)
            if wait.low is not None and wait.high is not None:
                assert 0 <= wait.low <= wait.high < math.inf
    preview = preview_of(before, after, NOW, [], None)
    assert all(line.endswith(".") for line in preview.text)
    assert "None" not in " ".join(preview.text)
    if after == before:
        assert preview.before == preview.after


@given(views, st.integers(0, 5000))
def test_a_higher_rate_makes_nobody_wait_longer(before, more):
    was, then = effect_of(before, replace(before, amount=before.amount + more), NOW)
    for now, later in ((was.newcomer, then.newcomer), (was.last, then.last)):
        if now is not None and later is not None and now.high is not None and later.high is not None:
            assert later.low <= now.low * 1.001
