"""Coroutines that rarely wait, run without a task of their own for as long as they do not."""

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Pending(Awaitable[T], Generic[T]):
    """A coroutine that has come to its first wait. It goes on when this is awaited: once, at once, and in a task."""

    __slots__ = ("_waits_for", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._work = work
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    told = yield waits_for
                except BaseException as error:
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(told)
            except StopIteration as end:
                result: T = end.value
                return result


def started(work: Coroutine[Any, Any, T]) -> T | Pending[T]:
    """The result of ``work`` if it has one without waiting, else the rest of it.

    For coroutines that do not ask for the current task before their first wait (a time-out around a block does): there is
    none here. Python 3.12's eager tasks do the same and cost a task each.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    return Pending(work, waits_for)
