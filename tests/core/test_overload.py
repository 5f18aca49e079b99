from gate.core import overload
from gate.core.overload import HOLD, LEAST


class Overload(overload.Overload):
    """Counted in as a lane does it."""

    def began(self, now, vital):
        self.load(vital).current += 1
        if self.current > self.in_flight:
            self.note(now)

    def left(self, vital):
        self.load(vital).current -= 1

    def answered(self, seconds, now, vital):
        self.left(vital)
        self.load(vital).samples.append((now, seconds))

    def load(self, vital):
        return self.vital if vital else self.others


def test_requests_in_flight_beyond_the_limit_raise_the_level_at_once():
    load = Overload(in_flight=10, latency=1.0)
    for _ in range(10):
        load.began(0, vital=True)
    assert load.level(0) == 0
    load.began(0, vital=True)
    assert load.level(0) == 1
    for _ in range(10):
        load.began(0, vital=True)
    assert load.level(0) == 2


def test_the_level_falls_only_after_a_quiet_time():
    load = Overload(in_flight=1, latency=1.0)
    load.began(0, vital=True)
    load.began(0, vital=True)
    load.left(vital=True)
    load.left(vital=True)
    assert load.level(HOLD - 0.1) == 1
    assert load.level(HOLD + 0.1) == 0


def test_a_slow_origin_raises_it_once_there_are_enough_samples():
    load = Overload(in_flight=100, latency=1.0)
    for _ in range(LEAST - 1):
        load.answered(1.5, 0, vital=True)
    assert load.level(0) == 0
    load.answered(1.5, 0, vital=True)
    assert load.level(0) == 1
    for _ in range(LEAST * 10):
        load.answered(2.5, 1, vital=True)
    assert load.level(1) == 2


def test_one_slow_answer_in_twenty_is_not_overload():
    load = Overload(in_flight=100, latency=1.0)
    for turn in range(100):
        load.answered(9.0 if turn % 20 == 0 else 0.1, 0, vital=True)
    assert load.level(0) == 0


def test_old_samples_are_forgotten():
    load = Overload(in_flight=100, latency=1.0)
    for _ in range(50):
        load.answered(5.0, 0, vital=True)
    assert load.level(0) == 2
    assert load.level(20) == 0


def test_what_is_not_vital_never_raises_level_two():
    load = Overload(in_flight=10, latency=1.0)
    for _ in range(100):
        load.began(0, vital=False)
        load.answered(9.0, 0, vital=False)
    assert load.level(0) == 1


def test_fast_vital_answers_are_not_blamed_for_slow_others():
    load = Overload(in_flight=100, latency=1.0)
    for _ in range(50):
        load.answered(9.0, 0, vital=False)
        load.answered(0.1, 0, vital=True)
    assert load.level(0) == 1
