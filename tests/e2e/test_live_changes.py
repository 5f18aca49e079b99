"""A line that stands while the operator changes everything about its room: nobody loses the place."""

import time
from pathlib import Path
from typing import Any

import pytest

from gate import keys
from tests.processes import Gate, Program, Shop, eventually, fetch, running

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/json"}
PEOPLE = 9
ROTATIONS = 6
ROLLS = 150.0  # seconds: three processes start one after the other, twice where an edit is noticed and asked for too
ROOM = {"match": ["/checkout/**"], "rate": "1/day", "burst": 1}


class Person(Program):
    """Stands in line."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.ask("/checkout")

    def place(self) -> tuple[int, int, int]:
        told = self.ask("/__gate/rooms/checkout/ticket").json()
        return told["epoch"], told["number"], told["ahead"]

    def enters(self) -> bool:
        return bool(self.ask("/checkout").decision.startswith("forward"))


@pytest.fixture
def gate(tmp_path: Path) -> Any:
    shop = Shop(tmp_path)
    with running(shop):
        gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "rooms": {"checkout": ROOM}})
        with running(gate):
            yield gate


def reload(gate: Gate, **room: Any) -> None:
    """The room of the config file is another one now, and every worker runs with it."""
    before = {worker["config"] for worker in gate.status()["workers"]}
    gate.settings["rooms"] = {"checkout": {**ROOM, **room}}
    gate.write()

    def applied() -> bool:
        workers = [worker for worker in gate.status()["workers"] if worker["alive"]]
        return len(workers) == 2 and not before & {worker["config"] for worker in workers}

    eventually(applied, ROLLS, every=0.3, what=f"the workers run with {room}")


def test_nobody_loses_the_place_whatever_is_changed(gate: Gate) -> None:
    eventually(lambda: gate.status()["rooms"][0]["admitted_per_second"] == 0, what="it is known that nobody enters")
    assert Person(gate).enters()  # the one token of today
    people = []
    for _ in range(PEOPLE):
        people.append(Person(gate))
        time.sleep(0.12)  # numbers are leased in blocks that live for 100 ms
    eventually(lambda: gate.status()["rooms"][0]["admitted_per_second"], what="who entered before the line is counted")
    places = [person.place() for person in people]
    assert [number for _, number, _ in places] == sorted(number for _, number, _ in places)
    assert [ahead for *_, ahead in places] == sorted(ahead for *_, ahead in places)

    def kept(what: str) -> None:
        now = [person.place() for person in people]
        assert [place[:2] for place in now] == [place[:2] for place in places], what
        assert all(new[2] <= old[2] for new, old in zip(now, places, strict=True)), what

    for words in (
        ("--rate", "2/day", "--burst", "5"),
        ("--active", "1"),  # one is inside: the room is full
        ("--session", "30m"),
        ("--message", "Soon"),
        ("--session", "config", "--rate", "config"),
        ("hold",),
        ("auto", "--active", "1"),
    ):
        gate.command("room", "checkout", *words)
        kept(f"gate room checkout {' '.join(words)}")

    hour = time.time() + 3600
    opens = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    for room in (
        {"maximum": 3},  # fewer than stand there already
        {"order": "random", "opens": opens},  # the opening is past: nobody is shuffled who stands in line
        {"order": "random", "opens": opens, "closes": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(hour))},
        {"groups": {"members": {"share": "30%"}}},
    ):
        reload(gate, **room)
        kept(f"reload with {room}")

    newcomer = Person(gate)
    gate.command("room", "checkout", "--rate", "5/second", "--burst", "1", "--active", "0")
    order = []
    for person in people:
        eventually(person.enters, 60, every=0.1, what="the next in line enters")
        order.append(person)
    assert order == people
    eventually(newcomer.enters, 60, every=0.1, what="and then the one who came last")


def test_keys_are_rotated_many_times_while_people_wait(gate: Gate) -> None:
    """At every rotation one more comes, and the worker that answers is any of them: all keep their places to the end."""
    assert Person(gate).enters()  # the one token of today
    people: list[Person] = []
    places: dict[Person, tuple[int, int, int]] = {}
    for _ in range(ROTATIONS):
        person = Person(gate)
        places[person] = person.place()
        people.append(person)
        new = keys.rotate(gate.state_directory, lead=1.5).key.id  # what `gate keys rotate` does, with less patience

        def signs(new: str = new) -> bool:
            return {worker["key"] for worker in gate.status()["workers"]} == {new}

        eventually(signs, 60, what=f"every worker signs with {new}")
        for person in people:
            old, now = places[person], person.place()
            assert now[:2] == old[:2]
            assert now[2] <= old[2]
    assert len(keys.load(gate.state_directory).listed) == ROTATIONS + 1


def test_when_a_command_returns_its_order_is_in_force_at_every_worker(gate: Gate) -> None:
    def decisions() -> set[str]:
        return {fetch(gate.url + "/", headers=JSON).decision for _ in range(20)}

    gate.command("fallback", "on")
    assert decisions() == {"fallback; reason=ordered"}
    gate.command("fallback", "auto")
    assert decisions() == {"forward; reason=unguarded"}


def test_a_room_that_is_sold_out_by_order_takes_nobody_until_there_is_more(gate: Gate) -> None:
    gate.command("room", "checkout", "--left", "0", "--rate", "5/second")
    assert all(fetch(gate.url + "/checkout", headers=JSON).decision.endswith("reason=sold-out") for _ in range(10))
    assert 'gate_room_left{room="checkout"} 0.0' in fetch(gate.operator_url + "/metrics").text
    done = gate.command("room", "checkout", "--left", "shop")
    assert "Wait of a newcomer: at once (without the change: no entry: sold out)." in done.stdout
    eventually(lambda: Person(gate).enters(), what="there is more to sell")
