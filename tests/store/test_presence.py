"""Presence, groups, stock and what is kept of a line that was lost, on a real store."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from gate.core.credentials import Ticket
from gate.core.invitations import Invitation
from gate.core.line import GROUPED, Terms
from gate.core.words import Reason, RoomMode
from gate.store.line import NOTED_EVERY, STOCK_EVERY, Line, keys_of
from gate.store.link import Link
from tests.store.conftest import make_line

TERMS = Terms(60, 60, burst=3)
HELD = replace(TERMS, mode=RoomMode.HOLD)


async def let_pass(line: Line, seconds: float) -> None:
    """Room time is the store's clock plus `skew`; these gates do not say how much time has passed."""
    line._heard = float("-inf")
    await line.link.command("HINCRBY", keys_of(line.name)[0], "skew", round(seconds * 1e6))


async def numbered(line: Line, count: int) -> list[Ticket]:
    return [entry.ticket for entry in await asyncio.gather(*(line.join(HELD) for _ in range(count)))]


async def test_a_million_who_never_come_back_are_passed_by(line: Line) -> None:
    await line.tick(HELD)
    await line._run("lease", HELD, 1_000_000)
    tickets = await numbered(line, 20)
    for ticket in tickets:
        line.present(ticket)
    await asyncio.sleep(NOTED_EVERY)
    state = await line.tick(HELD)
    assert state.waiting > 1_000_000
    await let_pass(line, 5)
    await line.tick(HELD)
    await let_pass(line, 50)
    state = await line.tick(HELD)
    assert 20 <= state.waiting <= 25
    state = await line.tick(TERMS)
    assert state.serving > 1_000_000
    entry = await line.claim(tickets[0], TERMS)
    assert entry.status == "entered"
    keys = [key async for key in line.link.client.scan_iter(match=f"gate:{{{line.name}}}:seen:*")]
    assert len(keys) <= 1, "no bits are kept of those who have been called"


async def test_a_ticket_whose_number_was_lost_with_the_store_is_neither_stuck_nor_given_twice(link: Link, room: str) -> None:
    """Handed out just before the loss, and seen by no other worker."""
    here, there = make_line(link, room), make_line(link, room)
    await numbered(there, 3)
    await there.tick(HELD)
    late = await numbered(here, 2)
    await link.command("DEL", *keys_of(room))
    await there.tick(HELD)  # the worker that has not seen them comes first
    again = await numbered(there, 2)
    tickets = [*late, *again]
    assert len({(ticket.epoch, ticket.number) for ticket in tickets}) == 4
    assert {ticket.number for ticket in late} & {ticket.number for ticket in again}, "the numbers are the same ones"
    for _ in range(2):
        await there.tick(TERMS)
    for ticket in reversed(tickets):
        entry = await there.claim(ticket, TERMS, patience=0)
        assert entry.reason is Reason.RATE, "all of them are called"
    order = [id_.decode() for id_ in await link.command("ZRANGE", keys_of(room)[1], 0, -1)]
    assert order == [ticket.id for ticket in tickets]


async def test_who_came_too_late_gets_another_number_and_it_is_in_the_ticket(line: Line) -> None:
    terms = replace(TERMS, grace=10.0)
    ticket, _ = await numbered(line, 2)
    await line.tick(terms)
    for _ in range(4):
        await let_pass(line, 8)
        await line.tick(terms)
    await numbered(line, 10)
    await line.link.command("HSET", keys_of(line.name)[0], "level", 0)
    entry = await line.claim(ticket, terms, patience=0)
    assert entry.ticket.id == ticket.id
    assert entry.ticket.number > 12
    assert (await line.claim(ticket, terms, patience=0)).ticket.number == entry.ticket.number


