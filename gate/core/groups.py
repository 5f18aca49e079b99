"""The priority groups of one room: who was invited, whose turn it is, and where who was called stands.

A group's members are called beside the common line: for every visitor expected of that, a group is owed ``share / common``
calls, so that each gets its share of the rate while all wait, and what one does not use goes to the others.
"""

from dataclasses import dataclass

from gate.core.line import Terms, tag_of

INVITED = 2**32  # turns per group, in the store's order of those invited


@dataclass(slots=True)
class Group:
    """``last`` turns were given, ``serving`` of them called; ``credit``: calls it is owed."""

    tag: int
    last: int = 0
    serving: int = 0
    credit: float = 0.0


class Groups:
    """Of one room. ``front``: the last place given to a member."""

    def __init__(self) -> None:
        self.known: list[Group] = []  # in the order of their first members
        self.front = 0.0
        self.invited: dict[str, int] = {}  # ticket id: tag * 2**32 + turn; not called yet
        self.placed: dict[str, float] = {}  # called, and not come yet
        self.uses: dict[str, dict[str, tuple[int, int]]] = {}  # by invitation: ticket id: (number, epoch)

    def of(self, tag: int) -> Group | None:
        return next((group for group in self.known if group.tag == tag), None)

    @property
    def uncalled(self) -> int:
        return sum(group.last - group.serving for group in self.known)

    def invite(self, tag: int, id_: str) -> int:
        """The turn of a new member."""
        group = self.of(tag)
        if group is None:
            group = Group(tag)
            self.known.append(group)
        group.last += 1
        self.invited[id_] = tag * INVITED + group.last
        return group.last

    def queue(self, terms: Terms) -> list[tuple[Group, float]]:
        """The groups with their shares; first those that the room has, in their order."""
        found = [(self.of(tag_of(name)), share) for name, share in terms.groups]
        queue = [(group, share) for group, share in found if group is not None]
        queue += [(group, common_share(terms)) for group in self.known if all(group is not each for each, _ in queue)]
        return queue

    def call(self, group: Group, many: int, serving: int) -> None:
        """The next ``many`` get their places: right behind the numbers called so far, in their order."""
        first = group.tag * INVITED + group.serving + 1
        called = sorted((turn, id_) for id_, turn in self.invited.items() if first <= turn < first + many)
        for _, id_ in called:
            self.front = max(self.front + 1 / 4096, serving + 0.25 + 1 / 8192)  # never a whole number
            self.placed[id_] = self.front
            del self.invited[id_]
        group.serving += many
        group.credit -= many


def common_share(terms: Terms) -> float:
    """What is left of the rate for those who were not invited."""
    common = 1.0
    for _, share in terms.groups:
        common -= share
    return common
