"""A sale of a hundred thousand, as `gate simulate` runs it: its laws over seeds, and that its shortcuts change nothing."""

import random
import time
from dataclasses import replace

import pytest

from gate.core.line import Terms
from gate.simulation.arrivals import Curve
from gate.simulation.measures import figures, kendall, overtaken
from gate.simulation.run import simulate
from gate.simulation.sale import Outage, Sale
from gate.simulation.what_if import what_if

SALE = Sale(Terms(1200, 60, 100), Curve.even(3000, 75), leave=0.3, patience=120, hidden=0.1)  # twice what may enter


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("gone", "share", "tau"), [(0.0, 0.95, 0.999), (0.5, 0.95, 0.999), (0.9, 0.92, 0.998)])
def test_the_laws(gone, share, tau, seed):
    terms, curve = Terms(3000, 60, 250), Curve.even(8000, 80)
    found = figures(simulate(replace(SALE, terms=terms, curve=curve, ghosts=round(8000 * gone / (1 - gone)), seed=seed)))
    assert found.excess <= 0
    assert found.used is not None
    assert found.used >= share
    assert found.tau is not None
    assert found.tau >= tau
    assert found.overtaken_by <= 2.5  # one return
    assert found.grown == 0
    assert sum(found.fates.values()) == 8000
    assert found.fates["waits"] == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_seats_are_never_exceeded(seed):
    terms = replace(SALE.terms, active=200, session=40)
    found = figures(simulate(replace(SALE, terms=terms, curve=Curve.even(1500, 40), stay=20, seed=seed)))
    assert 190 <= found.most_inside <= 200
    assert found.excess <= 0


def test_a_full_room_calls_as_many_as_it_has_seats_for():
    """Whatever its rate: who stands at the door in vain asks the store every few seconds."""
    terms = Terms(1200, 60, 100, active=500, session=600)
    log = simulate(replace(SALE, terms=terms, curve=Curve.even(3000, 60), stay=120, buy=1.0))
    assert log.most_inside == 500
    assert log.claims < 12 * len(log.admitted)
    inside = [sample.inside for sample in log.samples if 100 < sample.second < 200]
    assert sum(inside) / len(inside) > 0.98 * 500, "who leaves is followed by another"


@pytest.mark.parametrize("then", ["local", "closed"])
def test_the_laws_hold_when_the_store_dies(then):
    policy = SALE.without_store.model_copy(update={"then": then})
    log = simulate(replace(SALE, without_store=policy, outage=Outage(30, 60)))
    alone = [at for at, _ in log.admitted if 65e6 < at < 89e6]
    assert bool(alone) == (then == "local")
    assert len(alone) <= 0.8 * 20 * 24 + SALE.terms.burst
    found = figures(log)
    assert found.excess <= 0
    assert found.fates["waits"] == 0
    assert found.tau is not None
    assert found.tau >= 0.99


@pytest.mark.parametrize("seed", [1, 3])
def test_no_place_grows_when_the_store_is_back(seed):
    """Places were counted from what the workers had let in; the store has not seen it."""
    sale = replace(SALE, terms=Terms(600, 60, 20), curve=Curve.even(3000, 60), leave=0.5, hidden=0.2, seed=seed)
    policy = SALE.without_store.model_copy(update={"closed": 10.0})
    assert figures(simulate(replace(sale, without_store=policy, outage=Outage(30, 20)))).grown == 0


def test_who_was_numbered_just_before_the_store_was_lost_stands_before_those_of_the_outage():
    """The store forgot three of them, and gave their numbers again; those of the outage took a minute to let in."""
    policy = SALE.without_store.model_copy(update={"closed": 10.0})
    sale = replace(SALE, terms=Terms(600, 60, 20), curve=Curve.even(3000, 60), leave=0.5, hidden=0.2, seed=2)
    found = figures(simulate(replace(sale, without_store=policy, outage=Outage(30, 20))))
    assert found.overtaken_by < 20


@pytest.mark.parametrize("draw", [False, True])
def test_an_opening_and_a_draw(draw):
    log = simulate(replace(SALE, terms=replace(SALE.terms, draw=draw), opens=40.0))
    assert log.admitted[0][0] >= 40e6
    found = figures(log)
    assert found.excess <= 0
    assert found.used is not None
    assert found.used >= 0.95
    assert found.tau is not None
    assert found.tau >= 0.99
    by_arrival = kendall([log.people.came[who] for _, who in log.admitted[:1000] if log.people.came[who] < 40])
    assert by_arrival is not None
    assert abs(by_arrival) < 0.1 if draw else by_arrival > 0.9


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_numbers_of_a_block_that_the_opening_fell_into_are_drawn(seed):
    """Also those that nobody has yet, and those that are given out when the draw is over."""
    terms = replace(SALE.terms, draw=True)
    found = figures(simulate(replace(SALE, terms=terms, curve=Curve.even(600, 6), opens=3.0, seed=seed)))
    assert found.fates["entered"] + found.fates["left"] == 600
    assert found.empty_at is not None
    assert found.empty_at < 600


def test_a_full_line_turns_away():
    found = figures(simulate(replace(SALE, terms=replace(SALE.terms, maximum=500), leave=0.0, hidden=0.0)))
    assert found.fates["full"] > 300
    assert found.peak <= 500
    assert found.counted <= 500
    assert found.excess <= 0
    assert found.used is not None
    assert found.used >= 0.95  # who was turned away does not wait


