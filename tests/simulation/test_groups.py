"""A sale with invitations: each group gets its part of the rate, by the product's own room, and is told apart."""

from dataclasses import replace

import pytest

from gate.core.line import Terms
from gate.simulation.arrivals import Curve
from gate.simulation.log import Log
from gate.simulation.measures import figures
from gate.simulation.people import GHOST, WAITS
from gate.simulation.run import simulate
from gate.simulation.sale import Outage, Sale
from gate.simulation.what_if import invite, what_if
from gate.simulation.words import rows

TERMS = Terms(600, 60, 20, groups=(("vip", 0.3), ("press", 0.1)))
SALE = Sale(TERMS, Curve.even(1500, 30), invited=(("vip", 0.3),), seed=1)


def share_of(log: Log, group: int, first: float, last: float) -> float:
    """Of those who entered between these seconds."""
    entered = [log.people.group[who] for at, who in log.admitted if first <= at / 1e6 < last]
    return entered.count(group) / len(entered)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_group_gets_its_share_while_both_wait_and_leaves_the_rest_to_the_others(seed, exact):
    log = simulate(replace(SALE, seed=seed, exact=exact))
    assert share_of(log, 1, 20, 100) == pytest.approx(0.3, abs=0.04)
    found = figures(log)
    assert found.excess <= 0
    assert found.grown == 0
    assert found.overtaken_by <= 2.5  # inside the common line
    assert found.fates["entered"] == 1500
    assert found.used is not None
    assert found.used >= 0.95


def test_few_who_are_invited_hardly_wait():
    found = figures(simulate(replace(SALE, invited=(("vip", 0.05), ("press", 0.01)))))
    vip, press, others = found.parts
    assert [part.group for part in found.parts] == ["vip", "press", None]
    assert sum(part.visitors for part in found.parts) == 1500
    assert 50 < vip.visitors < 100
    assert 5 < press.visitors < 30
    assert all(part.entered == part.visitors for part in found.parts)
    assert max(vip.wait.p90, press.wait.p90) < 15 < others.wait.p50


def test_without_an_invitation_nothing_changes():
    """Groups that nobody comes to take nothing."""
    groups, none = (simulate(replace(SALE, terms=terms, invited=())) for terms in (TERMS, replace(TERMS, groups=())))
    assert groups.admitted == none.admitted
    assert figures(groups).parts == []


@pytest.mark.parametrize("opens", [None, 20.0])
def test_the_shortcuts_change_nothing_that_can_be_seen(opens):
    sale = replace(SALE, opens=opens, leave=0.3, patience=100, ghosts=100)
    exact, quick = (figures(simulate(replace(sale, exact=exact))) for exact in (True, False))
    for slow, fast in zip(exact.parts, quick.parts, strict=True):
        assert fast.visitors == slow.visitors
        assert fast.entered == pytest.approx(slow.entered, rel=0.03)
        for share in ("p10", "p50", "p90"):
            assert getattr(fast.wait, share) == pytest.approx(getattr(slow.wait, share), rel=0.08, abs=2.5)


def test_the_store_dies():
    log = simulate(replace(SALE, outage=Outage(15, 40)))
    found = figures(log)
    assert found.excess <= 0
    assert found.fates["waits"] == 0
    assert [part.entered for part in found.parts] == [part.visitors for part in found.parts]
    people = log.people
    assert all(people.fate[who] != WAITS for who in range(len(people)) if people.kind[who] != GHOST)


def test_the_table_and_what_if():
    label, more = what_if(SALE, "invited=press=50%")
    assert label == "invited press=50%"
    assert more.invited == (("vip", 0.3), ("press", 0.5))
    table = {title: values for title, *values in rows([figures(simulate(sale)) for sale in (SALE, more)])}
    assert table["Invited, press"][0] == ""
    assert table["Invited, press"][1].endswith("entered")
    assert {"Invited, vip: wait, half of them", "Not invited: wait, 9 of 10"} <= table.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vip", "write it like vip=5%"),
        ("staff=5%", "no group 'staff'; it has: vip, press"),
        ("press=80%", "more than all visitors"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(ValueError, match=said):
        invite(SALE, text)
