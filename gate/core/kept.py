"""Which forms are kept for a visitor who has to wait, so that one press sends them again after entry."""

from gate.core.decision import Decision
from gate.core.visit import Visit
from gate.core.words import Outcome

LARGEST = 4096  # bytes; the page carries it
FORM = b"application/x-www-form-urlencoded"


def keeps_form(visit: Visit, decision: Decision, length: int) -> bool:
    """Is the body of this request, ``length`` bytes by its Content-Length, read and kept?

    Only what a person's browser has sent from a page, and for a ticket: what is kept is bound to it.
    """
    if decision.outcome is not Outcome.WAIT or decision.ticket is None:
        return False
    if visit.method != "POST" or visit.accepts != "html" or not 0 < length <= LARGEST:
        return False
    if not _is_ours(visit) or visit.header(b"content-encoding") is not None:
        return False
    kind, _, parameters = (visit.header(b"content-type") or b"").partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"").lower()
    return kind.strip().lower() == FORM and charset in (b"", b"charset=utf-8")


def _is_ours(visit: Visit) -> bool:
    """Sent by a page of this very host: sent again, it would come from one. Where a browser says neither where it comes from
    (Fetch Metadata) nor its Origin, it is too old for either; what it sends is taken at its word, like that of a program."""
    site = visit.header(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = visit.header(b"origin")
    return origin is None or origin.partition(b"://")[2].decode("latin-1").lower() == visit.host
