"""The bucket is the law, over several processes, connections and restarts of the store."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.core.line import Terms
from gate.store.embedded import Embedded
from tests.store import hammer
from tests.store.rush import excess

pytestmark = pytest.mark.slow
PROCESSES = 4


def hammered(
    store: Embedded, room: str, terms: Terms, seconds: float, meanwhile: Callable[[], None] = lambda: None
) -> list[int]:
    """Admissions by the store's clock, in microseconds, of several processes at once."""
    active = "-" if terms.active is None else str(terms.active)
    numbers = (terms.amount, terms.period, terms.burst, active, seconds)
    command = [sys.executable, "-m", hammer.__name__, store.url, room, *map(str, numbers)]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) for _ in range(PROCESSES)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    meanwhile()
    admitted: list[int] = []
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        admitted += json.loads(said)
    return sorted(admitted)


# A bucket cannot fill while what it holds waits for a busy machine: of one token, less of the rate can be asked for.
@pytest.mark.parametrize(
    ("terms", "share"), [(Terms(20, 1, burst=30), 0.9), (Terms(3, 1, burst=1), 0.4)], ids=["burst 30", "burst 1"]
)
def test_no_window_holds_more_than_burst_and_rate(store: Embedded, room: str, terms: Terms, share: float) -> None:
    admitted = hammered(store, room, terms, 6.0)
    assert excess(admitted, terms) <= 0
    lasted = (admitted[-1] - admitted[0]) / 1e6
    assert len(admitted) >= share * terms.per_second * lasted, "the rate was there to be used"
    assert len(set(admitted)) > 3


def test_the_measure_would_see_one_too_many() -> None:
    terms = Terms(10, 1, burst=2)
    good = [0, 0, 100_000, 200_000]
    assert excess(good, terms) == 0
    assert excess([*good, 299_999], terms) > 0


def test_no_more_than_the_cap_are_inside(store: Embedded, room: str) -> None:
    terms = Terms(1000, 1, burst=1000, active=25)
    assert len(hammered(store, room, terms, 4.0)) == 25


def test_a_store_that_is_killed_and_comes_back_empty_gives_no_token_twice(own_store: Embedded) -> None:
    terms = Terms(10, 1, burst=20)

    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(2.0)
            assert own_store.process is not None
            own_store.process.kill()
            own_store.process.wait()
            own_store.start()

    admitted = hammered(own_store, "checkout", terms, 12.0, kill_twice)  # for four seconds after a loss nobody enters
    assert excess(admitted, terms) <= 0
    assert len(admitted) > 40
