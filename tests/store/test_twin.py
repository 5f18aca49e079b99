"""The scripts in the store and their Python twin agree on every answer to the same operations."""

import math
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from gate.core.credentials import Ticket
from gate.core.draw import drawn_place
from gate.core.ledger import Ledger, Word
from gate.core.line import AWAY, Remembered, RoomState, Terms, tag_of
from gate.core.presence import CHUNK
from gate.core.room import MOVING
from gate.core.words import Reason, RoomMode
from gate.store.embedded import Embedded
from gate.store.line import arguments, keys_of, read_state
from gate.store.link import script
from gate.store.memory import Memory

SECOND = 1_000_000
OFFER = "ab" * 32


class Scripts:
    """The ledger's interface on the real scripts; ``raw`` is the store's clock at the last call."""

    def __init__(self, client: Any) -> None:
        self.client, self.room = client, f"t{secrets.token_hex(6)}"
        self.state, self.raw = RoomState(), 0

    def run(self, name: str, terms: Terms, memory: Remembered, *more: str | int) -> list[bytes]:
        keys = keys_of(self.room)
        told = self.client.eval(script(name).text, len(keys), *keys, *arguments(terms, memory, OFFER), *more)
        self.raw = int(told[0])
        self.state, rest = read_state(told)
        return rest

    def let_pass(self, micros: int) -> None:
        """Room time is the store's clock plus `skew`."""
        self.client.hincrby(keys_of(self.room)[0], "skew", micros)

    def kept(self) -> dict[str, Any]:
        """Everything the store keeps of the room, but for the bitmaps."""
        line = keys_of(self.room)[0]
        found: dict[str, Any] = {name.decode(): value.decode() for name, value in self.client.hgetall(line).items()}
        found = {name: value if name in TEXTS else float(value) for name, value in found.items()}
        found = {**dict.fromkeys(TEXTS, ""), **found}
        for key in keys_of(self.room):
            name = key.rpartition(":")[2]
            if name in ZSETS:
                found[name] = {id_.decode(): score for id_, score in self.client.zrange(key, 0, -1, withscores=True)}
        found["bits"] = []
        for key in self.client.keys(f"gate:{{{self.room}}}:seen:*"):
            first, value = int(key.rpartition(b":")[2]) * CHUNK, self.client.get(key)
            found["bits"] += [first + 8 * k + bit for k, byte in enumerate(value) for bit in range(8) if byte << bit & 128]
        found["bits"].sort()
        lanes = self.client.keys(f"gate:{{{self.room}}}:called:*")
        found["called"] = {
            (int(key.rpartition(b":")[2]), id_.decode()): at
            for key in lanes
            for id_, at in self.client.zrange(key, 0, -1, withscores=True)
        }
        return found

    def lose_everything(self) -> None:
        self.client.delete(*keys_of(self.room), *self.client.keys(f"gate:{{{self.room}}}:*"))


@pytest.fixture(scope="module")
def client(store: Embedded) -> Iterator[Any]:
    client = Redis(unix_socket_path=str(store.socket), protocol=2)
    yield client
    client.close()


