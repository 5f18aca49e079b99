"""What is tried: a room's terms, who comes when, how patient they are, and what goes wrong."""

from dataclasses import dataclass, field, replace

from gate.core.line import Terms
from gate.core.settings import Room, WithoutStore
from gate.core.words import Order
from gate.simulation.arrivals import Curve

START = 1_790_000_000  # the store's Unix time at second 0


@dataclass(frozen=True, slots=True)
class Outage:
    """The store is away from second ``at`` on for ``seconds``, and comes back empty."""

    at: float
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Sale:
    """Shares are from 0 to 1, times in seconds from the first arrival.

    Of the visitors ``leave`` give up before their turn, after ``patience`` on average; ``no_js`` have a page that refreshes
    itself, ``programs`` are apps that come back when told, ``hidden`` wait in a tab they do not look at. ``ghosts`` more come
    once and never again; a share ``ghosts_seen`` of these close the page only when it has asked for its ticket once.
    Inside, a visitor stays for ``stay`` on average; a share of ``buy`` ends with an order, which gives the seat back; ``stock``
    of these and the sale is sold out.

    ``invited``: the room's groups that somebody is invited to, and the share of the visitors in each. All of a group come with
    the same invitation, which any number may use.

    ``exact``: each look of each visitor is followed. Otherwise those far from their turn are not: when they are called, the
    time until they look is drawn from what the pages do, which is the same to an onlooker and costs nothing.
    """

    terms: Terms
    curve: Curve
    ghosts: int = 0
    ghosts_seen: float = 0.0
    invited: tuple[tuple[str, float], ...] = ()
    leave: float = 0.0
    patience: float = 600.0
    no_js: float = 0.05
    programs: float = 0.0
    hidden: float = 0.0
    stay: float = 180.0
    buy: float = 0.5
    stock: int | None = None
    opens: float | None = None
    closes: float | None = None
    outage: Outage | None = None
    without_store: WithoutStore = field(default_factory=WithoutStore)
    workers: int = 2
    polls: int = 5000  # looks a second that the status document may have
    delay: tuple[float, float] = (0.005, 0.08)  # of the network, one way
    limit: float = 3 * 86400.0  # a ticket lives so long
    exact: bool = False
    seed: int = 1

    @property
    def grants(self) -> Terms:
        """The terms by the store's clock."""
        opens = 0.0 if self.opens is None else START + self.opens
        return replace(self.terms, opens=opens, closes=self.terms.closes if self.closes is None else START + self.closes)


def terms_of(room: Room) -> Terms:
    """As the config says; ``opens`` and ``closes`` are the sale's."""
    return Terms(
        amount=room.rate.amount,
        period=room.rate.get_expiry(),
        burst=room.burst,
        active=room.active,
        session=room.session,
        draw=room.order is Order.RANDOM,
        maximum=room.maximum,
        grace=room.grace,
        groups=tuple((name, group.share) for name, group in room.groups.items()),
    )
