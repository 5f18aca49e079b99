"""The values of a line."""

import pytest

from gate.core.line import AWAY, RATE_LEAST, RATE_WINDOW, TICKET_LIFE, TICKET_MOST, Throughput, away_number, is_over


def test_numbers_given_without_the_store_are_ordered_by_time():
    numbers = [away_number(1.79e9 + k * 0.01) for k in range(100)]
    assert numbers == sorted(numbers)
    assert min(numbers) >= AWAY


def test_a_ticket_lasts_from_the_opening_but_not_to_the_next_sale():
    day = 86400.0
    assert not is_over(0, 0, TICKET_LIFE)
    assert is_over(0, 0, TICKET_LIFE + 1)
    assert not is_over(0, 20 * day, 20 * day + TICKET_LIFE)
    assert is_over(0, 20 * day, 20 * day + TICKET_LIFE + 1)
    assert not is_over(19 * day, 4 * day, 22 * day)
    assert is_over(0, TICKET_MOST, TICKET_MOST + 1)


class TestThroughput:
    def test_it_is_what_was_admitted_over_the_last_minute(self):
        meter, told = Throughput(), []
        for second in range(200):
            rate = 2 if second < 100 else 5
            total = 2 * min(second, 100) + 5 * max(0, second - 100)
            told.append((rate, meter.measure(1000.0 + second, total, standing=True)))
        assert told[99] == (2, pytest.approx(2))
        assert told[199] == (5, pytest.approx(5))
        assert 2 < told[100 + int(RATE_WINDOW) // 2][1] < 5

    def test_it_says_nothing_before_it_knows_something(self):
        meter = Throughput()
        assert meter.measure(0.0, 0, standing=True) == 0
        assert meter.measure(RATE_LEAST - 0.1, 50, standing=True) == 0
        assert meter.measure(RATE_LEAST, 50, standing=True) == pytest.approx(50 / RATE_LEAST)

    def test_a_quiet_time_is_forgotten(self):
        meter = Throughput()
        for second in range(50):
            assert meter.measure(float(second), 3, standing=False) == 0
        assert meter.measure(49 + RATE_LEAST, 13, standing=True) == pytest.approx(10 / RATE_LEAST)

    def test_all_who_entered_are_counted_whether_anybody_waits_or_not(self):
        meter = Throughput()
        assert meter.count(0.0, 7) is None
        assert meter.count(RATE_LEAST, 7) == 0
        assert [meter.count(10.0 + second, 7 + second) for second in range(1, 61)][-1] == pytest.approx(1)

    @pytest.mark.parametrize(("now", "admitted"), [(50.0, 5), (5.0, 500)])
    def test_another_record_of_the_room_or_another_clock_starts_anew(self, now, admitted):
        meter = Throughput()
        meter.measure(0.0, 0, standing=True)
        meter.measure(10.0, 100, standing=True)
        assert meter.measure(now, admitted, standing=True) == 0
