"""A checker that finds nothing must be one that can find something: each law against a history that breaks it."""

from dataclasses import replace

import pytest

from gate.demo.journal import Entry
from tests.laws import records
from tests.laws.checker import History, breaches, kendall
from tests.laws.records import Fault, Saw

BEGIN = 1000.0


def saw(client: int, at: float, status: int, *, ahead: int | None = None, kind: str = "present", again: float = 0.2) -> Saw:
    return Saw(client, kind, at - 0.01, at, status, "line" if status == 503 else "", ahead, again, f"t{client}")


def entry(client: int, at: float, visitor: str | None = None) -> Entry:
    return Entry(at, "GET", "/checkout", visitor or f"t{client}", "checkout", ())


def lawful(count: int = 300) -> History:
    """Two a second, in order; everybody came at once and asked every second."""
    saws, entries = [], []
    for client in range(count):
        came, enters = BEGIN + client * 0.2, BEGIN + client * 0.5
        saws += [saw(client, at, 503, ahead=int((enters - at) * 2)) for at in _steps(came, enters)]
        saws.append(saw(client, max(came, enters) + 0.01, 200))
        entries.append(entry(client, max(came, enters)))
    return History(saws, [], entries, rate=2.0, burst=4)


def _steps(came: float, enters: float) -> list[float]:
    return [came + second for second in range(int(enters - came) + 1) if came + second < enters]


def laws(history: History) -> set[str]:
    return {breach.partition(":")[0] for breach in breaches(history)}


def test_a_lawful_history_has_no_breach():
    assert breaches(lawful()) == []
    assert kendall(lawful()) == 1.0


def test_too_many_in_a_window():
    history = lawful()
    crowded = [replace(one, at=BEGIN + 50 if 50 < one.at - BEGIN < 54 else one.at) for one in history.entries]
    assert "rate" in laws(replace(history, entries=crowded))


def test_too_many_inside():
    assert laws(replace(lawful(), active=19, session=10.0)) == {"seats"}
    assert laws(replace(lawful(), active=20, session=10.0)) == set()


@pytest.mark.parametrize("visitor", ["t5", "nobody"])
def test_a_second_entry_and_a_stranger(visitor):
    history = lawful()
    if visitor == "t5":  # its client came in a second time, with another ticket
        again = replace(saw(5, BEGIN + 20, 200), ticket="t5b")
        history = replace(history, saws=[*history.saws, again], entries=[*history.entries, entry(5, BEGIN + 160, "t5b")])
    else:
        history = replace(history, entries=[*history.entries, entry(0, BEGIN + 160, visitor)])
    assert "one" in laws(history)


def test_two_clients_with_one_ticket():
    history = lawful()
    assert "one" in laws(replace(history, saws=[replace(one, ticket="t7") if one.client == 8 else one for one in history.saws]))


def test_a_place_that_grows():
    history = lawful()
    grown = [replace(one, ahead=200) if one.client == 250 and one.ahead == 10 else one for one in history.saws]
    assert grown != history.saws
    assert laws(replace(history, saws=grown)) == {"place"}


def test_an_overtaken_visitor():
    history = lawful()
    times = {100: 200, 200: 100}  # these two change places
    swapped = [replace(one, at=BEGIN + times.get(index, index) * 0.5) for index, one in enumerate(history.entries)]
    assert laws(replace(history, entries=swapped)) >= {"order"}


def test_an_idle_gate_and_its_excuse():
    history = lawful()
    late = replace(
        history,
        entries=[replace(one, at=one.at + (12 if one.at > BEGIN + 60 else 0)) for one in history.entries],
        saws=[replace(one, got=one.got + 12) if one.status == 200 and one.got > BEGIN + 60 else one for one in history.saws],
    )
    assert laws(late) == {"work"}
    assert laws(replace(late, faults=[Fault("store emptied", BEGIN + 59, BEGIN + 60, 14.0)])) == set()


def test_somebody_who_never_gets_in():
    history = lawful()
    assert laws(replace(history, entries=history.entries[:-1])) == {"lost"}


def test_records_are_read_as_they_were_written(tmp_path):
    history = replace(lawful(5), faults=[Fault("reload", 1.0, 2.0, 3.0)])
    records.write(tmp_path / "r", [*history.saws, *history.faults])
    assert records.read(tmp_path / "r") == (history.saws, history.faults)
