"""Requests at the origin, from just before one goes out (one with a body: its end) until the head of its answer is there.

On the way it is told to the overload, the health and the route's breaker what they need to know.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gate.core.breaker import Breaker, State
from gate.core.decision import Decision
from gate.core.health import Health
from gate.core.overload import Overload
from gate.core.settings import Route, Settings
from gate.core.settle import Result, Trouble, is_failed, settle
from gate.core.words import RouteClass


@dataclass(slots=True)
class Shop:
    """The origin as this worker knows it."""

    health: Health
    overload: Overload
    breakers: dict[str, Breaker]


class Meter(Protocol):
    def answered(self, seconds: float) -> None: ...
    def origin(self, result: Result) -> None: ...


class Engine(Protocol):
    """What an attempt needs of :class:`gate.engine.Engine`."""

    settings: Settings
    shop: Shop

    @property
    def meter(self) -> Meter: ...
    @property
    def ticks(self) -> Callable[[], float]: ...
    @property
    def now(self) -> Callable[[], float]: ...
    def compose(self) -> None: ...


class Lane:
    """What requests on one route have in common. Nothing needs to be remembered of a single one where the route has no
    breaker: there the lane is itself the attempt of all that are under way.
    """

    __slots__ = ("_engine", "_health", "_load", "_overload", "_route", "breaker")

    def __init__(self, engine: Engine, route: Route | None) -> None:
        self._engine = engine
        self._route = route
        self._health = engine.shop.health
        self._overload = engine.shop.overload
        self.breaker = engine.shop.breakers.get(route.name) if route is not None else None
        vital = route is None or (self.breaker is None and route.class_ is not RouteClass.SHEDDABLE)
        self._load = self._overload.vital if vital else self._overload.others

    def start(self, tick: float) -> "Lane | Trial":
        """An attempt begins at ``tick`` (seconds of the engine's monotonic clock).

        Of what is returned exactly one of ``answered``, ``failed`` and ``left`` is to be called, once.
        """
        attempt = self if self.breaker is None else Trial(self, self._engine, self.breaker, tick)
        load, overload = self._load, self._overload
        load.current += 1
        if overload.vital.current + overload.others.current > overload.in_flight:
            overload.note(tick)
        return attempt

    def answered(self, decision: Decision, status: int, since: float) -> Decision:
        """The head is there: the decision to deliver it, or what to answer instead. ``since``: when the attempt began."""
        engine = self._engine
        ticks = engine.ticks
        tick = ticks()
        seconds = tick - since
        load = self._load
        load.current -= 1
        load.samples.append((tick, seconds))
        engine.meter.answered(seconds)
        if self._health.troubles:
            self._health.record_answer()
        if status < 500:
            return decision
        return settle(decision, Result(status, None, seconds))

    def failed(self, decision: Decision, trouble: Trouble, since: float) -> Decision:
        """No head came: what to answer instead."""
        engine = self._engine
        tick = engine.ticks()
        result = Result(trouble=trouble, seconds=tick - since)
        self._load.current -= 1
        if trouble is not Trouble.BUSY:  # our own full pool says nothing about the origin
            self._load.samples.append((tick, result.seconds))
            engine.meter.origin(result)
            self._blame(trouble)
        return settle(decision, result)

    def left(self) -> None:
        """The visitor left first, which counts for nothing."""
        self._load.current -= 1

    def _blame(self, trouble: Trouble) -> None:
        """A time-out of a route that has its own breaker or fallback is that route's trouble, not the shop's."""
        engine, route = self._engine, self._route
        on_its_own = route is not None and (self.breaker is not None or route.fallback is not None)
        if trouble is Trouble.TIMEOUT and on_its_own:
            return
        checks = engine.settings.origin.health
        if checks is not None and checks.passive:
            was_up = self._health.up
            self._health.record_trouble(engine.now())
            if self._health.up != was_up:
                engine.compose()


class Trial:
    """One attempt on a lane with a breaker."""

    __slots__ = ("_breaker", "_engine", "_generation", "_lane")

    def __init__(self, lane: Lane, engine: Engine, breaker: Breaker, tick: float) -> None:
        self._lane = lane
        self._engine = engine
        self._breaker = breaker
        self._generation = breaker.acquire(tick)
        if breaker.state is State.HALF_OPEN:
            engine.compose()  # the one probe is taken: nobody else goes through

    def answered(self, decision: Decision, status: int, since: float) -> Decision:
        settled = self._lane.answered(decision, status, since)
        self._report(ok=not is_failed(status))
        return settled

    def failed(self, decision: Decision, trouble: Trouble, since: float) -> Decision:
        settled = self._lane.failed(decision, trouble, since)
        if trouble is Trouble.BUSY:
            self._abandon()
        else:
            self._report(ok=False)
        return settled

    def left(self) -> None:
        self._lane.left()
        self._abandon()

    def _report(self, *, ok: bool) -> None:
        if self._generation is None:
            return
        before = self._breaker.generation
        self._breaker.report(self._generation, ok, self._engine.ticks())
        if self._breaker.generation != before:
            self._engine.compose()

    def _abandon(self) -> None:
        if self._generation is not None:
            self._breaker.abandon(self._generation)
            self._engine.compose()
