"""When a room is drawn, and when it is not: on a real store, by its clock."""

import asyncio
import time
from dataclasses import replace

from gate.core.credentials import Ticket
from gate.core.line import RoomState, Terms
from gate.store.line import Line
from gate.store.link import Link
from tests.store.conftest import make_line

FIFO = Terms(1, 3600)
PAST = 1.0  # Unix time


async def people(line: Line, terms: Terms, count: int) -> list[Ticket]:
    """Tickets that wait, in the order in which they came."""
    entries = [await line.join(terms) for _ in range(count)]
    assert {entry.status for entry in entries} == {"waiting"}
    return [entry.ticket for entry in entries]


async def until(line: Line, terms: Terms, moment: float) -> RoomState:
    """The state right after ``moment``."""
    await asyncio.sleep(max(0.0, moment + 0.05 - time.time()))
    return await line.tick(terms)


async def test_who_comes_before_the_opening_is_drawn_once(link: Link, room: str) -> None:
    one, other = make_line(link, room), make_line(link, room)
    terms = replace(FIFO, draw=True, opens=time.time() + 5)
    await people(one, terms, 6)
    seed = (await other.tick(terms)).seed
    assert len(seed) == 64
    assert (await one.tick(terms)).seed == seed  # one seed, whoever offered first
    state = await until(one, terms, terms.opens)
    assert (state.drawn, state.seed) == (state.last, seed)
    later = await people(one, terms, 2)
    state = await other.tick(terms)
    assert state.drawn < later[0].number  # behind the draw, in their order


async def test_a_room_that_gets_its_draw_after_the_opening_shuffles_nobody(line: Line) -> None:
    """A reload in the middle of a line must cost nobody the place."""
    await line.join(FIFO)  # takes the one token
    await people(line, FIFO, 6)
    before = await line.tick(FIFO)
    late = replace(FIFO, draw=True, opens=PAST)
    state = await line.tick(late)
    assert (state.drawn, state.serving) == (-1, before.serving)
    await people(line, late, 1)
    assert (await line.tick(late)).drawn == -1


async def test_an_opening_that_is_put_off_is_drawn_when_it_comes(line: Line) -> None:
    mistaken = replace(FIFO, draw=True, opens=PAST)
    assert (await line.tick(mistaken)).drawn == -1  # nobody was there
    terms = replace(mistaken, opens=time.time() + 5)
    assert (await line.tick(terms)).drawn == 0
    await people(line, terms, 4)
    state = await until(line, terms, terms.opens)
    assert state.drawn == state.last
    assert (await line.tick(replace(terms, opens=time.time() + 60))).drawn == state.drawn  # what was drawn stays drawn
