"""Numbers that a worker has leased from the store in advance."""

import math

USED_UP = 0.01  # seconds; when another block is wanted in less, it has twice the size: a hundred leases a second at most
DROPPED = 0.1  # seconds after which the rest of a block is thrown away: a number is given when it is fresh or not at all
LARGEST = 1024
AHEAD_FROM = 32  # blocks of so many have the next one leased ahead; of small ones too many numbers would be thrown away
_PARTS = 4  # when the first of so many parts of a block is used up, it is time for that


class Block:
    """Small when visitors come now and then, large in a storm. ``now``: seconds, of any clock that goes on.

    ``ask``: from this number on it is to be asked whether the next block is wanted already (:meth:`wants_next`).
    """

    def __init__(self) -> None:
        self._next = self._end = self._epoch = 0
        self._size = 1
        self._leased = self._begun = self._emptied = float("-inf")
        self._following: tuple[int, int, int, float] | None = None
        self.ask = math.inf

    def take(self, now: float) -> tuple[int, int] | None:
        """``(number, epoch)``, or None: time for another block."""
        if self._next >= self._end or not 0 <= now - self._leased <= DROPPED:
            if self._following is None:
                return None
            self._begin(*self._following, now)
            return self.take(now)
        number = self._next
        self._next += 1
        if self._next == self._end:
            self._emptied = now
        return number, self._epoch

    def wants_next(self, now: float) -> bool:
        """Is another block to be leased before this one is used up, so that nobody has to wait for it? Where visitors come
        fast enough to use both up before they are too old. Asked once a block."""
        self.ask = math.inf
        return now - self._begun < DROPPED / 2 / _PARTS

    def next_size(self, now: float) -> int:
        """Twice the last size when more is wanted at once, half when that was not used up, or nobody has come since."""
        took = now - self._begun
        if self._has_more(now):
            took *= _PARTS
        elif self._next < self._end or now - self._emptied > DROPPED:
            self._size = max(1, self._size // 2)
            return self._size
        if took < USED_UP:
            self._size = min(LARGEST, self._size * 2)
        return self._size

    def refill(self, first: int, epoch: int, count: int, now: float) -> None:
        """Another block: for now, or for when that in hand is used up or too old."""
        if self._has_more(now):
            self._following = first, epoch, count, now
        else:
            self._begin(first, epoch, count, now, now)

    def _has_more(self, now: float) -> bool:
        return self._next < self._end and 0 <= now - self._leased <= DROPPED

    def _begin(self, first: int, epoch: int, count: int, leased: float, now: float) -> None:
        self._next, self._end, self._epoch, self._leased, self._begun = first, first + count, epoch, leased, now
        self._following = None
        self.ask = first + count // _PARTS if count >= AHEAD_FROM else math.inf
