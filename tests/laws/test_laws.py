"""The laws of the line, decided from the records of clients and shop: with nothing wrong, and with everything."""

import pytest

from tests.laws.checker import breaches
from tests.laws.run import Plan, run

pytestmark = pytest.mark.slow


def test_calm(tmp_path):
    history = run(tmp_path, Plan(visitors=240, over=6.0))
    assert len(history.entered()) > 100
    assert breaches(history) == []


def test_everything_goes_wrong(tmp_path):
    faults = ("worker killed", "scripts flushed", "worker paused", "store paused", "reload", "store emptied", "gate restarted")
    history = run(tmp_path, Plan(visitors=250, over=8.0, seconds=90.0, faults=faults, every=2.5))
    assert [fault.name for fault in history.faults] == list(faults)
    assert len(history.entered()) > 100
    assert breaches(history) == []


def test_a_full_room(tmp_path):
    plan = Plan(visitors=60, over=2.0, seconds=60.0, rate=20, burst=10, active=20, session=10, faults=("worker killed",))
    history = run(tmp_path, plan)
    assert len(history.entered()) > 25
    assert breaches(history) == []
