"""Changes of the file are noticed, whichever way it is replaced."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from gate import config
from gate.config import watch

DEADLINE = 30.0
NEVER = 3_600_000  # ms


async def noticed(pending: asyncio.Future, change: Callable[[int], None]) -> None:
    """Change again and again until it is noticed: nothing tells when a watch has begun."""
    async with asyncio.timeout(DEADLINE):
        for number in range(1_000):
            change(number)
            done, _ = await asyncio.wait({pending}, timeout=0.3)
            if done:
                return


@pytest.fixture
def only_events(monkeypatch):
    """The look every few seconds would hide a watch that hears nothing."""
    monkeypatch.setattr(watch, "LOOK_ANYWAY", NEVER)


def in_place(path):
    return lambda number: path.write_text(f"workers: {number + 2}\n")


def by_rename(path):
    def change(number):
        fresh = path.with_name(".gate.yaml.swp")
        fresh.write_text(f"workers: {number + 2}\n")
        fresh.replace(path)

    return change


def as_kubernetes_does(path):
    """A ConfigMap volume: gate.yaml -> ..data/gate.yaml, ..data -> a dated directory, and only ..data is ever replaced."""
    folder = path.parent

    def release(number):
        dated = folder / f"..2026_11_22_{number}"
        dated.mkdir()
        (dated / "gate.yaml").write_text(f"workers: {number + 2}\n")
        link = folder / "..data_tmp"
        link.symlink_to(dated.name)
        link.replace(folder / "..data")

    release(-1)
    path.unlink()
    path.symlink_to("..data/gate.yaml")
    return release


@pytest.mark.parametrize("way", [in_place, by_rename, as_kubernetes_does])
async def test_a_change_is_noticed(tmp_path, only_events, way):
    path = tmp_path / "gate.yaml"
    path.write_text("workers: 1\n")
    change = way(path)
    async with aclosing(config.changes(path)) as stream:
        await noticed(asyncio.ensure_future(anext(stream)), change)


async def test_the_same_content_again_and_a_file_that_is_gone_are_no_changes(tmp_path, only_events):
    path = tmp_path / "gate.yaml"
    path.write_text("workers: 1\n")
    async with aclosing(config.changes(path)) as stream:
        await noticed(asyncio.ensure_future(anext(stream)), in_place(path))
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.wait({pending}, timeout=2.0)  # the last change of the loop above may come a second time
        if pending.done():
            pending = asyncio.ensure_future(anext(stream))
        content = path.read_text()
        path.write_text(content)
        (tmp_path / "other.yaml").write_text("x")
        path.unlink()
        done, _ = await asyncio.wait({pending}, timeout=1.0)
        assert not done
        path.write_text(content)
        done, _ = await asyncio.wait({pending}, timeout=1.0)
        assert not done
        await noticed(pending, lambda number: path.write_text(f"workers: {number + 100}\n"))


async def test_a_link_into_another_directory_is_looked_at_anyway(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LOOK_ANYWAY", 100)
    real = tmp_path / "real" / "gate.yaml"
    real.parent.mkdir()
    real.write_text("workers: 1\n")
    path = tmp_path / "here" / "gate.yaml"
    path.parent.mkdir()
    path.symlink_to(real)
    async with aclosing(config.changes(path)) as stream:
        await noticed(asyncio.ensure_future(anext(stream)), in_place(real))


async def test_an_edit_since_the_file_was_read_is_noticed_at_once(tmp_path, only_events):
    path = tmp_path / "gate.yaml"
    path.write_text("workers: 1\n")
    read = config.digest(path)
    path.write_text("workers: 2\n")
    async with aclosing(config.changes(path, read)) as stream, asyncio.timeout(DEADLINE):
        await anext(stream)
    async with aclosing(config.changes(path, config.digest(path))) as stream:
        pending = asyncio.ensure_future(anext(stream))
        done, _ = await asyncio.wait({pending}, timeout=0.5)
        assert not done
        await noticed(pending, in_place(path))
