"""A bounded memory of pure results: two generations of a dict, so that both finding and forgetting are O(1)."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers at least the ``size`` results used last, and never more than twice as many.

    Callers on the hot path look into ``young`` themselves and call :meth:`find` only when that fails.
    """

    __slots__ = ("_old", "size", "young")

    def __init__(self, size: int) -> None:
        self.size = size
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def find(self, key: K) -> V | None:
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        young = self.young
        if len(young) >= self.size:
            # the dicts change places, so that a reference to `young` taken by a caller is never stale for long
            self._old = dict(young)
            young.clear()
        young[key] = value

    def clear(self) -> None:
        self.young.clear()
        self._old = {}

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())
