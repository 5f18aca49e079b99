from gate.core.health import HOLD, WINDOW, Health


def test_it_starts_up_and_falls_after_three_failures_in_a_row():
    health = Health(fall=3, rise=2)
    for now, ok in enumerate([False, False, True, False, False]):
        health.record(ok, now)
        assert health.up
    health.record(False, 9.0)
    assert not health.up
    assert health.since == 9.0


def test_it_rises_after_two_good_checks_in_a_row():
    health = Health(fall=1, rise=2)
    health.record(False, 0)
    for ok in (True, False, True):
        health.record(ok, 1)
        assert not health.up
    health.record(True, 5)
    assert health.up


def test_an_origin_that_flaps_at_the_probe_period_changes_nothing():
    health = Health(fall=3, rise=2)
    for now in range(100):
        health.record(now % 2 == 0, now)
    assert health.up


def test_requests_without_any_answer_take_it_down_however_the_checks_are_going():
    health = Health(fall=3, rise=2)
    for turn in range(12):
        assert health.up
        health.record(True, turn)
        health.record_trouble(turn)
    assert not health.up


def test_one_answer_between_forgives():
    health = Health(fall=3, rise=2)
    for _ in range(11):
        health.record_trouble(1)
    health.record_answer()
    health.record_trouble(2)
    assert health.up


def test_troubles_far_apart_are_none():
    health = Health(fall=3, rise=2)
    for turn in range(50):
        health.record_trouble(turn * WINDOW / 8)
    assert health.up


def test_good_checks_lift_a_passive_fall_only_after_a_while():
    health = Health(fall=1, rise=2)
    for _ in range(4):
        health.record_trouble(100)
    for now in range(100, 100 + int(HOLD)):
        health.record(True, now)
        assert not health.up
    health.record(True, 100 + HOLD)
    health.record(True, 101 + HOLD)
    assert health.up


def test_a_passive_fall_that_the_checks_see_too_ends_with_the_checks():
    health = Health(fall=1, rise=2)
    for _ in range(4):
        health.record_trouble(100)
    health.record(False, 101)
    health.record(True, 102)
    health.record(True, 103)
    assert health.up
