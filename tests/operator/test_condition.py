"""The one sentence that a worker says of itself: the worst that holds."""

import pytest

from gate.app import condition_of
from gate.core.snapshot import Snapshot
from gate.core.words import Switch
from gate.heartbeat import Condition


@pytest.mark.parametrize(
    ("snapshot", "condition"),
    [
        (Snapshot(store_up=True), Condition.NORMAL),
        (Snapshot(store_up=False), Condition.STORE_AWAY),
        (Snapshot(store_up=False, local=True), Condition.LOCAL_SHARE),
        (Snapshot(store_up=False, local=True, origin_up=False), Condition.ORIGIN_DOWN),
        (Snapshot(store_up=False, local=True, fallback=Switch.ON), Condition.ORDERED),
    ],
)
def test_the_worst_that_holds(snapshot: Snapshot, condition: Condition) -> None:
    assert condition_of(snapshot) is condition
