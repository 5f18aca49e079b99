"""Whom the workers let in while the store was away, told to the store: the script, its twin, and what it means to a line."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import AWAY, Remembered, Terms
from gate.core.standin import Admission
from gate.core.words import RoomMode
from gate.store.line import Line
from tests.store.test_twin import OFFER, TERMS, Scripts, _kept, client  # noqa: F401 - a fixture

SECOND = 1_000_000
STEPS = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 30)),
    st.tuples(st.just("lease"), st.integers(1, 30)),
    st.tuples(st.just("claim"), st.integers(0, 30)),
    st.tuples(st.just("release"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.sampled_from([1, 300_000, SECOND, 11 * SECOND, 700 * SECOND])),
    st.tuples(st.just("adopt"), st.lists(st.integers(0, 30), max_size=6)),
    st.tuples(st.just("adopt"), st.lists(st.integers(0, 30), max_size=6)),
    st.tuples(st.just("away"), st.integers(0, 10**9)),
    st.tuples(st.just("terms"), TERMS),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(terms=TERMS, steps=st.lists(STEPS, min_size=1, max_size=40), hold=st.sampled_from([0, 1, 2 * SECOND]))
def test_the_script_and_the_twin_agree(client: Any, terms: Terms, steps: list[tuple[str, Any]], hold: int) -> None:  # noqa: F811 - the fixture
    terms = replace(terms, draw=False)
    scripts, ledger, memory = Scripts(client), Ledger(OFFER), Remembered()
    tickets = [Ticket(scripts.room, 1, 1, 0, "nobody")]

    def pick(index: int) -> Ticket:
        return tickets[index % len(tickets)]

    try:
        for what, value in steps:
            match what:
                case "terms":
                    terms = replace(value, draw=False)
                    continue
                case "wait":
                    if ledger.born:
                        scripts.let_pass(value)
                        ledger.skew += value
                    continue
                case "away":
                    tickets.append(Ticket(scripts.room, 1, AWAY + value, 0, f"a{len(tickets)}"))
                    continue
                case "lease":
                    first, epoch, _ = map(int, scripts.run("lease", terms, memory, value))
                    assert ledger.lease(scripts.raw, terms, memory, value) == (first, epoch)
                    tickets += [Ticket(scripts.room, epoch, first + k, 0, f"l{first + k}") for k in range(value)]
                case "enter":
                    id_ = f"e{len(tickets)}"
                    twin = (scripts.run("enter", terms, memory, id_), ledger.enter(scripts.raw, terms, memory, id_))[1]
                    tickets.append(Ticket(scripts.room, twin.epoch, twin.number, 0, id_))
                case "claim":
                    ticket = pick(value)
                    status, *_ = scripts.run("claim", terms, memory, ticket.id, ticket.epoch, ticket.number, ticket.number, 0)
                    assert ledger.claim(scripts.raw, terms, memory, ticket).status == status.decode()
                case "release":
                    scripts.run("release", terms, memory, pick(value).id)
                    ledger.release(scripts.raw, terms, memory, pick(value).id)
                case "adopt":
                    told = [(pick(k).id, pick(k).epoch, pick(k).number, scripts.raw + (k - 3) * SECOND) for k in value]
                    called = max([pick(k).number for k in value if pick(k).number < AWAY], default=0)
                    through = called // 2
                    each = (part for one in told for part in one)
                    (news,) = scripts.run("adopt", terms, memory, called, through, hold, *each)
                    assert ledger.adopt(scripts.raw, terms, memory, called, through, hold, told) == int(news)
            state = ledger.state()
            for field in ("epoch", "serving", "last", "waiting", "through", "inside", "ready", "admitted", "tokens", "present"):
                assert getattr(scripts.state, field) == getattr(state, field), field
            assert scripts.kept() == _kept(ledger)
            memory = ledger.remembered()
    finally:
        scripts.lose_everything()


async def test_who_was_let_in_is_inside_and_the_ticket_is_spent_and_the_bucket_empty(line: Line) -> None:
    terms = Terms(10, 1, burst=5)
    held = Terms(10, 1, burst=5, mode=RoomMode.HOLD)
    tickets = [(await line.join(held)).ticket for _ in range(4)]
    await line.tick(held)
    expires = time.time() + 300
    admitted = [Admission(ticket.id, ticket.epoch, ticket.number, expires) for ticket in tickets[:2]]
    assert await line.adopt(admitted, 3, 1.0, held) == 2
    assert await line.adopt(admitted, 3, 1.0, held) == 0, "told twice is known"
    state = await line.tick(held)
    assert (state.inside, state.admitted, state.serving) == (2, 2, 3)
    assert state.tokens == 0
    again = await line.claim(tickets[0], terms)
    assert again.status == "entered", "with the seat it has: no second token"
    assert again.expires == pytest.approx(expires)
    assert (await line.claim(tickets[2], terms, patience=0)).status == "waiting"
    assert (await line.tick(terms)).admitted == 2
    assert await line.release(tickets[0].id)
    assert (await line.claim(tickets[0], terms)).status == "spent"