async def test_no_more_stand_in_line_than_the_maximum_however_many_come_at_once(link: Link, room: str) -> None:
    lines = [make_line(link, room) for _ in range(4)]
    terms = replace(HELD, maximum=50)
    entries = await asyncio.gather(*(lines[k % 4].join(terms) for k in range(300)))
    given = [entry for entry in entries if entry.status == "waiting"]
    assert {entry.reason for entry in entries if entry.status == "full"} == {Reason.LINE_FULL}
    assert len(given) == (await lines[0].tick(terms)).waiting <= 50


async def test_an_invitation_gives_a_place_in_its_group(line: Line) -> None:
    terms = replace(TERMS, groups=(("members", 0.5),))
    invitation = Invitation(line.name, "members", "spring", 2, 2 * 10**9)
    await numbered(line, 100)
    entry = await line.invite(invitation, terms)
    assert entry is not None
    assert entry.ticket.number >= GROUPED
    again = await line.invite(invitation, terms, entry.ticket)
    assert again is not None
    assert (again.ticket.number, again.ticket.id) == (entry.ticket.number, entry.ticket.id)
    ordinary = Ticket(line.name, 1, 5, 0, "somebody in line")
    second = await line.invite(invitation, terms, ordinary)
    assert second is not None
    assert second.ticket.id == ordinary.id, "a double click uses it once"
    assert await line.invite(invitation, terms) is None
    state = await line.tick(terms)
    assert [(given, called) for _, given, called in state.groups] == [(2, 2)]
    await let_pass(line, 10)
    assert (await line.claim(entry.ticket, terms)).status == "entered"
    newer = await line.invite(replace(invitation, id="autumn", uses=0), terms, entry.ticket)
    assert newer is not None
    assert newer.ticket.id != entry.ticket.id, "that one's pass is in use"


async def test_an_invitation_that_has_just_ended_by_the_stores_clock_is_not_used_more_often(line: Line) -> None:
    invitation = Invitation(line.name, "members", "last minute", 1, int(time.time()) - 5)  # by a gate's clock it has not
    terms = replace(TERMS, groups=(("members", 0.5),))
    assert await line.invite(invitation, terms) is not None
    assert await line.invite(invitation, terms) is None


async def test_a_turn_in_a_group_takes_the_place_of_a_common_number(line: Line) -> None:
    """One ticket is one pass, whichever of its numbers is shown first."""
    terms = replace(TERMS, groups=(("members", 0.5),), session=0.05)
    invitation = Invitation(line.name, "members", "spring", 0, 2 * 10**9)
    await numbered(line, 2)
    first, second = (Ticket(line.name, line.state.epoch, number, int(time.time() * 1000), f"t{number}") for number in (1, 2))
    invited = await line.invite(invitation, terms, first)
    assert invited is not None
    assert invited.ticket.id == first.id
    await let_pass(line, 10)
    await line.tick(terms)
    assert (await line.claim(first, terms)).status == "spent"
    assert (await line.claim(invited.ticket, terms)).status == "entered"
    await let_pass(line, 10)  # its seat is over
    for ticket in (first, invited.ticket):
        assert (await line.claim(ticket, terms)).status == "spent"
    assert (await line.claim(second, terms)).status == "entered"
    await let_pass(line, 10)
    later = await line.invite(invitation, terms, second)
    assert later is not None
    assert later.ticket.id != second.id, "that one has had its pass"
    assert (await line.claim(second, terms)).status == "spent"


async def test_a_flood_of_words_about_the_stock_is_few_calls_and_the_newest_counts(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    run = line._run

    async def counted(name: str, terms: Terms, *args: Any) -> list[bytes]:
        if name == "stock":
            calls.append(args[0])
        return await run(name, terms, *args)

    monkeypatch.setattr(line, "_run", counted)
    await line.tick(TERMS)
    began = time.monotonic()
    for left in range(500, 0, -1):
        line.stock(left)
        if left % 100 == 0:
            await asyncio.sleep(0.05)
    while line._stocking is not None:
        await asyncio.sleep(0.05)
    assert len(calls) <= 1 + (time.monotonic() - began) / STOCK_EVERY
    assert (await line.tick(TERMS)).left == 1
