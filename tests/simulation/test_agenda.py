"""The agenda hands out what was put in, by the second and in order, also what is put in meanwhile."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gate.simulation.agenda import Agenda

STEP = st.floats(0, 40)


def nothing(_now: float, _who: int) -> None:
    raise AssertionError("an agenda does not do what is on it")


@given(first=st.lists(STEP), later=st.lists(st.tuples(st.booleans(), STEP)))
def test_everything_in_its_time(first, later):
    agenda, waiting, now, put = Agenda(), [], 0.0, 0
    for second in first:
        agenda.put(second, nothing, put)
        waiting.append((second, put))
        put += 1
    for takes, ahead in later:
        if takes and waiting:
            assert agenda.next_at() == min(waiting)[0]
            now, _, _, who = agenda.take()
            assert (now, who) == min(waiting)
            waiting.remove((now, who))
        else:
            agenda.put(now + ahead, nothing, put)
            waiting.append((now + ahead, put))
            put += 1
    taken = []
    while agenda.next_at() < math.inf:
        second, _, _, who = agenda.take()
        taken.append((second, who))
    assert taken == sorted(waiting)
