"""Who of those not called yet is present: one bit a place, "has been seen again since its ticket was given".

A request that never comes back with its ticket cannot be told from a visitor at first. Once a number is older than
:data:`SETTLE`, whoever is behind it has looked again if it looks at all, so from then on only a set bit counts: those without
one are passed by, a million of them at once, and are called by that. One that does come after all has its place.
"""

from bisect import bisect_right

from gate.core.bucket import SECOND

SETTLE = 45 * SECOND  # a visitor who came back at all has been seen again within this long
CHUNK = 32768  # numbers per bitmap in the store


class Presence:
    """Of one room. ``settled``: the highest number given that long ago; numbers up to ``blind`` were given before the store
    lost its bits, so nothing is known of them; ``seen``: set bits above both ``blind`` and what is called, to ``settled``."""

    def __init__(self) -> None:
        self.settled = self.blind = self.seen = 0
        self.marks: list[tuple[int, int]] = []  # (room time, the highest number given by then), oldest first
        self._bits: dict[int, list[int]] = {}  # by chunk, in order

    @property
    def bits(self) -> list[int]:
        """In order."""
        return [place for chunk in sorted(self._bits) for place in self._bits[chunk]]

    def nth(self, after: int, upto: int, want: float) -> tuple[int, int]:
        """The place of the ``want``-th bit above ``after`` and up to ``upto``, and ``want``; or ``upto``, and how many there
        are."""
        found = 0
        for chunk in range(after // CHUNK, upto // CHUNK + 1) if upto > after else ():
            bits = self._bits.get(chunk)
            if not bits:
                continue
            first = bisect_right(bits, after) if bits[0] <= after else 0
            end = bisect_right(bits, upto) if bits[-1] > upto else len(bits)
            if found + end - first >= want:
                return bits[first + int(want) - found - 1], int(want)
            found += end - first
        return upto, found

    def settle(self, now: int, serving: int) -> None:
        while self.marks and self.marks[0][0] + SETTLE <= now:
            upto = self.marks.pop(0)[1]
            begin = max(self.settled, serving, self.blind)
            if upto > begin:
                self.seen += self.nth(begin, upto, float("inf"))[1]
            self.settled = max(self.settled, upto)

    def mark(self, now: int, last: int) -> None:
        newest = self.marks[-1] if self.marks else None
        given = newest[1] if newest else self.settled
        if last > given and (newest is None or now - newest[0] >= SETTLE / 16):
            self.marks.append((now, last))

    def fresh(self, serving: int, last: int) -> int:
        """Uncalled numbers of which nobody knows yet whether they are present."""
        return max(0, self.blind - serving) + last - max(self.settled, self.blind, serving)

    def note(self, place: int) -> None:
        """Seen again; ``place`` is above what is called."""
        bits = self._bits.setdefault(place // CHUNK, [])
        at = bisect_right(bits, place)
        if at and bits[at - 1] == place:
            return
        bits.insert(at, place)
        if self.blind < place <= self.settled:
            self.seen += 1

    def lose_sight(self, last: int) -> None:
        """What was numbered so far is not known to be present or not."""
        self.blind, self.seen = last, 0

    def draw(self, now: int, last: int) -> None:
        """From now on all is counted by drawn places, and everybody has to be seen anew."""
        self.forget(0, last // CHUNK)
        self.marks = [(now, last)]
        self.settled = self.blind = self.seen = 0

    def forget(self, first: int, last: int) -> None:
        """Whole chunks."""
        for chunk in [chunk for chunk in self._bits if first <= chunk <= last]:
            del self._bits[chunk]
