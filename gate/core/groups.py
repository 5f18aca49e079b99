"""The priority groups of one room: who was invited, who was called, whose turn it is at the door.

Members are called beside the common line. At the door they stand behind it, each group in a lane of its own; for everyone
admitted from the common line, a group with somebody there is owed ``share / common`` admissions, and for each whole one its
first member goes to the front. So each gets its share of the rate while all wait, however many of those called come. What
nobody else uses the groups take in the order of their lanes, and owe it.
"""

from dataclasses import dataclass, field
from itertools import takewhile

from gate.core.deadlines import Deadlines
from gate.core.line import Terms, tag_of

LANE = 2**32  # turns per group
BEHIND = 2**43  # members stand from this place on, until it is their group's turn


@dataclass(slots=True)
class Group:
    """``last`` turns were given, ``serving`` of them called; ``credit``: admissions it is owed. ``called``: ticket ids, and the
    room time by which they must have heard of it."""

    tag: int
    last: int = 0
    serving: int = 0
    credit: float = 0.0
    called: Deadlines = field(default_factory=Deadlines)
    invited: dict[str, int] = field(default_factory=dict)  # ticket id: tag * 2**32 + turn; not called yet, the first one first


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

    def invite(self, tag: int, id_: str) -> int:
        """A new turn of a ticket, instead of one that it may have had."""
        self.drop(id_)
        group = self.of(tag)
        if group is None:
            group = Group(tag)
            self.known.append(group)
        group.last += 1
        group.invited[id_] = tag * LANE + group.last
        return group.last

    def drop(self, id_: str) -> None:
        """Is not to be called any more."""
        for group in self.known:
            group.invited.pop(id_, None)

    def call(self, group: Group, many: int, heard: int) -> None:
        """The next ``many`` of them, who must have heard of it at ``heard``."""
        group.serving += many
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
