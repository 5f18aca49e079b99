"""The store goes away behind a proxy and comes back: who enters meanwhile, what the store is told, and that no window holds
more than the law allows. Several workers, each with its own link."""

import asyncio
import contextlib
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.core.credentials import Ticket, new_id
from gate.core.decision import Entry
from gate.core.line import AWAY, Terms
from gate.core.standin import Admission, Share, Taken
from gate.core.words import Reason, RoomMode
from gate.demo.journal import excess
from gate.store.embedded import Embedded
from gate.store.line import Line
from gate.store.link import Link, StoreUnavailable
from gate.store.local import SETTLE, Entrance, Note, Policy, left_behind, notes, taken_before
from gate.store.memory import Memory
from tests.faults import FaultProxy

CLOSED = 2.0
TERMS = Terms(20, 1, burst=8, session=60.0)


class Worker:
    """One worker's way to the store through ``proxy``."""

    def __init__(
        self,
        proxy: FaultProxy,
        directory: Path,
        share: Share,
        room: str,
        *,
        local: bool = True,
        deadline: float = 5.0,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changes: list[tuple[bool, int]] = []
        self.heard = 0.0  # the last word of the store before it went away, Unix time
        self.link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=deadline)
        self.line = Line(self.link, room, new_id=lambda: new_id(secrets.token_bytes), memory=Memory())
        policy = Policy(CLOSED, share, directory, lambda _, begins, told: self.changes.append((begins, told)))
        self.entrance = Entrance(self.line, policy if local else None, now=time.time, ticks=ticks)

    async def ticking(self, terms: Terms) -> None:
        while True:
            asked = time.time()
            with contextlib.suppress(StoreUnavailable):
                await self.entrance.tick(terms)
                self.heard = self.heard if self.changes else asked
            await asyncio.sleep(0.1)

    async def once(self, terms: Terms) -> bool:
        """Does the store answer?"""
        try:
            await self.entrance.tick(terms)
        except StoreUnavailable:
            return False
        return not self.entrance.local


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.02)


async def numbered(worker: Worker, count: int) -> list[Ticket]:
    held = Terms(TERMS.amount, TERMS.period, TERMS.burst, session=60.0, mode=RoomMode.HOLD)
    return [entry.ticket for entry in await asyncio.gather(*(worker.entrance.join(held) for _ in range(count)))]


@pytest.mark.slow
async def test_the_law_holds_through_the_outage_and_the_return(store: Embedded, room: str, tmp_path: Path) -> None:
    crew = [Share(worker, 2, 2) for worker in range(2)] * 2
    async with FaultProxy(str(store.socket)) as proxy:
        workers = [Worker(proxy, tmp_path / f"gate{index // 2}", share, room, deadline=0.5) for index, share in enumerate(crew)]
        await asyncio.gather(*(worker.link.start() for worker in workers))
        tickets = await numbered(workers[0], 400)
        admitted: dict[str, tuple[float, bool]] = {}  # when it was let in, not when it heard of it; and by a share?
        over = asyncio.Event()

        def since(moment: float, *, local: bool = False) -> int:
            return sum(at > moment and by_share is local for at, by_share in admitted.values())

        async def visitor(ticket: Ticket) -> None:
            unsure = False  # the answer was lost: it may have been let in
            while unsure or not over.is_set():
                worker = random.choice(workers)
                try:
                    entry = await worker.entrance.claim(ticket, TERMS)
                except StoreUnavailable:
                    unsure = True
                    await asyncio.sleep(random.uniform(0.2, 0.4))
                    continue
                unsure = False
                if entry.status == "entered":
                    admitted.setdefault(ticket.id, (entry.expires - TERMS.session, entry.reason is Reason.LOCAL))
                    return
                await asyncio.sleep(min(entry.retry_after, random.uniform(0.5, 1.0)))

        ticking = [asyncio.create_task(worker.ticking(TERMS)) for worker in workers]
        visitors = [asyncio.create_task(visitor(ticket)) for ticket in tickets]
        await until(lambda: since(0) > 40)
        await proxy.turn("blackhole")
        await until(lambda: all(worker.entrance.local for worker in workers))
        local = time.time()
        await until(lambda: since(local, local=True) > 60)
        back = time.time()
        await proxy.turn("pass")
        proxy.reset_all()
        await until(lambda: not any(worker.entrance.local for worker in workers))
        await until(lambda: since(back + SETTLE + 1) > 20)
        over.set()
        await asyncio.gather(*visitors)
        for task in ticking:
            task.cancel()
        await asyncio.gather(*ticking, return_exceptions=True)
        times = sorted(at for at, _ in admitted.values())
        assert excess(times, rate=20, burst=8) < 1  # by this process's clock, a moment behind the store's
        begun = min(at for at, by_share in admitted.values() if by_share)
        assert begun >= min(worker.heard for worker in workers) + CLOSED, "nobody enters until it has been away for so long"
        assert not [at for at, by_share in admitted.values() if local < at < back and not by_share]
        state = await workers[0].entrance.tick(TERMS)
        assert state.inside == len(times), "the store knows of everybody, once"
        assert all(worker.changes[0] == (True, 0) and worker.changes[1][0] is False for worker in workers)
        assert sum(told for worker in workers for begins, told in worker.changes if not begins) > 50
        assert not notes(tmp_path / "gate0", room)
        for worker in workers:
            await worker.link.close()


