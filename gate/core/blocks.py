"""Numbers that a worker has leased from the store in advance."""

USED_UP = 0.01  # seconds; when another block is wanted in less, it has twice the size: a hundred leases a second at most
DROPPED = 0.1  # seconds after which the rest of a block is thrown away: a number is given when it is fresh or not at all
LARGEST = 1024


class Block:
    """Small when visitors come now and then, large in a storm. ``now``: seconds, of any clock that goes on."""

    def __init__(self) -> None:
        self._next = self._end = self._epoch = 0
        self._size = 1
        self._leased = self._emptied = float("-inf")

    def take(self, now: float) -> tuple[int, int] | None:
        """``(number, epoch)``, or None: time for another block."""
        if self._next >= self._end or not 0 <= now - self._leased <= DROPPED:
            return None
        number = self._next
        self._next += 1
        if self._next == self._end:
            self._emptied = now
        return number, self._epoch

    def next_size(self, now: float) -> int:
        """Twice the last size when more is wanted at once, half when that was not used up, or nobody has come since."""
        if self._next < self._end or now - self._emptied > DROPPED:
            self._size = max(1, self._size // 2)
        elif now - self._leased < USED_UP:
            self._size = min(LARGEST, self._size * 2)
        return self._size

    def refill(self, first: int, epoch: int, count: int, now: float) -> None:
        self._next, self._end, self._epoch, self._leased = first, first + count, epoch, now