@pytest.mark.parametrize("seed", [1, 2])
def test_a_maximum_counts_those_who_were_heard_of_and_not_the_tabs_that_nobody_looks_at(seed):
    sale = replace(SALE, terms=replace(SALE.terms, maximum=500), hidden=0.2, leave=0.0, seed=seed)
    log = simulate(sale)
    found = figures(log)
    back = 2  # one who was missing, and comes back, is not sent away for it
    assert found.counted <= 500 + back
    assert found.peak > 550
    assert found.counted == max(sample.waiting for sample in log.samples)


def test_the_same_seed_is_the_same_sale():
    once, again, other = (simulate(replace(SALE, seed=seed)).admitted for seed in (7, 7, 8))
    assert once == again
    assert once != other


def test_the_shortcuts_change_nothing_that_can_be_seen():
    sale = replace(SALE, terms=Terms(600, 60, 50), curve=Curve.even(2400, 120), ghosts=400, hidden=0.0)
    exact, quick = (figures(simulate(replace(sale, exact=exact))) for exact in (True, False))
    for share in ("p10", "p50", "p90", "p99"):
        assert getattr(quick.wait, share) == pytest.approx(getattr(exact.wait, share), rel=0.05, abs=2.0)
    assert quick.fates["entered"] == pytest.approx(exact.fates["entered"], rel=0.03)
    assert quick.peak == pytest.approx(exact.peak, rel=0.02)
    assert quick.knocks == pytest.approx(exact.knocks, rel=0.15)
    assert quick.used == pytest.approx(exact.used, abs=0.03)
    assert (quick.excess, quick.overtaken_by) <= (0, 2.5)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_shortcuts_lose_no_tokens_of_a_small_bucket(seed):
    """It is full within hundredths of a second, and then whoever is a little late has cost some of the rate."""
    sale = Sale(Terms(6000, 60, 2), Curve.even(1500, 10), no_js=0.0, seed=seed)
    exact, quick = (simulate(replace(sale, exact=exact)) for exact in (True, False))
    assert quick.end == pytest.approx(exact.end, rel=0.15)


def test_a_large_sale_is_many_small_ones():
    """Ten times the rate for ten times the crowd: the same waits, at the same second. The small one follows each look."""
    small = replace(SALE, terms=Terms(600, 60, 50), curve=Curve.even(1500, 75), hidden=0.0)
    large = replace(small, terms=Terms(6000, 60, 500), curve=Curve.even(15_000, 75))
    exact, quick = figures(simulate(replace(small, exact=True))), figures(simulate(large))
    for share in ("p10", "p50", "p90", "p99"):
        assert getattr(quick.wait, share) == pytest.approx(getattr(exact.wait, share), rel=0.08, abs=2.5)
    assert quick.fates["entered"] == pytest.approx(10 * exact.fates["entered"], rel=0.05)
    assert quick.peak == pytest.approx(10 * exact.peak, rel=0.05)


def test_a_visitor_costs_the_same_in_a_crowd_of_a_hundred_thousand():
    def cost(visitors: int) -> float:
        """CPU seconds a visitor, in a sale that takes as long as visitors are many."""
        began = time.process_time()
        log = simulate(replace(SALE, curve=Curve.even(visitors, visitors / 300), leave=0.97, patience=30))
        found = figures(log)
        assert found.excess <= 0
        assert found.fates["waits"] == 0
        return (time.process_time() - began) / visitors

    assert cost(100_000) < 3 * cost(10_000)  # ten times as much would be a cost that grows with the crowd


def test_stock_ends_the_sale():
    found = figures(simulate(replace(SALE, stock=500, stay=10, buy=1.0)))
    assert found.sold == 500
    assert found.over == "sold-out"
    assert found.fates["over"] > 50


def test_what_if():
    halved = what_if(SALE, "rate")[1]
    assert halved.terms.per_second == SALE.terms.per_second / 2
    assert what_if(SALE, "leave=80%")[1].leave == 0.8
    assert what_if(SALE, "store-dies=90s")[1].outage == Outage(37.5, 90.0)
    assert what_if(SALE, "ghosts-seen=90%")[1].ghosts_seen == 0.9
    assert what_if(SALE, "active=0")[1].terms.active is None
    with pytest.raises(ValueError, match="nothing to try"):
        what_if(SALE, "rains")
    with pytest.raises(ValueError, match="not a share"):
        what_if(SALE, "leave=many")


class TestCurve:
    def test_visitors_come_as_the_points_say(self):
        curve = Curve.parse("0:0 30s:100 5m:150")
        came = curve.drawn(random.Random(1))
        assert came == sorted(came)
        assert sum(second <= 30 for second in came) == 100
        assert len(came) == curve.visitors == 150
        assert curve.second_of(50) == 15

    @pytest.mark.parametrize("text", ["", "5m", "5m:x", "5m:10 1m:20", "1m:10 5m:5", "1m:0", "10:10"])
    def test_what_is_no_curve_is_refused_with_advice(self, text):
        with pytest.raises(ValueError, match=r"write|needs a unit"):
            Curve.parse(text)


def test_kendall():
    assert kendall([1, 2, 3, 4]) == 1
    assert kendall([4, 3, 2, 1]) == -1
    assert kendall([1, 2, 4, 3]) == pytest.approx(1 - 2 / 6 * 1, abs=1e-4)
    assert kendall([1]) is None


def test_overtaken():
    assert overtaken([(0, 10), (5, 11), (3, 12)], 1) == (1, 1)
    assert overtaken([(0, 10), (5, 11), (6, 12), (3, 15)], 1) == (2, 4)
    assert overtaken([(0, 10), (1, 11), (0.5, 15)], 1) == (0, 0.0)
