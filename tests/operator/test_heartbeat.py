"""What workers say, and how it becomes one picture."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

from gate import heartbeat
from gate.core.orders import Orders, RoomOrders
from gate.core.settings import Settings
from gate.core.words import RoomMode, Shedding, Switch
from gate.heartbeat import Beat, Condition, RoomBeat
from gate.status import Status, gather

NOW = 1_800_000_000.0
ROOM = RoomBeat(waiting=7)
BEAT = Beat(
    0,
    100,
    NOW,
    NOW - 60,
    taken=NOW - 1,
    store_up=True,
    in_flight=2,
    breakers={"/x": "closed"},
    rooms={"checkout": RoomBeat(waiting=7)},
)
SETTINGS = Settings.model_validate(
    {
        "rooms": {"checkout": {"match": "/checkout/**", "rate": "120/minute", "burst": 20, "active": 500}},
        "routes": [{"match": "/x", "breaker": {}}, {"match": "/y"}],
    }
)


def picture(*beats: Beat, orders: Orders | None = None, now: float = NOW) -> Status:
    return gather(
        SETTINGS,
        orders or Orders(),
        list(beats),
        now=now,
        gate="1",
        stored=True,
        refused=False,
        problems=[],
        entering={"checkout": 1.5},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    beat = replace(BEAT, condition=Condition.ORIGIN_DOWN, since=NOW - 5, servers={"http://a": False})
    heartbeat.write(tmp_path, beat)
    heartbeat.write(tmp_path, replace(beat, worker=1))
    assert heartbeat.read(tmp_path, NOW) == [beat, replace(beat, worker=1)]


def test_unreadable_foreign_and_forgotten_files_are_left_out(tmp_path: Path) -> None:
    heartbeat.write(tmp_path, BEAT)
    (tmp_path / "worker-1.json").write_text("{")
    (tmp_path / "worker-2.json").write_text("[]")
    (tmp_path / "worker-3.json").write_text('{"worker": 3}')
    heartbeat.write(tmp_path, replace(BEAT, worker=4, time=NOW - heartbeat.FORGET - 1))
    data = json.loads((tmp_path / "worker-0.json").read_text())
    (tmp_path / "worker-5.json").write_text(json.dumps({**data, "worker": 5, "of the next version": 1}))
    assert [beat.worker for beat in heartbeat.read(tmp_path, NOW)] == [0, 5]


def test_an_edge_that_asks_and_may_not_is_a_problem_told_once() -> None:
    beats = [replace(BEAT, worker=number, unlisted=["127.0.0.1"]) for number in range(2)]
    assert picture(*beats).problems == [
        "127.0.0.1 asks about requests and is not in edge.ask: visitors get 403. If it is an edge of yours, add it."
    ]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    heartbeat.write(tmp_path, BEAT)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            heartbeat.write(tmp_path, replace(BEAT, servers={f"http://{n}": True for n in range(200)}))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert len(heartbeat.read(tmp_path, NOW)) == 1
    finally:
        stop.set()
        writer.join()


def test_a_worker_takes_only_its_own_file_away(tmp_path: Path) -> None:
    heartbeat.write(tmp_path, replace(BEAT, pid=os.getpid()))
    heartbeat.remove(tmp_path, 0, os.getpid() + 1)
    assert heartbeat.read(tmp_path, NOW)
    heartbeat.remove(tmp_path, 0, os.getpid())
    assert not heartbeat.read(tmp_path, NOW)
    heartbeat.remove(tmp_path, 0, os.getpid())


def test_the_younger_of_two_workers_with_one_number_has_the_word(tmp_path: Path) -> None:
    successor = replace(BEAT, pid=200, started=NOW)
    heartbeat.write(tmp_path, BEAT)
    heartbeat.write(tmp_path, successor)
    heartbeat.write(tmp_path, replace(BEAT, time=NOW + 1))
    assert heartbeat.read(tmp_path, NOW) == [successor]
    later = NOW + heartbeat.STALE + 1  # the successor did not live
    heartbeat.write(tmp_path, replace(BEAT, time=later))
    assert [beat.pid for beat in heartbeat.read(tmp_path, later)] == [BEAT.pid]


def test_a_new_gate_knows_nothing_of_the_workers_of_the_last(tmp_path: Path) -> None:
    heartbeat.write(tmp_path, BEAT)
    (tmp_path / ".worker-3.77").write_text("half a file of a worker that was killed")
    (tmp_path / "gate.lock").touch()
    heartbeat.wipe(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.lock"]


def test_one_picture_of_several_workers() -> None:
    other = replace(BEAT, worker=1, taken=NOW, in_flight=3, rooms={"checkout": RoomBeat(waiting=9, tokens=1.23456)})
    status = picture(BEAT, other)
    assert status.in_flight == 5
    assert status.rooms[0].waiting == 9  # of the worker that read it last
    assert status.rooms[0].tokens == 1.235
    assert (status.rooms[0].rate, status.rooms[0].per_second, status.rooms[0].active) == ("120/minute", 2.0, 500)
    assert status.problems == []
    assert status.in_force


def test_a_silent_worker_counts_for_nothing() -> None:
    gone = replace(BEAT, worker=1, time=NOW - heartbeat.STALE - 1, in_flight=99, store_up=False, taken=NOW)
    status = picture(BEAT, gone)
    assert status.in_flight == 2
    assert [worker.alive for worker in status.workers] == [True, False]
    assert status.rooms[0].waiting == 7
    assert status.problems == ["Worker 1 has not been heard from."]


def test_a_clock_set_back_does_not_make_workers_silent() -> None:
    assert picture(replace(BEAT, time=NOW + 3600)).workers[0].alive


def test_nobody_alive() -> None:
    status = picture()
    assert not status.store.up
    assert not status.in_force
    assert not status.fallback.on  # nobody serves it
    assert status.problems == ["No worker is alive: visitors get no answer."]


def test_the_store_and_the_shop_are_up_when_one_worker_reaches_them() -> None:
    away = replace(BEAT, worker=1, store_up=False, origin_up=False, taken=0.0)
    status = picture(BEAT, away)
    assert status.store.up
    assert status.origin.up
    assert status.problems == ["The store does not answer some of the workers."]
    status = picture(away)
    assert not status.store.up
    assert not status.origin.up
    assert status.fallback.on
    assert len(status.problems) == 2
    assert not picture(away, orders=Orders(fallback=Switch.OFF)).fallback.on


def test_orders_are_shown_and_those_who_lag_named() -> None:
    orders = Orders(
        version=3,
        shedding=Shedding.NORMAL,
        rooms={"checkout": RoomOrders(RoomMode.HOLD, rate="60/minute", active=0, message="Hi")},
    )
    status = picture(replace(BEAT, orders=3), replace(BEAT, worker=1, orders=2), orders=orders)
    room = status.rooms[0]
    assert (room.mode, room.rate, room.burst, room.active, room.message) == ("hold", "60/minute", 20, None, "Hi")
    assert room.ordered == ["mode", "rate", "active", "message"]
    assert status.shedding.level == 2
    assert not status.in_force
    assert "Worker 1 does not yet follow the last order." in status.problems


def test_all_is_not_well_while_an_order_keeps_visitors_out() -> None:
    for orders, said in (
        (Orders(1, fallback=Switch.ON), "The static page is shown to everybody, by order."),
        (Orders(1, shedding=Shedding.SHEDDABLE), "Shedding is ordered, level 1: sheddable routes answer their fallback."),
        (Orders(1, shedding=Shedding.NORMAL), "Shedding is ordered, level 2: only critical routes are forwarded."),
        (_mode(RoomMode.HOLD), "checkout is on hold, by order: nobody new enters (7 wait)."),
        (_mode(RoomMode.CLOSED), "checkout is closed, by order: nobody new enters, and no line forms (7 wait)."),
        (_mode(RoomMode.OPEN), "checkout is open, by order: everybody passes, whatever the rate (7 wait)."),
    ):
        assert picture(replace(BEAT, orders=1), orders=orders).problems == [said]
    for orders in (Orders(1, fallback=Switch.OFF), Orders(1, shedding=Shedding.OFF), _mode(RoomMode.AUTO)):
        assert picture(replace(BEAT, orders=1), orders=orders).problems == []


def _mode(mode: RoomMode) -> Orders:
    return Orders(1, rooms={"checkout": RoomOrders(mode)})


SALE = Settings.model_validate(
    {
        "rooms": {
            "drop": {
                "match": "/drop/**",
                "rate": "5/second",
                "order": "random",
                "opens": NOW,
                "closes": NOW + 3600,
                "maximum": 100,
                "groups": {"members": {"share": "30%"}},
            }
        }
    }
)


def sale(room: RoomBeat, *, after: float = 0.0) -> Status:
    beat = replace(BEAT, time=NOW + after, taken=NOW + after, rooms={"drop": room}, breakers={})
    return gather(
        SALE, Orders(), [beat], now=NOW + after, gate="1", stored=True, refused=False, problems=[], entering={"checkout": 1.5}
    )


def test_a_sale_shows_its_times_and_its_draw() -> None:
    room = sale(RoomBeat(last=50, waiting=50, commitment="ab" * 32, groups={"members": 7}), after=-60).rooms[0]
    assert (room.order, room.opens, room.closes, room.maximum, room.left) == ("random", NOW, NOW + 3600, 100, None)
    assert [(group.name, group.share, group.waiting) for group in room.groups] == [("members", 0.3, 7)]
    assert room.draw is not None
    assert (room.draw.commitment, room.draw.drawn, room.draw.seed) == ("ab" * 32, None, None)
    drawn = sale(RoomBeat(last=50, waiting=50, commitment="ab" * 32, drawn=50, seed="cd" * 32), after=60)
    assert drawn.problems == []
    assert drawn.rooms[0].draw is not None
    assert (drawn.rooms[0].draw.drawn, drawn.rooms[0].draw.seed) == (50, "cd" * 32)


def test_what_an_operator_of_a_sale_should_know() -> None:
    assert sale(RoomBeat(waiting=99), after=-1).problems == []
    for drawn in (0, -1):  # not yet, or there was nobody
        assert sale(RoomBeat(last=50, drawn=drawn), after=60).problems == [
            "drop has opened, and nobody was drawn: it is first come, first served."
        ]
    assert sale(RoomBeat(drawn=50, seed="cd" * 32), after=-60).problems == [
        "drop has had its draw (of 50), and a room is drawn once: who comes before this opening is served first come, "
        "first served, behind it. For another draw give the room another name."
    ]
    assert sale(RoomBeat(waiting=100), after=-1).problems == ["The line of drop is full (100): newcomers get no place."]
    assert sale(RoomBeat(left=0), after=-1).problems == ["drop is sold out, says the shop: nobody new enters."]
    shares = replace(BEAT, condition=Condition.LOCAL_SHARE, store_up=False)
    assert picture(shares).problems == ["The store does not answer: workers let their share of the rate in, each by itself."]


def test_breakers_show_the_worst() -> None:
    probing = replace(BEAT, worker=1, breakers={"/x": "half-open"})
    status = picture(BEAT, probing)
    assert [(b.route, b.state, b.workers) for b in status.breakers] == [("/x", "half-open", 1)]
    assert status.problems == ["The breaker of /x is half open: it waits for a request that probes."]
    status = picture(probing, replace(BEAT, breakers={"/x": "open"}))
    assert [(b.route, b.state, b.workers) for b in status.breakers] == [("/x", "open", 2)]
    assert status.problems == ["The breaker of /x is open: its fallback is served."]
