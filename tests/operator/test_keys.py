"""The key ring on disk."""

import json
import multiprocessing
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from gate import keys, private
from gate.core.credentials import InvalidCredential, Ticket
from gate.core.line import is_over
from gate.keys import BadKeyFile, Keys, ensure_keyring, load, rotate

BEGIN = 1_800_000_000.0
TICKET = Ticket("checkout", 1, 7, 1_800_000_000_000, "AAAAAAAAAAAAAAAAAAAAAA")


def ring_ids(state: Path) -> list[str]:
    return [entry.key.id for entry in load(state).listed]


def test_the_first_start_makes_one_key_for_its_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ring = ensure_keyring(state)
    assert (state / keys.FILE).stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    assert ensure_keyring(state).newest == ring.newest
    assert [path.name for path in state.iterdir()] == [keys.FILE]  # nothing temporary is left


def _first_start(state: str, barrier: object, found: object) -> None:
    barrier.wait()
    found.put(ensure_keyring(Path(state)).newest.secret)


def test_gates_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        barrier, found = context.Barrier(6), context.Queue()
        state = tmp_path / str(attempt)
        processes = [context.Process(target=_first_start, args=(str(state), barrier, found)) for _ in range(6)]
        for process in processes:
            process.start()
        secrets = {found.get(timeout=60) for _ in processes}
        for process in processes:
            process.join(20)
        assert len(secrets) == 1
        assert len(ring_ids(state)) == 1


def _rotate(state: str, barrier: object) -> None:
    barrier.wait()
    rotate(Path(state))


