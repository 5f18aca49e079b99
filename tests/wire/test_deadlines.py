"""The timer wheel: never early, at most two ticks late, and cheap to move."""

import random

from gate.wire.deadlines import NEVER, Wheel


class Entry:
    def __init__(self):
        self.due, self.look, self.fired = NEVER, NEVER, []

    def expired(self, now):
        self.fired.append(now)


def test_deadlines_against_a_model():
    rng = random.Random(7)
    wheel = Wheel(0.25)
    entries = [Entry() for _ in range(50)]
    model: dict[Entry, float] = {}
    now = 0.0
    for _ in range(4000):
        for _ in range(rng.randrange(4)):
            entry = rng.choice(entries)
            if rng.random() < 0.1:
                wheel.forget(entry)
                model.pop(entry, None)
            else:
                seconds = rng.choice([0.3, 1.0, 4.0, 15.0, 30.0])
                wheel.watch(entry, seconds)
                model[entry] = now + seconds
        now += rng.choice([0.05, 0.25, 0.25, 2.0])
        for entry in entries:
            entry.fired.clear()
        wheel.turn(now)
        for entry in entries:
            if entry.fired:
                assert model.pop(entry) <= now
        overdue = [due for due in model.values() if due + 3 * wheel.tick < now]
        assert not overdue
    assert sum(len(slot) for slot in wheel._slots.values()) <= len(entries)


def test_an_entry_may_set_its_next_deadline_while_it_expires():
    wheel = Wheel(0.25)

    class Again(Entry):
        def expired(self, now):
            super().expired(now)
            wheel.watch(self, 1.0)

    entry = Again()
    wheel.watch(entry, 1.0)
    for step in range(1, 50):
        wheel.turn(step * 0.25)
    assert 6 <= len(entry.fired) <= 12


def test_an_entry_that_fails_takes_no_other_with_it(caplog):
    wheel = Wheel(0.25)

    class Faulty(Entry):
        def expired(self, now):
            raise RuntimeError("a fault of mine")

    entries = [Faulty() if number % 2 else Entry() for number in range(20)]
    for entry in entries:
        wheel.watch(entry, 1.0)  # all in one slot
    wheel.turn(2.0)
    assert all(entry.fired == [2.0] for entry in entries[::2])
    assert [record.getMessage() for record in caplog.records] == ["deadline_failed"] * 10
