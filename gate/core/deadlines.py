"""Ids and the moment at which each is over; to find those that are over costs nothing while there are none."""

import heapq


class Deadlines(dict[str, int]):
    """A dict whose values are moments. A moment that is changed leaves its old entry in the heap until that has passed."""

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[int, str]] = []

    def __setitem__(self, id_: str, at: int) -> None:
        super().__setitem__(id_, at)
        heapq.heappush(self._heap, (at, id_))

    def is_over(self, moment: int) -> bool:
        """May :meth:`take_before` find one?"""
        return bool(self._heap) and self._heap[0][0] < moment

    def take_before(self, moment: int, most: int | None = None) -> list[str]:
        """Removes and returns those that are over before ``moment``, the oldest first; ``most``: no more than so many."""
        taken: list[str] = []
        heap = self._heap
        if not heap or heap[0][0] >= moment:
            return taken
        while heap and heap[0][0] < moment and len(taken) != most:
            at, id_ = heapq.heappop(heap)
            if self.get(id_) == at:
                del self[id_]
                taken.append(id_)
        return taken
