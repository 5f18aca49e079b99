import pytest

from gate.core.orders import Orders, RoomOrders
from gate.core.settings import Room
from gate.core.words import RoomMode, Shedding, Switch

ROOM = Room.model_validate({"match": "/x", "rate": "120/minute", "burst": 20, "active": 500, "message": "hello"})


def test_without_orders_the_config_holds():
    orders = RoomOrders()
    assert orders.amount_and_period(ROOM) == (120, 60)
    assert (orders.burst_of(ROOM), orders.active_of(ROOM), orders.message_of(ROOM)) == (20, 500, "hello")


def test_orders_win():
    orders = RoomOrders(rate="5 per second", burst=1, active=9, message="")
    assert orders.amount_and_period(ROOM) == (5, 1)
    assert (orders.burst_of(ROOM), orders.active_of(ROOM), orders.message_of(ROOM)) == (1, 9, "")


def test_active_zero_lifts_the_cap():
    assert RoomOrders(active=0).active_of(ROOM) is None


def test_a_document_comes_back_as_it_went():
    orders = Orders(7, Switch.ON, Shedding.SHEDDABLE, {"checkout": RoomOrders(RoomMode.HOLD, "1/second", 2, 3, "wait")})
    assert Orders.from_json(orders.to_json()) == orders


@pytest.mark.parametrize("junk", [{}, {"version": 1}, {"version": 1, "fallback": "maybe", "shedding": "auto", "rooms": {}}])
def test_a_strange_document_is_refused(junk):
    with pytest.raises((ValueError, KeyError)):
        Orders.from_json(junk)
