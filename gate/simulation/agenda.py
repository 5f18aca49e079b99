"""What is to happen, in order: a heap of the next second, and a plain list for each second after it.

A million visitors have a million next steps, most of them far away. A heap of all of them costs a logarithm of comparisons for
each; here a step is only put in order when its second has come.
"""

import heapq
import math
from collections.abc import Callable

Event = Callable[[float, int], None]
Entry = tuple[float, int, Event, int]  # the second, a count that keeps equal seconds in the order they were put, what, and who


class Agenda:
    """``soon``: the heap that the next event is in, empty only when nothing is to happen at all."""

    def __init__(self) -> None:
        self.soon: list[Entry] = []
        self._later: dict[int, list[Entry]] = {}
        self._seconds: list[int] = []  # a heap of the keys of `_later`
        self._upto = 0  # events before this second are in the heap
        self._count = 0

    def put(self, second: float, event: Event, who: int) -> None:
        self._count += 1
        if second < self._upto:
            heapq.heappush(self.soon, (second, self._count, event, who))
            return
        entry, key = (second, self._count, event, who), int(second)
        if key in self._later:
            self._later[key].append(entry)
            return
        self._later[key] = [entry]
        heapq.heappush(self._seconds, key)
        if not self.soon:
            self._go_on()

    def next_at(self) -> float:
        """Infinite: nothing is to happen."""
        return self.soon[0][0] if self.soon else math.inf

    def take(self) -> Entry:
        """Raises :class:`IndexError` when nothing is to happen."""
        entry = heapq.heappop(self.soon)
        if not self.soon and self._seconds:
            self._go_on()
        return entry

    def _go_on(self) -> None:
        second = heapq.heappop(self._seconds)
        self._upto = second + 1
        self.soon = self._later.pop(second)
        heapq.heapify(self.soon)
