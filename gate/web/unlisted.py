"""Who asks about requests and is not in ``edge.ask``: most likely an edge that somebody forgot to write there.

To visitors a refused question looks like a shop that refuses everybody, and the edge's own page says nothing of why. So the log
and the status name it.
"""

from collections.abc import Callable

from gate.core.facts import Refusal
from gate.core.visit import Visit
from gate.web.authorize import named_request

LATELY = 60.0  # seconds: between two words to the log about the same edge, and as long the status names it
MOST = 8  # who is remembered: a question is cheap, and a log is no place for more
STRANGER = ""


class Unlisted:
    """``tell`` is called with the address of an edge at its first question, and once a minute while it goes on."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self._tell = tell
        self._told: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def asked(self, visit: Visit, now: float) -> None:
        """``visit`` is the refused question. ``now`` in seconds."""
        peer = visit.hops[-1] if visit.hops else visit.address
        if peer is None or (visit.edge and not _names_a_request(visit)):  # that is a visitor's, passed on by a trusted edge
            return
        # Anybody else may be a visitor who tries it: all of them are told as one, and the status does not name them.
        who = str(peer) if visit.edge or not peer.is_global else STRANGER
        self._told = {name: when for name, when in self._told.items() if now - when < LATELY}
        self._seen = {name: when for name, when in self._seen.items() if now - when < LATELY}
        if who in self._seen or len(self._seen) < MOST:
            self._seen[who] = now
            if who not in self._told:
                self._told[who] = now
                self._tell(str(peer))

    def edges(self, now: float) -> list[str]:
        """Their addresses, of those that asked in the last minute and are trusted or in a private network."""
        return sorted(name for name, when in self._seen.items() if now - when < LATELY and name != STRANGER)


def _names_a_request(visit: Visit) -> bool:
    """Only to be seen where the peer is trusted: from all others such headers are taken away (:mod:`gate.core.identity`)."""
    try:
        named_request(visit)
    except Refusal:
        return False
    return True