async def test_who_was_let_in_without_it_pays_nothing_when_it_is_back(store: Embedded, room: str, tmp_path: Path) -> None:
    async with FaultProxy(str(store.socket)) as proxy:
        worker = Worker(proxy, tmp_path, Share(), room)
        await worker.link.start()
        (ticket,) = await numbered(worker, 1)
        await worker.entrance.tick(TERMS)
        await proxy.turn("refuse")
        ticking = asyncio.create_task(worker.ticking(TERMS))
        await until(lambda: worker.entrance.local)
        newcomer = await worker.entrance.join(TERMS)
        assert newcomer.ticket.number >= AWAY
        entry = await _enter(worker, ticket)
        assert entry.reason is Reason.LOCAL
        assert (await worker.entrance.claim(ticket, TERMS)).reason is Reason.PASS, "again: the same pass"
        await _enter(worker, newcomer.ticket)
        await proxy.turn("pass")
        await until(lambda: not worker.entrance.local)
        assert worker.changes == [(True, 0), (False, 2)]
        for one in (ticket, newcomer.ticket):
            again = await worker.entrance.claim(one, TERMS)
            assert (again.status, again.reason) == ("entered", Reason.PASS)
        state = await worker.entrance.tick(TERMS)
        assert (state.inside, state.admitted) == (2, 2)
        ticking.cancel()
        await worker.link.close()


async def _enter(worker: Worker, ticket: Ticket) -> Entry:
    deadline = time.monotonic() + 30
    while True:
        entry = await worker.entrance.claim(ticket, TERMS)
        if entry.status == "entered":
            return entry
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_a_worker_that_let_nobody_in_empties_the_bucket_too(store: Embedded, room: str, tmp_path: Path) -> None:
    """Others may have; it must not find a full bucket before they have told."""
    async with FaultProxy(str(store.socket)) as proxy:
        passed = 0.0
        worker = Worker(proxy, tmp_path, Share(), room, ticks=lambda: passed)
        await worker.link.start()
        assert (await worker.entrance.join(TERMS)).status == "entered"
        await proxy.turn("refuse")
        for passed in (0.1, CLOSED / 2, CLOSED - 0.1):  # noqa: B007 - the clock
            assert not await worker.once(TERMS)
        assert not worker.entrance.local
        await proxy.turn("pass")
        await until(lambda: worker.link.up)
        with pytest.raises(StoreUnavailable, match="told"):
            await worker.entrance.claim(Ticket(room, 1, 1, round(time.time() * 1000), "x"), TERMS)
        assert (await worker.entrance.join(TERMS)).reason is Reason.STORE
        assert await worker.once(TERMS)
        assert (await worker.entrance.tick(TERMS)).tokens < 0.5
        await worker.link.close()


async def test_without_a_policy_nobody_enters_and_nothing_is_emptied(store: Embedded, room: str, tmp_path: Path) -> None:
    async with FaultProxy(str(store.socket)) as proxy:
        worker = Worker(proxy, tmp_path, Share(), room, local=False)
        await worker.link.start()
        entry = await worker.entrance.join(TERMS)
        assert entry.status == "entered"
        await proxy.turn("refuse")
        lost = time.monotonic()
        while time.monotonic() - lost < CLOSED + 0.5:
            assert not await worker.once(TERMS)
            with pytest.raises(StoreUnavailable):
                await worker.entrance.claim(entry.ticket, TERMS)
            await asyncio.sleep(0.1)
        await proxy.turn("pass")
        await until(lambda: worker.link.up)
        assert (await worker.entrance.tick(TERMS)).tokens == TERMS.burst
        await worker.link.close()


