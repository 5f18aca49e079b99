"""Operators' tokens."""

import multiprocessing
from pathlib import Path

import pytest

from gate import operators, private
from gate.operators import BadOperators, Operators, Role, local_token


def started(state: Path) -> str | None:
    """What a gate does when it starts, and the token that it shows."""
    found = Operators(state)
    found.start()
    return found.first()


def test_the_first_start_shows_one_token_and_keeps_only_its_hash(tmp_path: Path) -> None:
    state = tmp_path / "s"
    token = started(state)
    assert token is not None
    assert started(state) is None
    kept = b"".join(path.read_bytes() for path in state.iterdir())
    assert token.encode() not in kept
    assert token.removeprefix(operators.PREFIX).encode() not in kept
    found = Operators(state).who(token)
    assert found is not None
    assert (found.name, found.role) == ("admin", Role.OPERATOR)
    for path in state.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


def _start(state: str, barrier: object, found: object) -> None:
    barrier.wait()
    found.put((started(Path(state)), local_token(Path(state))))


def test_of_gates_that_start_at_once_one_shows_the_token(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(6), context.Queue()
    processes = [context.Process(target=_start, args=(str(tmp_path / "s"), barrier, found)) for _ in range(6)]
    for process in processes:
        process.start()
    answers = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(20)
    shown = [token for token, _ in answers if token is not None]
    assert len(shown) == 1
    assert Operators(tmp_path / "s").who(shown[0]) is not None
    assert len({local for _, local in answers}) == 1


def test_the_local_credential_is_an_operator(tmp_path: Path) -> None:
    state = tmp_path / "s"
    assert local_token(state) is None
    started(state)
    token = local_token(state)
    assert token is not None
    found = Operators(state).who(token)
    assert found is not None
    assert found.name == operators.LOCAL
    assert found.may(Role.OPERATOR)
    assert [o.name for o in Operators(state).list()] == ["admin"]
    (state / operators.LOCAL_FILE).chmod(0o644)
    with pytest.raises(private.Unsafe):
        local_token(state)


def test_add_and_remove_count_at_once(tmp_path: Path) -> None:
    state = tmp_path / "s"
    started(state)
    serving = Operators(state)
    token = Operators(state).add("ann", Role.VIEWER)
    ann = serving.who(token)
    assert ann is not None
    assert ann.may(Role.VIEWER)
    assert not ann.may(Role.OPERATOR)
    assert serving.still(ann) == ann
    Operators(state).remove("ann")
    assert serving.who(token) is None
    assert serving.still(ann) is None
    again = Operators(state).add("ann", Role.OPERATOR)
    assert serving.still(ann) is None  # the same name is not the same token
    assert serving.who(again) is not None


@pytest.mark.parametrize("name", ["", "local", "a b", "../x", "x" * 65, "ann\n", "-x", "<b>"])
def test_refuses_odd_names(tmp_path: Path, name: str) -> None:
    started(tmp_path / "s")
    with pytest.raises(BadOperators):
        Operators(tmp_path / "s").add(name, Role.VIEWER)


def test_names_are_taken_once(tmp_path: Path) -> None:
    started(tmp_path / "s")
    with pytest.raises(BadOperators, match="exists"):
        Operators(tmp_path / "s").add("admin", Role.VIEWER)
    with pytest.raises(BadOperators, match="listed: admin"):
        Operators(tmp_path / "s").remove("nobody")


@pytest.mark.parametrize("token", ["", "gate_op_", "x" * 10_000, "\udcff", "ä", "gate_op_" + "A" * 43])
def test_nobody_has_a_token_like_this(tmp_path: Path, token: str) -> None:
    started(tmp_path / "s")
    assert Operators(tmp_path / "s").who(token) is None


def test_an_empty_local_credential_lets_nobody_in(tmp_path: Path) -> None:
    started(tmp_path / "s")
    private.write(tmp_path / "s" / operators.LOCAL_FILE, b"\n")
    assert local_token(tmp_path / "s") is None
    assert Operators(tmp_path / "s").who("") is None


def test_every_wrong_token_is_compared_with_every_listed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time an answer takes must not tell how far down the list a token is."""
    state = tmp_path / "s"
    token = started(state)
    assert token is not None
    for name in ("a", "b", "c"):
        Operators(state).add(name, Role.VIEWER)
    listed = Operators(state)
    compared = 0
    real = operators.hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        nonlocal compared
        compared += 1
        return real(one, other)

    monkeypatch.setattr(operators.hmac, "compare_digest", counting)
    for given in (token, "wrong"):
        compared = 0
        listed.who(given)
        assert compared == 5


def test_a_broken_list_is_said_so(tmp_path: Path) -> None:
    started(tmp_path / "s")
    private.write(tmp_path / "s" / operators.FILE, b"{}")
    with pytest.raises(BadOperators, match=operators.FILE):
        Operators(tmp_path / "s").who("x")
