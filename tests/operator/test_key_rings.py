"""Two gates on one store with different key rings: both say so, until one has the other's ring."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gate import keys
from gate.backend import Backend
from gate.core.settings import Settings
from gate.store.gates import FORGOTTEN, FRESH, KEY, Ring, meet
from gate.store.link import Link
from tests.stores import StoreServer


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def link(store: StoreServer) -> AsyncIterator[Link]:
    link = Link(store.url, deadline=2.0)
    await link.start()
    await link.command("DEL", KEY)
    yield link
    await link.close()


def backend(directory: Path, link: Link, clock: Clock) -> Backend:
    keys.ensure_keyring(directory, clock=clock)
    settings = Settings.model_validate({"state": str(directory)})
    return Backend(settings, directory / "gate.yaml", link, clock=clock)


async def problems(gate: Backend) -> list[str]:
    return [text for text in (await gate.status()).problems if "key ring" in text]


async def test_a_gate_with_another_key_ring_is_a_problem_of_both(tmp_path: Path, link: Link) -> None:
    clock = Clock()
    gates = [backend(tmp_path / name, link, clock) for name in ("a", "b")]

    async def later(seconds: float = 6.0) -> list[list[str]]:
        clock.now += seconds
        for gate in gates:
            await gate.keep()
        return [await problems(gate) for gate in gates]

    await later()
    (of_a, of_b) = await later()
    assert len(of_a) == len(of_b) == 1
    assert str(tmp_path / "b") in of_a[0]
    assert "Copy keys.json" in of_b[0]

    (tmp_path / "b" / keys.FILE).write_bytes((tmp_path / "a" / keys.FILE).read_bytes())
    await later()
    assert await later() == [[], []]

    keys.rotate(tmp_path / "a", clock=clock)  # listed, and not signing yet: the others have a minute
    assert await later() == [[], []]
    assert await later(keys.LEAD) != [[], []]
    (tmp_path / "b" / keys.FILE).write_bytes((tmp_path / "a" / keys.FILE).read_bytes())
    await later()
    assert await later() == [[], []]


async def test_a_gate_that_misses_an_old_key_is_a_problem_of_both(tmp_path: Path, link: Link) -> None:
    """Both sign with the same key; but whoever came when an older one signed has a place at one of them only."""
    clock = Clock()
    gates = [backend(tmp_path / name, link, clock) for name in ("a", "b")]
    keys.rotate(tmp_path / "a", clock=clock)
    listed = keys.load(tmp_path / "a").listed
    (tmp_path / "b" / keys.FILE).write_bytes(keys.KeyFile(listed[1:]).to_json())

    async def problems_after(seconds: float) -> list[list[str]]:
        clock.now += seconds
        for _ in range(2):
            clock.now += 6.0
            for gate in gates:
                await gate.keep()
        return [await problems(gate) for gate in gates]

    found = await problems_after(keys.LEAD)
    assert [len(each) for each in found] == [1, 1]
    assert await problems_after(keys.RETIRE) == [[], []]  # nobody comes with it any more


async def test_what_a_gate_tells_of_its_keys_is_of_no_use_to_anybody(tmp_path: Path, link: Link) -> None:
    ring = keys.ensure_keyring(tmp_path)
    await meet(link, "me", Ring.of("gate", ring, ring.keys), 100.0)
    told = str(await link.command("HGETALL", KEY))
    assert ring.newest.id not in told
    assert ring.newest.secret.hex() not in told
    assert ring.newest.derive("pass").hex()[:16] not in told


async def test_a_gate_that_has_gone_is_forgotten(link: Link) -> None:
    gone, mine = Ring("gone", frozenset("x"), frozenset("x")), Ring("here", frozenset("y"), frozenset("y"))
    await meet(link, "gone", gone, 100.0)
    assert await meet(link, "here", mine, 101.0) == [gone]
    assert await meet(link, "here", mine, 101.0 + FRESH) == []
    await link.command("HSET", KEY, "junk", "{")
    await meet(link, "here", mine, 101.0 + FORGOTTEN)
    told = await link.command("HGETALL", KEY)
    assert [json.loads(text)["name"] for text in told.values()] == ["here"]
