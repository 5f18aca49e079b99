"""The crowd: what its numbers mean, at a shop without a gate and before a held room."""

from pathlib import Path

import pytest
from rich.console import Console

from gate.demo.crowd import Crowd, watch
from gate.demo.processes import ShopProcess
from gate.demo.tally import State, Tally
from tests.processes import Gate, running

pytestmark = pytest.mark.slow


async def test_without_a_gate_the_stock_decides(shop: ShopProcess, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = Crowd(shop.url, 8, arrive=0.2, seed=1)
    tally = await watch(crowd, within=90, console=Console(force_terminal=False, width=200))
    assert {state: count for state, count in tally.states.items() if count} == {State.BOUGHT: 3, State.SOLD_OUT: 5}
    assert tally.entered == 0  # there was no door
    assert not tally.problems
    assert "bought 3, sold out 5" in capsys.readouterr().out


async def test_before_a_held_room_everybody_waits_and_then_gives_up(shop: ShopProcess, tmp_path: Path) -> None:
    room = {"match": ["/checkout/**", "POST /cart/add"], "rate": "60/minute", "burst": 1}
    gate = Gate(tmp_path, {"origin": {"servers": [shop.url]}, "rooms": {"checkout": room}})
    with running(gate):
        gate.command("room", "checkout", "hold")
        tally = await Crowd(gate.url, 6, arrive=0.2, patience=3, seed=1).run(within=90)
    assert tally.states[State.GAVE_UP] == 6
    assert (tally.entered, tally.problems.total()) == (0, 0)


async def test_a_shop_that_is_not_there_is_a_problem_and_not_a_hang() -> None:
    tally = await Crowd("http://127.0.0.1:9", 2, arrive=0, seed=1).run(within=4)
    assert tally.states[State.FAILED] + tally.states[State.GAVE_UP] == 2
    assert tally.states[State.BOUGHT] == 0


def test_the_summary_leaves_out_what_nobody_does() -> None:
    tally = Tally()
    tally.states[State.WAITING] = 7
    tally.states[State.COMING] = 0
    assert tally.line() == "waiting 7; entered 0, requests 0, problems 0"