async def test_a_worker_that_drains_leaves_its_share_to_its_successor(store: Embedded, room: str, tmp_path: Path) -> None:
    async with FaultProxy(str(store.socket)) as proxy:
        worker = Worker(proxy, tmp_path, Share(), room)
        await worker.link.start()
        (ticket,) = await numbered(worker, 1)
        await proxy.turn("refuse")
        ticking = asyncio.create_task(worker.ticking(TERMS))
        await until(lambda: worker.entrance.local)
        worker.entrance.leave()
        for _ in range(8):
            with pytest.raises(StoreUnavailable):
                await worker.entrance.claim(ticket, TERMS)
            await asyncio.sleep(0.1)
        ticking.cancel()
        await worker.link.close()


async def test_what_a_killed_worker_let_in_is_told_by_the_next(store: Embedded, room: str, tmp_path: Path) -> None:
    admission = Admission("orphan", 1, 1, time.time() + 60)
    code = f"""
import os, signal
from pathlib import Path
from gate.core.standin import Admission
from gate.store.local import Note
note = Note(Path({str(tmp_path)!r}), {room!r})
note.add(Admission("orphan", 1, 1, {admission.expires!r}))
os.write(note._file.fileno(), b'["half')
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=60)
    (path,) = notes(tmp_path, room)
    assert left_behind(path) == [admission]
    async with FaultProxy(str(store.socket)) as proxy:
        worker = Worker(proxy, tmp_path, Share(), room)
        await worker.link.start()
        with pytest.raises(StoreUnavailable):
            await worker.entrance.claim(Ticket(room, 1, 1, round(time.time() * 1000), "orphan"), TERMS)
        state = await worker.entrance.tick(TERMS)
        assert (state.admitted, state.inside) == (1, 1)
        assert state.tokens < 0.5
        assert notes(tmp_path, room) == []
        again = await worker.entrance.claim(Ticket(room, 1, 1, round(time.time() * 1000), "orphan"), TERMS)
        assert again.status == "entered"
        await worker.link.close()


def test_the_note_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    note = Note(tmp_path, "checkout")
    note.add(Admission("a", 1, 1, 0.0))
    (path,) = notes(tmp_path, "checkout")
    assert path.name.startswith(f"checkout.{os.getpid()}-")
    assert left_behind(path) is None
    assert notes(tmp_path, "check") == []
    note.close()
    assert notes(tmp_path, "checkout") == []


def test_seats_that_were_noted_are_taken_by_living_and_dead_alike(tmp_path: Path) -> None:
    crashed, other = Note(tmp_path, "checkout", 1), Note(tmp_path, "checkout", 0)
    for id_ in ("a", "b", "b"):
        crashed.add(Admission(id_, 1, 1, 0.0))
    crashed.leave()
    other.add(Admission("c", 1, 3, 0.0))
    assert taken_before(tmp_path, "checkout", 1) == Taken(mine=2, here=3)
    assert taken_before(tmp_path, "checkout", 0) == Taken(mine=1, here=3)
    (tmp_path / "checkout.7-0.jsonl").write_text('["d", 1, 4, 0.0]\n')  # as an older gate named it
    assert taken_before(tmp_path, "checkout", 1) == Taken(mine=3, here=4)
    assert taken_before(tmp_path, "check", 1) == Taken()
    other.close()


async def test_a_successor_counts_the_seats_of_its_predecessor(store: Embedded, room: str, tmp_path: Path) -> None:
    """It starts while the store is away, and has heard of nothing."""
    terms = Terms(20, 1, burst=8, active=2)
    before = Note(tmp_path, room)
    for id_ in ("a", "b"):
        before.add(Admission(id_, 1, 1, time.time() + 60))
    before.leave()
    async with FaultProxy(str(store.socket)) as proxy:
        await proxy.turn("refuse")
        worker = Worker(proxy, tmp_path, Share(), room)
        ticking = asyncio.create_task(worker.ticking(terms))
        await until(lambda: worker.entrance.local)
        entry = await worker.entrance.claim(Ticket(room, 1, 3, round(time.time() * 1000), "c"), terms)
        assert (entry.status, entry.reason) == ("waiting", Reason.ACTIVE)
        ticking.cancel()
        worker.entrance.leave()
        await worker.link.close()
