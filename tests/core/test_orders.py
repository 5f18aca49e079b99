import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(("rate", "burst"), [("1/hour", 1), ("7/second", 1), ("10/second", 2), ("15000/minute", 62)])
def test_a_burst_that_nobody_names_goes_with_the_rate_in_force(rate, burst):
    room = Room.model_validate({"match": "/x", "rate": rate})
    assert RoomOrders().burst_of(room) == burst
    unnamed = Room.model_validate({"match": "/x", "rate": "1/second"})
    assert RoomOrders(rate=rate).burst_of(unnamed) == burst
    assert RoomOrders(rate=rate, burst=3).burst_of(unnamed) == 3
    assert RoomOrders(rate=rate).burst_of(ROOM) == 20, "named in the config"


def test_the_session_is_the_configs_or_the_orders():
    assert RoomOrders().session_of(ROOM) == 600
    assert RoomOrders(session="15m").view_of(ROOM).session == 900


def test_active_zero_lifts_the_cap():
    assert RoomOrders(active=0).active_of(ROOM) is None


def test_a_document_comes_back_as_it_went():
    orders = Orders(
        7, Switch.ON, Shedding.SHEDDABLE, {"checkout": RoomOrders(RoomMode.HOLD, "1/second", 2, 3, "wait", 0, "15m")}
    )
    assert Orders.from_json(orders.to_json()) == orders


DOCUMENT = {"version": 1, "fallback": "auto", "shedding": "auto", "rooms": {}}
ROOM_ORDERS = {"mode": "auto", "rate": None, "burst": None, "active": None, "message": None}


@pytest.mark.parametrize(
    "junk",
    [
        None,
        [],
        "orders",
        {},
        {"version": 1},
        *({**DOCUMENT, "version": version} for version in (None, "1", 1.5, -1, True, [])),
        {**DOCUMENT, "fallback": "maybe"},
        {**DOCUMENT, "shedding": ["auto"]},
        {**DOCUMENT, "rooms": []},
        {**DOCUMENT, "rooms": {"checkout": None}},
        {**DOCUMENT, "rooms": {"checkout": {}}},
        *(
            {**DOCUMENT, "rooms": {"checkout": {**ROOM_ORDERS, **wrong}}}
            for wrong in (
                {"mode": 1},
                {"rate": 5},
                {"rate": "many"},
                {"burst": "3"},
                {"burst": -1},
                {"active": 1.0},
                {"active": False},
                {"message": {}},
                {"left": -1},
                {"session": "5s"},
                {"session": 600},
            )
        ),
    ],
    ids=str,
)
def test_a_strange_document_is_refused(junk):
    with pytest.raises(ValueError):
        Orders.from_json(junk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.fixed_dictionaries(dict.fromkeys(DOCUMENT, JSON)) | JSON, JSON)
def test_whatever_is_taken_can_be_followed(junk, room):
    rooms = {"checkout": {**ROOM_ORDERS, **room} if isinstance(room, dict) else room}
    for document in (junk, {**DOCUMENT, "rooms": rooms}):
        try:
            orders = Orders.from_json(document)
        except ValueError:
            continue
        for found in orders.rooms.values():
            (
                found.amount_and_period(ROOM),
                found.burst_of(ROOM),
                found.active_of(ROOM),
                found.message_of(ROOM),
                found.view_of(ROOM),
            )
        assert Orders.from_json(orders.to_json()) == orders