def test_no_rotation_is_lost_when_several_happen_at_once(tmp_path: Path) -> None:
    ensure_keyring(tmp_path / "s")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(5)
    processes = [context.Process(target=_rotate, args=(str(tmp_path / "s"), barrier)) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert len(ring_ids(tmp_path / "s")) == 6


def test_a_rotation_costs_nobody_the_place_in_line(tmp_path: Path) -> None:
    """At no moment does a worker meet a ticket that it cannot read, however late in its second it looks at the file."""
    now = [1000.0]
    state = tmp_path / "s"
    ensure_keyring(state, clock=lambda: now[0])
    early, late = Keys(state, lambda: now[0]), Keys(state, lambda: now[0])
    old = early.ring.sign_ticket(TICKET)
    new_key = rotate(state, clock=lambda: now[0]).key

    assert early.reload()
    assert early.ring.newest != new_key  # lists it, does not sign with it
    assert late.ring.read_ticket(early.ring.sign_ticket(TICKET), "checkout") == TICKET

    now[0] += keys.LEAD + 0.01
    assert late.reload()
    assert late.ring.newest == new_key
    assert early.ring.read_ticket(late.ring.sign_ticket(TICKET), "checkout") == TICKET
    assert early.reload()
    assert early.ring.newest == new_key  # without another change of the file
    assert early.ring.read_ticket(old, "checkout") == TICKET
    assert not early.reload()


DAY = 86400.0


def test_however_often_keys_are_rotated_no_ticket_dies_before_its_time(tmp_path: Path) -> None:
    """Somebody comes every day, for an opening that is as far away as a ticket can wait; keys are rotated every day. A worker
    that has lived all the time, one that has just started and another gate with a copy of the file agree on every ticket."""
    now = [BEGIN]
    state, other = tmp_path / "s", tmp_path / "other"
    ensure_keyring(state, clock=lambda: now[0])
    worker = Keys(state, lambda: now[0])
    given: list[tuple[float, str]] = []
    for _ in range(80):
        now[0] += 10.0
        given.append((now[0], worker.ring.sign_ticket(TICKET._replace(joined=int(now[0] * 1000)))))
        rotate(state, clock=lambda: now[0])
        other.mkdir(mode=0o700, exist_ok=True)
        private.write(other / keys.FILE, (state / keys.FILE).read_bytes())
        for seconds in (0.0, 1.0, keys.LEAD, DAY - 11.0 - keys.LEAD):
            now[0] += seconds
            worker.reload()
            rings = [worker.ring, Keys(state, lambda: now[0]).ring, Keys(other, lambda: now[0]).ring]
            for joined, token in given:
                if not is_over(joined, now[0] + DAY, now[0]):
                    assert all(ring.read_ticket(token, "checkout").joined == int(joined * 1000) for ring in rings)
    assert len(load(state).listed) < 40  # and those that are over have gone


def test_a_key_is_gone_when_nothing_that_it_signed_can_count(tmp_path: Path) -> None:
    """By itself, without another rotation, on the same second everywhere."""
    now = [BEGIN]
    state = tmp_path / "s"
    ring = ensure_keyring(state, clock=lambda: now[0])
    rotate(state, clock=lambda: now[0])
    now[0] += keys.LEAD
    worker = Keys(state, lambda: now[0])
    last = ring.sign_ticket(TICKET)  # in the moment in which it ceases to sign
    now[0] += keys.RETIRE - 0.1
    assert not worker.reload()
    assert worker.ring.read_ticket(last, "checkout") == TICKET
    now[0] += 0.1
    assert worker.reload()
    for known in (worker.ring, Keys(state, lambda: now[0]).ring):
        assert len(known.keys) == 1
        with pytest.raises(InvalidCredential):
            known.read_ticket(last, "checkout")
    rotate(state, clock=lambda: now[0])
    assert ring.newest.id not in ring_ids(state)


def test_a_clock_that_was_ahead_costs_no_key(tmp_path: Path) -> None:
    now = [BEGIN]
    state = tmp_path / "s"
    ring = ensure_keyring(state, clock=lambda: now[0])
    rotate(state, clock=lambda: now[0])
    worker = Keys(state, lambda: now[0])
    now[0] += 2 * keys.RETIRE
    assert worker.reload()
    now[0] = BEGIN + 1
    assert worker.reload()
    assert worker.ring.newest == ring.newest


def test_a_full_ring_refuses_a_new_key_and_drops_none(tmp_path: Path) -> None:
    now = [BEGIN]
    state = tmp_path / "s"
    first = ensure_keyring(state, clock=lambda: now[0]).newest.id
    for _ in range(keys.MOST - 1):  # somebody rotates in a hurry
        now[0] += 60
        rotate(state, clock=lambda: now[0])
    before = (state / keys.FILE).read_bytes()
    with pytest.raises(keys.FullRing, match=r"holds 64 keys.* The first one can in 33 days 22 h.*--compromised"):
        rotate(state, clock=lambda: now[0])
    assert (state / keys.FILE).read_bytes() == before
    assert ring_ids(state)[0] == first
    now[0] += keys.RETIRE - 60 * (keys.MOST - 3)
    rotate(state, clock=lambda: now[0])
    assert first not in ring_ids(state)
    assert len(ring_ids(state)) == keys.MOST
    rotate(state, compromised=True, clock=lambda: now[0])
    assert len(ring_ids(state)) == 1


def test_a_compromised_key_is_gone_at_once(tmp_path: Path) -> None:
    state = tmp_path / "s"
    forged = ensure_keyring(state).sign_ticket(TICKET)
    worker = Keys(state)
    new = rotate(state, compromised=True)
    assert ring_ids(state) == [new.key.id]
    assert worker.reload()
    assert worker.ring.newest == new.key
    with pytest.raises(InvalidCredential):
        worker.ring.read_ticket(forged, "checkout")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_refuses_a_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    ensure_keyring(tmp_path / "s")
    (tmp_path / "s" / keys.FILE).chmod(mode)
    with pytest.raises(private.Unsafe, match="chmod 600"):
        ensure_keyring(tmp_path / "s")


def test_refuses_a_directory_where_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(0o777)
    with pytest.raises(private.Unsafe, match="chmod go-w"):
        ensure_keyring(tmp_path / "s")


def entry(secret: bytes, id_: str = "a") -> dict[str, object]:
    return {"id": id_, "secret": urlsafe_b64encode(secret).decode(), "made": 0, "signs_from": 0}


GOOD = bytes(range(32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"keys": []}',
        b'{"keys": [{"id": "a"}]}',
        b'{"keys": [{"id": "a", "secret": 7, "made": 0, "signs_from": 0}]}',
        json.dumps({"keys": [entry(b"short")]}).encode(),
        json.dumps({"keys": [entry(b"a" * 32)]}).encode(),
        json.dumps({"keys": [entry(b"changemechangemechangemechangeme")]}).encode(),
        json.dumps({"keys": [entry(GOOD), entry(GOOD)]}).encode(),
    ],
)
def test_refuses_what_is_no_ring_or_a_weak_one(tmp_path: Path, content: bytes) -> None:
    private.write(tmp_path / keys.FILE, content)
    with pytest.raises(BadKeyFile) as raised:
        ensure_keyring(tmp_path)
    assert str(tmp_path / keys.FILE) in str(raised.value)


def test_a_worker_keeps_the_last_good_ring(tmp_path: Path) -> None:
    ensure_keyring(tmp_path / "s")
    worker = Keys(tmp_path / "s")
    ring = worker.ring
    private.write(tmp_path / "s" / keys.FILE, b"{}")
    assert not worker.reload()
    assert worker.ring is ring
    assert worker.problem is not None
    (tmp_path / "s" / keys.FILE).unlink()
    assert not worker.reload()
    assert worker.ring is ring
    ensure_keyring(tmp_path / "s")
    assert worker.reload()
    assert worker.problem is None


def test_the_secret_is_not_in_the_representation_of_what_fails(tmp_path: Path) -> None:
    secret = urlsafe_b64encode(b"changemechangemechangemechangeme").decode()
    private.write(tmp_path / keys.FILE, json.dumps({"keys": [entry(b"changemechangemechangemechangeme")]}).encode())
    with pytest.raises(BadKeyFile) as raised:
        load(tmp_path)
    assert secret not in str(raised.value)
    assert "changeme" not in str(raised.value)


def test_an_interrupted_write_leaves_the_old_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "s"
    ring = ensure_keyring(state)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        rotate(state)
    monkeypatch.undo()
    assert ensure_keyring(state).newest == ring.newest
    assert not [path for path in state.iterdir() if path.name not in (keys.FILE, keys.FILE + ".lock")]
