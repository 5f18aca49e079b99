"""The link under fire: a store that is silent, cut off, restarted, read-only, full or flushed."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gate.core.decide import STORE_RETRY
from gate.core.line import AWAY, Terms
from gate.core.words import Reason
from gate.eager import Pending, started
from gate.store.client import BadStoreUrl, open_client
from gate.store.embedded import Embedded
from gate.store.line import HICCUP, Line, keys_of
from gate.store.link import PROBE_EVERY, Link, StoreUnavailable, script
from tests.faults import FaultProxy
from tests.store.conftest import make_line
from tests.store.test_line import stand, until_up

TERMS = Terms(6, 60, burst=3)
DEADLINE = 2.0  # of the gate it is a tenth: here a busy machine must not miss it by itself
SLACK = 5.0  # what a busy machine may add


@pytest_asyncio.fixture
async def proxy(store: Embedded) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(str(store.socket)) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def shaky(proxy: FaultProxy) -> AsyncIterator[Link]:
    link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=DEADLINE)
    await link.start()
    await until_up(link)
    yield link
    await link.close()


async def timed(link: Link) -> tuple[float, Exception | None]:
    began = time.monotonic()
    try:
        await link.command("PING")
    except StoreUnavailable as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


async def test_a_silent_store_costs_one_deadline_then_nothing_and_comes_back_by_itself(shaky: Link, proxy: FaultProxy) -> None:
    await proxy.turn("blackhole")
    results = await asyncio.gather(*(timed(shaky) for _ in range(40)))
    assert all(isinstance(error, StoreUnavailable) for _, error in results)
    assert max(seconds for seconds, _ in results) < DEADLINE + SLACK
    assert not shaky.up
    assert f"{DEADLINE:g} s" in shaky.trouble
    for _ in range(200):
        with pytest.raises(StoreUnavailable):  # as far as it goes without waiting
            started(shaky.command("PING"))
    await proxy.turn("pass")
    await until_up(shaky)
    assert await shaky.command("PING")


async def test_probes_are_few_while_the_store_is_away(shaky: Link, proxy: FaultProxy) -> None:
    await proxy.turn("reset")
    proxy.reset_all()
    await timed(shaky)
    before, began = proxy.accepted, time.monotonic()
    await asyncio.sleep(1.5)
    assert proxy.accepted - before <= 2 + (time.monotonic() - began) / (0.8 * PROBE_EVERY)


async def test_a_refusing_store(shaky: Link, proxy: FaultProxy) -> None:
    await proxy.turn("refuse")
    assert isinstance((await timed(shaky))[1], StoreUnavailable)
    await proxy.turn("pass")
    await until_up(shaky)
    assert await shaky.command("ECHO", "x") == b"x"


async def test_a_store_that_is_away_at_the_start_is_no_error(proxy: FaultProxy) -> None:
    await proxy.turn("refuse")
    link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=DEADLINE)
    await link.start()
    assert not link.up
    await proxy.turn("pass")
    await until_up(link)
    await link.close()


async def test_a_reply_cut_in_the_middle_never_makes_two_passes(
    shaky: Link, proxy: FaultProxy, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_line(shaky, room)
    terms = Terms(60, 60, burst=50)
    ticket = (await stand(line, TERMS, 1))[0]
    await shaky.command("HINCRBY", keys_of(room)[0], "skew", 60_000_000)
    entered = 0
    for cut_after in (0, 1, 5, 20, 40):
        proxy.cut_after, proxy.cut_replies = cut_after, 1
        with monkeypatch.context() as patch:
            patch.setattr("gate.store.line.HICCUP", 20.0)
            entry = await line.claim(ticket, terms)  # put once more as soon as the store answers again
        entered += entry.status == "entered"
        proxy.cut_after, proxy.cut_replies = cut_after, 1000
        with pytest.raises(StoreUnavailable):
            await line.claim(ticket, terms)
        proxy.cut_replies = 0
        await until_up(shaky)
        entry = await line.claim(ticket, terms)
        entered += entry.status == "entered"
    assert entered == 10
    assert (await line.tick(terms)).admitted == 1


async def test_a_join_whose_answer_was_lost_still_has_its_seat(shaky: Link, proxy: FaultProxy, room: str) -> None:
    line = make_line(shaky, room)
    await line.tick(TERMS)
    proxy.cut_after, proxy.cut_replies = 3, 1000
    entry = await line.join(TERMS)
    assert entry.status == "waiting"
    assert entry.ticket.number >= AWAY
    proxy.cut_replies = 0
    await until_up(shaky)
    again = await line.claim(entry.ticket, TERMS)
    assert again.status == "entered"
    assert (await line.tick(TERMS)).admitted == 1


async def test_one_late_answer_costs_a_newcomer_nothing(
    shaky: Link, proxy: FaultProxy, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.store.line.HICCUP", 20.0)
    line = make_line(shaky, room)
    await line.tick(TERMS)
    for number in range(1, 6):  # three tokens, then two who wait
        proxy.cut_after, proxy.cut_replies = 0, 1
        entry = await line.join(TERMS)
        assert (entry.status, entry.reason) == (("entered", Reason.ADMITTED) if number <= 3 else ("waiting", Reason.RATE))
        again = await line.claim(entry.ticket, TERMS, patience=0)
        assert again.status == entry.status
    state = await line.tick(TERMS)
    assert (state.admitted, state.waiting) == (3, 2)


async def test_a_store_that_is_gone_is_not_waited_for(shaky: Link, proxy: FaultProxy, room: str) -> None:
    line = make_line(shaky, room)
    await line.tick(TERMS)
    await proxy.turn("blackhole")
    await line.join(TERMS)
    await asyncio.sleep(HICCUP)
    entries = [started(line.join(TERMS)) for _ in range(50)]
    assert not any(isinstance(entry, Pending) for entry in entries)
    assert {(entry.reason, entry.retry_after) for entry in entries} == {(Reason.STORE, STORE_RETRY)}


async def test_answers_are_never_mixed_up_when_callers_leave(store: Embedded) -> None:
    """CVE-2023-28858: a command cancelled in flight left its answer to the next user of the connection."""
    async with FaultProxy(str(store.socket)) as proxy:
        link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=10.0, connections=4)
        await link.start()
        proxy.latency = 0.003
        for burst in range(15):
            calls = [asyncio.create_task(link.command("ECHO", f"{burst}.{k}")) for k in range(20)]
            await asyncio.sleep(0.004)
            for call in calls[::2]:
                call.cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for k, answer in enumerate(answers):
                assert isinstance(answer, asyncio.CancelledError) or answer == f"{burst}.{k}".encode()
            assert any(isinstance(answer, bytes) for answer in answers)
        assert link.up
        await link.close()


async def test_more_calls_than_connections_stand_in_line(store: Embedded) -> None:
    link = Link(store.url, deadline=10.0, connections=3)
    await link.start()
    answers = await asyncio.gather(*(link.command("ECHO", str(k)) for k in range(500)))
    assert answers == [str(k).encode() for k in range(500)]
    await link.close()


async def test_calls_that_get_no_connection_in_time_say_nothing_about_the_store(store: Embedded) -> None:
    """Its answers take a while, there is one connection, and more ask than it has time for."""
    async with FaultProxy(str(store.socket)) as proxy:
        link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=DEADLINE, connections=1)
        await link.start()
        proxy.latency = DEADLINE / 4
        answers = await asyncio.gather(*(link.command("ECHO", str(k)) for k in range(40)), return_exceptions=True)
        assert answers[0] == b"0"
        late = [answer for answer in answers if isinstance(answer, StoreUnavailable)]
        assert len(late) >= 30
        assert {str(answer) for answer in late} == {f"no connection was free within {DEADLINE:g} s"}
        assert link.up
        proxy.latency = 0
        assert await link.command("ECHO", "x") == b"x"
        await link.close()


async def test_a_store_that_falls_silent_is_lost_though_its_callers_stood_in_line(store: Embedded) -> None:
    async with FaultProxy(str(store.socket)) as proxy:
        link = Link(f"redis://127.0.0.1:{proxy.port}", deadline=DEADLINE, connections=2)
        await link.start()
        await proxy.turn("blackhole")
        began = time.monotonic()
        answers = await asyncio.gather(*(link.command("ECHO", str(k)) for k in range(10)), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert time.monotonic() - began < 2 * DEADLINE + SLACK
        assert not link.up
        await link.close()


async def test_flushed_scripts_are_loaded_again(link: Link, line: Line) -> None:
    await line.tick(TERMS)
    await link.command("SCRIPT", "FLUSH")
    assert (await line.join(TERMS)).status == "entered"
    assert link.up


async def test_a_paused_server_and_its_return(own_store: Embedded) -> None:
    link = Link(own_store.url, deadline=DEADLINE)
    await link.start()
    assert own_store.process is not None
    own_store.process.send_signal(signal.SIGSTOP)
    try:
        seconds, error = await timed(link)
        assert isinstance(error, StoreUnavailable)
        assert seconds < DEADLINE + SLACK
    finally:
        own_store.process.send_signal(signal.SIGCONT)
    await until_up(link)
    await link.close()


async def test_a_restarted_server_is_found_again(own_store: Embedded) -> None:
    link = Link(own_store.url, deadline=10.0)
    await link.start()
    line = make_line(link, "checkout")
    for _ in range(3):
        await line.join(TERMS)
    own_store.stop()
    own_store.start()
    await timed(link)
    await until_up(link)
    state = await line.tick(TERMS)
    assert (state.epoch, state.last) == (2, 3)
    assert state.tokens < 1
    await link.close()


async def test_a_replica_that_takes_no_writes_is_down(own_store: Embedded) -> None:
    link = Link(own_store.url, deadline=10.0)
    await link.start()
    line = make_line(link, "checkout")
    await link.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="read only"):
        await line.tick(TERMS)
    assert not link.up
    raw = open_client(own_store.url, None, timeout=1, connections=1)
    await raw.execute_command("REPLICAOF", "NO", "ONE")
    await raw.aclose()
    await until_up(link)
    await line.tick(TERMS)
    await link.close()


async def test_a_full_store_is_down(own_store: Embedded) -> None:
    link = Link(own_store.url, deadline=10.0)
    await link.start()
    line = make_line(link, "checkout")
    await link.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        await line.tick(TERMS)
    assert not link.up
    raw = open_client(own_store.url, None, timeout=1, connections=1)
    await raw.execute_command("CONFIG", "SET", "maxmemory", "0")
    await raw.aclose()
    await until_up(link)
    await link.close()


async def test_a_wrong_word_from_the_store_is_no_reason_to_give_it_up(link: Link, room: str) -> None:
    await link.command("SET", f"gate:{{{room}}}:line", "not a hash")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await make_line(link, room).tick(TERMS)
    assert link.up


async def test_the_password_is_used(own_store: Embedded) -> None:
    raw = open_client(own_store.url, None, timeout=1, connections=1)
    await raw.execute_command("CONFIG", "SET", "requirepass", "s3cret")
    await raw.aclose()
    for password, up in (("s3cret", True), ("wrong", False), (None, False)):
        link = Link(own_store.url, password, deadline=10.0)
        await link.start()
        assert link.up is up, link.trouble
        await link.close()


async def test_a_connection_says_nothing_of_itself(own_store: Embedded) -> None:
    """It would be a round trip for each."""
    link = Link(own_store.url, deadline=10.0)
    await link.start()
    await link.command("PING")
    assert not [name for name in await link.command("INFO", "commandstats") if "setinfo" in name]
    await link.close()


async def test_before_the_start_and_after_the_end_it_says_so(store: Embedded) -> None:
    link = Link(store.url)
    with pytest.raises(StoreUnavailable, match="not started"):
        await link.command("PING")
    await link.start()
    await link.close()
    with pytest.raises(StoreUnavailable, match="not started"):
        await link.command("PING")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://x", "is not a store"),
        ("redis://host:port/0", "is not a store"),
        ("redis+sentinel://a:1,b:2", "names no master"),
        ("redis+sentinel://a:1/mymaster/x", "names no master"),
        ("redis+sentinel://a:99999999/m", "is not host:port"),
        ("redis+cluster://a:1/3", "a cluster has one"),
    ],
)
def test_a_url_that_is_none_says_what_to_write(url: str, word: str) -> None:
    with pytest.raises(BadStoreUrl, match=word):
        open_client(url, None, timeout=1, connections=1)


def test_scripts_say_what_they_take_and_return() -> None:
    for name in ("lease", "enter", "claim", "renew", "release", "tick", "probe", "orders"):
        head = script(name).text.split("\n\n")[0]
        for word in ("KEYS", "ARGV", "Returns"):
            assert f"-- {word}" in head, f"{name}.lua says nothing of {word}"
