"""The priority groups of one room: who was invited, who was called, whose turn it is at the door.

Members are called beside the common line. At the door they stand behind it, each group in a lane of its own; for everyone
admitted from the common line, a group with somebody there is owed ``share / common`` admissions, and for each whole one its
first member goes to the front. So each gets its share of the rate while all wait, however many of those called come. What
nobody else uses the groups take in the order of their lanes, and owe it.
"""

from dataclasses import dataclass, field
from itertools import takewhile

from gate.core.calls import MANY, Call, fading, share_of_seen
from gate.core.deadlines import Deadlines
from gate.core.line import Terms, tag_of

LANE = 2**32  # turns per group
BEHIND = 2**43  # members stand from this place on, until it is their group's turn


@dataclass(slots=True)
class Group:
    """``last`` turns were given, ``serving`` of them called; ``credit``: admissions it is owed. ``called``: ticket ids, and the
    room time by which they must have heard of it. Of ``expected`` who were called earlier ``came`` came, those of long ago
    counting less; ``calls`` are of turns whose members may still come, the oldest first."""

    tag: int
    last: int = 0
    serving: int = 0
    credit: float = 0.0
    called: Deadlines = field(default_factory=Deadlines)
    invited: dict[str, int] = field(default_factory=dict)  # ticket id: tag * 2**32 + turn; not called yet, the first one first
    expected: float = 0.0
    came: float = 0.0
    calls: list[Call] = field(default_factory=list)

    def share(self, now: int) -> float:
        """Of the members called, how many come: counted as in the common line those who had been seen again."""
        return share_of_seen(self.came, self.expected, self.calls, now)

    def on_the_way(self, share: float) -> float:
        """Called members who have not knocked yet, and are expected to."""
        total = 0.0
        for call in self.calls:
            total += max(0.0, share * call.count - call.knocked)
        return total

    def knocked(self, turn: int) -> None:
        """One who was called came for the first time."""
        for call in self.calls:
            if call.upto - call.count < turn <= call.upto:
                call.knocked += 1
                return
        self.came += 1


class Groups:
    """Of one room."""

    def __init__(self) -> None:
        self.known: list[Group] = []  # in the order of their first members
        self.uses: dict[str, dict[str, tuple[int, int]]] = {}  # by invitation: ticket id: (number, epoch)

    @property
    def invited(self) -> dict[str, int]:
        """Of all groups: ticket id: tag * 2**32 + turn; not called yet."""
        return {id_: turn for group in self.known for id_, turn in group.invited.items()}

    def of(self, tag: int) -> Group | None:
        return next((group for group in self.known if group.tag == tag), None)

    @property
    def uncalled(self) -> int:
        return sum(group.last - group.serving for group in self.known) if self.known else 0

    @property
    def coming(self) -> int:
        """Members who were called, and may come any moment."""
        return sum(len(group.called) for group in self.known) if self.known else 0

    def add(self, tag: int) -> Group:
        self.known.append(Group(tag))
        return self.known[-1]

    def recall(self, tag: int, turn: int, terms: Terms) -> Group | None:
        """The group of one who has a turn. One that the store has forgotten is there again, and that turn counts as called:
        who is invited from now on comes behind it. None: the room has no such group any more."""
        group = self.of(tag)
        if group is None and any(tag_of(name) == tag for name, _ in terms.groups):
            group = self.add(tag)
        if group is not None and turn > group.last == group.serving:
            group.last = group.serving = turn
        return group

    def invite(self, tag: int, id_: str) -> int:
        """A new turn of a ticket, instead of one that it may have had."""
        self.drop(id_)
        group = self.of(tag) or self.add(tag)
        group.last += 1
        group.invited[id_] = tag * LANE + group.last
        return group.last

    def drop(self, id_: str) -> None:
        """Is not to be called any more."""
        for group in self.known:
            group.invited.pop(id_, None)

    def measure(self, now: int, since: int, terms: Terms) -> None:
        """Counts those who must have heard of it by now."""
        fade = fading(now, since, terms)
        for group in self.known:
            group.expected, group.came = group.expected * fade, group.came * fade
            for call in [call for call in reversed(group.calls) if call.heard < now]:
                group.calls.remove(call)
                group.expected, group.came = group.expected + call.count, group.came + call.knocked

    def call(self, group: Group, many: int, now: int, most: int, heard: int) -> None:
        """The next ``many`` of them. Most look so often that they have heard of it at ``most``, and all at ``heard``."""
        calls = group.calls
        if not calls or (now - calls[-1].at > 500_000 and len(calls) < MANY):
            calls.append(Call(now, group.serving, 0, sure=True))
        group.serving += many
        newest = calls[-1]
        newest.upto, newest.heard = group.serving, max(newest.heard, most)
        newest.count, newest.known = newest.count + many, newest.known + many
        upto = group.tag * LANE + group.serving
        for id_ in list(takewhile(lambda id_: group.invited[id_] <= upto, group.invited)):
            group.called[id_] = heard
            del group.invited[id_]

    def purge(self, now: int) -> None:
        for group in self.known:
            group.called.take_before(now)


def lane_of(group: Group, terms: Terms) -> tuple[int, float]:
    """Where its lane begins, in the order of the groups that the room has, and its share."""
    for index, (name, share) in enumerate(terms.groups, 1):
        if tag_of(name) == group.tag:
            return BEHIND + index * LANE, share
    return BEHIND + (1024 + group.tag) * LANE, common_share(terms)  # the room has it no more


def common_share(terms: Terms) -> float:
    """What is left of the rate for those who were not invited."""
    common = 1.0
    for _, share in terms.groups:
        common -= share
    return common
