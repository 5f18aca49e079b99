"""Invitations: a signed link that puts its bearer into one of a room's priority groups."""

import json
from dataclasses import dataclass

from gate.core.credentials import MAX_TOKEN, InvalidCredential, KeyRing
from gate.core.jwt import base64url

INVITATION_SALT = b"gate.invitation"
PURPOSE = "invitation"


class OverInvitation(InvalidCredential):
    """The invitation is ours, and over."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """``uses``: so many visitors may enter the group with it; 0: any number. ``expires``: Unix time in seconds."""

    room: str
    group: str
    id: str
    uses: int
    expires: int


def sign_invitation(invitation: Invitation, keyring: KeyRing) -> str:
    """The token of the link; signed by the newest key, under a key of its own purpose."""
    payload = [invitation.room, invitation.group, invitation.id, invitation.uses, invitation.expires]
    text = base64url(json.dumps(payload, separators=(",", ":")).encode()).encode()
    return keyring.marks(PURPOSE, INVITATION_SALT).mark(text).decode()


def read_invitation(token: str, keyring: KeyRing, room: str, now: float) -> Invitation:
    """Raises :class:`gate.core.credentials.InvalidCredential`: not ours or for another room; :class:`OverInvitation`."""
    if len(token) > MAX_TOKEN:
        raise InvalidCredential("too long")
    try:
        found, group, id_, uses, expires = keyring.marks(PURPOSE, INVITATION_SALT).read(token)
        invitation = Invitation(str(found), str(group), str(id_), int(uses), int(expires))
    except (ValueError, TypeError) as error:
        raise InvalidCredential("not an invitation of ours") from error
    if invitation.room != room:
        raise InvalidCredential("an invitation to another room")
    if invitation.expires <= now:
        raise OverInvitation("this invitation is over")
    return invitation