TERMS = st.builds(
    Terms,
    amount=st.sampled_from([0, 1, 3, 7, 120, 1000]),
    period=st.sampled_from([1, 7, 60, 3600]),
    burst=st.sampled_from([1, 2, 5, 40]),
    active=st.sampled_from([None, None, 1, 2, 10]),
    session=st.sampled_from([1.0, 10.0, 600.0]),
    mode=st.sampled_from([*[RoomMode.AUTO] * 6, RoomMode.HOLD, RoomMode.CLOSED]),
    opens=st.sampled_from([0.0, 0.0, 0.0, 1.0, 1e11]),  # long ago, or far away
    closes=st.sampled_from([*[math.inf] * 6, 1.0]),
    draw=st.sampled_from([False, False, True]),
    maximum=st.sampled_from([None, None, 0, 4, 15]),
    grace=st.sampled_from([1.0, 60.0, 3600.0]),
    groups=st.sampled_from([(), (), (("a", 0.25),), (("a", 0.3), ("b", 0.45))]),
)
PICK = st.integers(0, 30)
TEXTS = ("calls", "marks", "reached", "groups", "members", "seed", "server")
ZSETS = ("ready", "due", "seats", "revoked", "late", "moved", "invited")
SERVERS = ("", "a - - 0", "b - - 0", "c h 0 0", "d h 0 0", "e i h 0", "f i h 0", f"g j 0 {2**53 - 1}", "h k 0 1", "h l 0 1")
STEPS = st.one_of(
    st.tuples(st.just("enter"), PICK),
    st.tuples(st.just("enter"), PICK),
    st.tuples(st.just("lease"), st.integers(1, 20)),
    st.tuples(st.just("lease"), st.sampled_from([40, 300, 70_000])),
    st.tuples(st.just("present"), st.lists(PICK, min_size=1, max_size=8)),
    st.tuples(st.just("present"), st.lists(PICK, min_size=1, max_size=8)),
    st.tuples(st.just("invite"), st.tuples(PICK, st.sampled_from("aabc"), st.integers(0, 3), st.integers(1, 2))),
    st.tuples(st.just("stock"), st.integers(0, 3)),
    st.tuples(st.just("claim"), PICK),
    st.tuples(st.just("claim"), PICK),
    st.tuples(st.just("claim"), PICK),
    st.tuples(st.just("away"), st.integers(0, 10**9)),
    st.tuples(st.just("renew"), PICK),
    st.tuples(st.just("release"), PICK),
    st.tuples(st.just("tick"), PICK),
    st.tuples(
        st.just("wait"), st.sampled_from([1, 250_000, 700_000, SECOND, 3 * SECOND, 11 * SECOND, 50 * SECOND, 700 * SECOND])
    ),
    st.tuples(st.just("wait"), st.integers(0, 4 * SECOND)),
    st.tuples(st.just("clock back"), st.sampled_from([1, SECOND, 3600 * SECOND])),
    st.tuples(st.just("terms"), TERMS),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("older gate"), PICK),
    st.tuples(st.just("fall behind"), st.integers(1, 5)),
    st.tuples(st.just("forget admissions"), st.integers(1, 5)),
    st.tuples(st.just("server"), st.sampled_from(SERVERS)),
    st.tuples(st.just("quiet"), st.sampled_from([0, 250_000, 3 * SECOND])),
)


