"""The link of an invitation: who follows it, and what is answered where it does not count.

A use is spent by a person who follows the link, or a program that asks for JSON, but not by those that look at links on the way
(chats, mail filters, prefetch): where the browser does not say that somebody navigates, one more click does.
"""

from typing import Protocol

from gate.core.answer import Answer
from gate.core.credentials import InvalidCredential, KeyRing
from gate.core.decision import Decision
from gate.core.invitations import Invitation, OverInvitation, read_invitation
from gate.core.settings import Settings
from gate.core.visit import Visit
from gate.core.words import Reason
from gate.web.pages import Pages


class Engine(Protocol):
    """What it takes of :class:`gate.engine.Engine`."""

    settings: Settings
    keyring: KeyRing
    pages: Pages

    def now(self) -> float:
        """Unix time, seconds."""
        ...

    async def invite(self, visit: Visit, invitation: Invitation) -> Decision | None: ...


async def follow(visit: Visit, engine: Engine, room: str, path: str, query: dict[str, str], back: str) -> Answer | Decision:
    """What the bearer of the link gets in ``room``, or a page that says why not, with a way on to ``back``, a checked path.

    ``path`` is the link's own; ``query`` has the ``token``, and ``go`` after the click.
    """
    pages = engine.pages
    try:
        invited = read_invitation(query.get("token", ""), engine.keyring, room, engine.now())
    except OverInvitation:
        return silenced(pages.uninvited(visit, "over", 410, back))
    except InvalidCredential:
        return silenced(pages.uninvited(visit, "unknown", 403, back))
    if invited.group not in engine.settings.rooms[room].groups:
        return silenced(pages.uninvited(visit, "unknown", 403, back))
    if not _is_meant(visit, query):
        return silenced(pages.invited(visit, f"{path}?{visit.query.decode('latin-1')}&go=1"))
    decision = await engine.invite(visit, invited)
    if decision is None:
        return silenced(pages.uninvited(visit, "used", 410, back))
    if decision.reason is Reason.STORE and visit.accepts == "html":
        return silenced(pages.problem(503, "", visit.accepts, visit.languages, retry_after=decision.retry_after))
    return decision


def _is_meant(visit: Visit, query: dict[str, str]) -> bool:
    """Does somebody follow the link?"""
    if visit.method == "HEAD" or visit.header(b"sec-purpose") is not None:
        return False
    return visit.accepts == "json" or "go" in query or visit.header(b"sec-fetch-mode") == b"navigate"


def silenced(answer: Answer) -> Answer:
    """What is loaded or followed from here does not hear of this address, which holds an invitation."""
    kept = (field for field in answer.headers if field[0] != b"referrer-policy")
    return Answer(answer.status, (*kept, (b"referrer-policy", b"no-referrer")), answer.body)
