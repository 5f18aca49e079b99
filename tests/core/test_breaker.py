import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.breaker import Breaker, State


def fail(breaker: Breaker, now: float) -> None:
    generation = breaker.acquire(now)
    assert generation is not None
    breaker.report(generation, ok=False, now=now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        fail(breaker, now)
    assert breaker.state is State.OPEN
    return breaker


def test_three_failures_in_sixty_seconds_open_it():
    breaker = Breaker()
    fail(breaker, 0)
    fail(breaker, 30)
    assert breaker.state is State.CLOSED
    fail(breaker, 59)
    assert breaker.state is State.OPEN


def test_failures_further_apart_do_not():
    breaker = Breaker()
    for now in (0, 31, 62, 93, 124):
        fail(breaker, now)
    assert breaker.state is State.CLOSED


def test_successes_between_do_not_hide_failures():
    breaker = Breaker()
    for now in range(3):
        fail(breaker, now)
        if now < 2:
            generation = breaker.acquire(now)
            breaker.report(generation, ok=True, now=now)
    assert breaker.state is State.OPEN


def test_half_of_twenty_in_ten_seconds_open_it():
    breaker = Breaker(failures=1000)
    for turn in range(19):
        breaker.report(breaker.acquire(0.0), ok=turn % 2 == 0, now=0.0)
    assert breaker.state is State.CLOSED
    breaker.report(breaker.acquire(0.0), ok=False, now=0.0)
    assert breaker.state is State.OPEN


def test_open_refuses_for_thirty_seconds_then_lets_one_probe_through():
    breaker = opened(now=100)
    assert breaker.acquire(129.9) is None
    assert breaker.shown(129.9) is State.OPEN
    assert not breaker.refuses(130)
    assert (breaker.shown(130), breaker.state) == (State.HALF_OPEN, State.OPEN)  # nobody has asked yet
    probe = breaker.acquire(130)
    assert probe is not None
    assert breaker.refuses(130)
    assert breaker.acquire(130) is None
    breaker.report(probe, ok=True, now=131)
    assert breaker.state is State.CLOSED
    assert breaker.acquire(131) is not None


def test_a_failed_probe_opens_it_again_for_the_whole_time():
    breaker = opened(now=0)
    probe = breaker.acquire(30)
    breaker.report(probe, ok=False, now=40)
    assert breaker.acquire(69) is None
    assert breaker.acquire(70) is not None


def test_an_abandoned_probe_frees_its_place():
    breaker = opened(now=0)
    probe = breaker.acquire(30)
    breaker.abandon(probe)
    assert breaker.acquire(30) is not None


def test_a_probe_that_tells_nothing_holds_nobody_up_for_long():
    breaker = opened(now=0)
    slow = breaker.acquire(30)
    assert breaker.refuses(59.9)
    assert not breaker.refuses(60)
    second = breaker.acquire(60)
    assert second is not None
    assert breaker.acquire(60) is None
    breaker.abandon(slow)
    assert breaker.acquire(61) is None  # the second is still out
    breaker.report(second, ok=True, now=62)
    assert breaker.state is State.CLOSED
    breaker.report(slow, ok=False, now=63)
    assert breaker.state is State.CLOSED


def test_a_slow_probe_still_counts_when_it_is_answered_first():
    breaker = opened(now=0)
    slow, second = breaker.acquire(30), breaker.acquire(60)
    breaker.report(slow, ok=True, now=61)
    assert breaker.state is State.CLOSED
    breaker.abandon(second)
    assert breaker.acquire(61) is not None


def test_a_late_report_of_an_older_state_changes_nothing():
    breaker = Breaker()
    late = breaker.acquire(0)
    for _ in range(3):
        fail(breaker, 0)
    breaker.report(late, ok=True, now=1)
    assert breaker.state is State.OPEN
    breaker.abandon(late)
    assert breaker.state is State.OPEN


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["acquire", "ok", "fail", "abandon"])), max_size=80))
def test_never_two_probes_at_once_unless_one_is_overdue(steps):
    breaker, now, held = Breaker(), 0.0, []
    for wait, step in steps:
        now += wait
        if step == "acquire":
            out = [began for generation, began in held if generation == breaker.generation]
            was_half_open = breaker.state is State.HALF_OPEN
            generation = breaker.acquire(now)
            if was_half_open and generation is not None:
                assert all(now - began >= breaker.open_for for began in out)
            if generation is not None:
                held.append((generation, now))
        elif held:
            generation, _ = held.pop()
            breaker.abandon(generation) if step == "abandon" else breaker.report(generation, step == "ok", now)


@pytest.mark.parametrize("state", list(State))
def test_states_have_stable_names(state):
    assert state.value in ("closed", "open", "half-open")