@settings(
    max_examples=2500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(terms=TERMS, steps=st.lists(STEPS, min_size=1, max_size=60))
# the id of somebody at the door whose place is no whole number
@example(terms=Terms(0, 1, 1), steps=[("enter", 0), ("away", 1), ("claim", 1), ("renew", 1), ("enter", 29)])
# the same ticket by another link, of the same group and of another, before it was called
@example(
    terms=Terms(1, 3600, groups=(("a", 0.25), ("b", 0.25))),
    steps=[
        *[("invite", (0, group, 0, 1)) for group in "aaaaaaabbbb"],
        ("invite", (26, "a", 0, 2)),  # the fifth
        ("invite", (23, "b", 0, 2)),  # the twelfth, which is the fifth again
        ("claim", 4),
        ("terms", Terms(1, 1, groups=(("a", 0.25), ("b", 0.25)))),
        ("tick", 0),
        ("terms", Terms(7, 1, groups=(("a", 0.25), ("b", 0.25)))),
        ("tick", 0),
    ],
)
# members of before a loss, of a group that the room has and of one that it has no more
@example(
    terms=Terms(1, 60, groups=(("a", 0.3), ("b", 0.2))),
    steps=[
        ("lease", 40),
        *[("invite", (0, group, 0, 1)) for group in "aaaaaabb"],
        ("lose", False),
        ("terms", Terms(1, 60, groups=(("a", 0.3),))),
        *[("claim", who) for who in (5, 9, 4)],
        *[("invite", (0, "a", 0, 1)) for _ in range(8)],
        *[("claim", who) for who in (7, 12, 3, 8)],
    ],
)
def test_the_scripts_and_the_twin_agree(client: Any, terms: Terms, steps: list[tuple[str, Any]]) -> None:
    scripts, ledger, memory = Scripts(client), Ledger(OFFER), Remembered()
    tickets: list[Ticket] = []
    issued = 0

    def turn_of(ticket: Ticket) -> int:
        drawn, seed = scripts.state.drawn, scripts.state.seed
        return drawn_place(bytes.fromhex(seed), drawn, ticket.number) if 0 < ticket.number <= drawn else ticket.number

    def pick(index: int) -> Ticket:
        return tickets[index % len(tickets)] if tickets else Ticket(scripts.room, 1, 1, 0, "nobody")

    try:
        for what, value in steps:
            match what:
                case "terms":
                    terms = value
                    continue
                case "wait" | "clock back":
                    if ledger.born:
                        change = value if what == "wait" else -value
                        scripts.let_pass(change)
                        ledger.skew += change
                    continue
                case "lose":
                    scripts.lose_everything()
                    ledger = Ledger(OFFER)
                    if value:
                        memory = Remembered()
                    continue
                case "older gate":  # what it wrote says nothing of how many members come
                    client.hdel(keys_of(scripts.room)[0], "members")
                    for group in ledger.groups.known:
                        group.expected, group.came, group.calls = 0.0, 0.0, []
                    continue
                case "fall behind":  # an old copy came back: the caller remembers more than the store
                    if memory.epoch:
                        memory = replace(memory, last=memory.last + value)
                    continue
                case "forget admissions":  # so did one that had heard of every number
                    memory = replace(memory, admitted=scripts.state.admitted + value if memory.epoch else 0)
                    continue
                case "server":
                    memory = replace(memory, server=value)
                    continue
                case "quiet":  # the caller says how much time may have passed at most
                    memory = replace(memory, quiet=value)
                    continue
                case "away":
                    issued += 1
                    epoch = max(1, memory.epoch)
                    tickets.append(Ticket(scripts.room, epoch, AWAY + value, 0, f"a{issued}"))
                    memory = replace(memory, least=epoch + 1)
                    continue
                case "lease":
                    first, epoch, count = map(int, scripts.run("lease", terms, memory, value))
                    assert ledger.lease(scripts.raw, terms, memory, value) == (first, epoch)
                    assert ledger.last - first + 1 == count
                    for number in {first, first + count - 1} if count else ():
                        issued += 1
                        tickets.append(Ticket(scripts.room, epoch, number, 0, f"l{issued}"))
                case "present":
                    drawn = scripts.state.drawn
                    places = [turn_of(pick(index)) for index in value if pick(index).number < AWAY]
                    scripts.run("present", terms, memory, drawn, *places)
                    ledger.present(scripts.raw, terms, memory, places, drawn)
                case "invite":
                    index, group, uses, link = value
                    issued += 1
                    known = pick(index) if index > 20 else Ticket(scripts.room, 0, 0, 0, f"g{issued}")
                    id_, old = known.id, (known.epoch, known.number)
                    invitation = f"{group}{link}"
                    told = scripts.run("invite", terms, memory, id_, tag_of(group), invitation, uses, 2 * 10**9, *old)
                    status, number, epoch = told
                    place = ledger.invite(scripts.raw, terms, memory, id_, tag_of(group), invitation, uses, old)
                    assert place == ((int(number), int(epoch)) if status == b"invited" else status.decode())
                    if status == b"invited":
                        tickets.append(Ticket(scripts.room, int(epoch), int(number), 0, id_))
                case "stock":
                    scripts.run("stock", terms, memory, value)
                    ledger.stock(scripts.raw, terms, memory, value)
                case "enter":
                    issued += 1
                    again = tickets and value > 28
                    id_ = pick(value).id if again else f"e{issued}"
                    status, number, epoch, expires, due, ask, reason = scripts.run("enter", terms, memory, id_)
                    twin = ledger.enter(scripts.raw, terms, memory, id_)
                    assert twin == _word(status, int(number), int(epoch), expires, due, ask, reason)
                    if twin.status != "full":
                        tickets.append(Ticket(scripts.room, twin.epoch, twin.number, 0, id_))
                case "claim":
                    ticket = pick(value)
                    turn, drawn = turn_of(ticket), scripts.state.drawn
                    answer = scripts.run("claim", terms, memory, ticket.id, ticket.epoch, ticket.number, turn, drawn)
                    status, expires, due, ask, reason, number, epoch = answer
                    twin = ledger.claim(scripts.raw, terms, memory, ticket, turn, drawn)
                    assert twin == _word(status, int(number), int(epoch), expires, due, ask, reason)
                    if twin.number != ticket.number:
                        tickets.append(Ticket(scripts.room, twin.epoch, twin.number, 0, ticket.id))
                case "renew":
                    (expires,) = scripts.run("renew", terms, memory, pick(value).id)
                    assert ledger.renew(scripts.raw, terms, memory, pick(value).id) == int(expires)
                case "release":
                    (freed,) = scripts.run("release", terms, memory, pick(value).id)
                    assert ledger.release(scripts.raw, terms, memory, pick(value).id) == bool(int(freed))
                case "tick":
                    _, _, *revoked = scripts.run("tick", terms, memory, 0)
                    told = ledger.tick(scripts.raw, terms, memory)
                    assert told.revoked == {id_.decode() for id_ in revoked}
            told, twin_state = scripts.state, ledger.state()
            counted = (
                "epoch",
                "serving",
                "last",
                "waiting",
                "through",
                "inside",
                "ready",
                "admitted",
                "drawn",
                "left",
                "groups",
            )
            for field in (*counted, "birth", "tokens", "present", "seed"):
                assert getattr(told, field) == getattr(twin_state, field), field
            assert scripts.kept() == _kept(ledger)
            known = Memory()
            known.rooms["r"] = memory
            known.saw("r", told)
            memory = replace(known.of("r"), last=max(told.last, memory.last), quiet=-1, server=memory.server)
    finally:
        scripts.lose_everything()


def test_they_agree_at_a_long_door(client: Any) -> None:
    """All who came while the store was away stand there together."""
    scripts, ledger, terms, nothing = Scripts(client), Ledger(OFFER), Terms(10, 1, burst=5), Remembered()
    try:
        scripts.run("lease", terms, nothing, 1)
        ledger.lease(scripts.raw, terms, nothing, 1)
        for count in (1000, 20_000):
            crowd = {f"x{place}": place / 2**20 for place in range(1, count)}
            far = dict.fromkeys(crowd, ledger.t + 10**12)
            client.zadd(keys_of(scripts.room)[1], crowd)
            client.zadd(keys_of(scripts.room)[2], far)
            for id_, place in crowd.items():
                ledger._put(id_, place)
                ledger.due[id_] = far[id_]
            answer = scripts.run("claim", terms, nothing, "me", 1, 1, 1, 0)
            status, expires, due, ask, reason, number, epoch = answer
            twin = ledger.claim(scripts.raw, terms, nothing, Ticket(scripts.room, 1, 1, 0, "me"))
            assert twin == _word(status, int(number), int(epoch), expires, due, ask, reason)
            assert int(ask) == (20 if count == 1000 else 100) * SECOND
    finally:
        scripts.lose_everything()


def _word(status: bytes, number: int, epoch: int, expires: bytes, due: bytes, ask: bytes, reason: bytes) -> Word:
    word: Any = status.decode()
    return Word(word, number, epoch, int(expires), int(due), int(ask), Reason(reason.decode()))


def _kept(ledger: Ledger) -> dict[str, Any]:
    names = (
        "epoch",
        "last",
        "serving",
        "birth",
        "skew",
        "admitted",
        "lost",
        "lost_until",
        "longest",
        "through",
        "full",
        "base",
        "flow",
    )
    calls, presence, groups = ledger.calls, ledger.presence, ledger.groups
    return {
        **{name: getattr(ledger, name) for name in (*names, "drawn", "worked", "forfeit", "seed", "server")},
        **{name: getattr(calls, name) for name in ("expected", "came", "expected_seen", "came_seen")},
        **{name: getattr(presence, name) for name in ("blind", "settled", "seen")},
        "stock": 0 if ledger.left is None else ledger.left + 1,
        "calls": "".join(
            f"{c.at},{c.after},{c.upto},{c.count},{c.knocked},{c.heard},{c.known},{int(c.sure)};" for c in calls.open
        ),
        "marks": "".join(f"{at},{last};" for at, last in presence.marks),
        "reached": "".join(f"{at},{serving};" for at, serving in ledger.reached),
        "groups": "".join(f"{g.tag},{g.last},{g.serving},{g.credit:.17g};" for g in groups.known),
        "members": "".join(
            f"{g.tag},{g.expected:.17g},{g.came:.17g}"
            + "".join(f":{c.at},{c.upto},{c.count},{c.knocked},{c.heard}" for c in g.calls)
            + ";"
            for g in groups.known
        ),
        **{name: getattr(ledger.bucket, name) for name in ("level", "step", "cost", "burst", "stamp")},
        **{f"base:{epoch}": base for epoch, (base, _) in ledger.bases.items()},
        **{f"when:{epoch}": when for epoch, (_, when) in ledger.bases.items()},
        "ready": {id_: place for place, id_ in ledger._door},
        "due": ledger.due,
        "seats": ledger.seats,
        "revoked": ledger.revoked,
        "late": ledger.gone,
        "moved": {id_: epoch * MOVING + number for id_, (epoch, number) in ledger.moved.items()},
        "invited": groups.invited,
        "called": {(group.tag, id_): heard for group in groups.known for id_, heard in group.called.items()},
        "bits": presence.bits,
    }
