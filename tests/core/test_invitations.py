import pytest

from gate.core.credentials import InvalidCredential, Key, KeyRing
from gate.core.invitations import Invitation, read_invitation, sign_invitation

OLD, NEW = (Key(name, bytes((seed * n * 7 + n * n) % 256 for n in range(1, 33))) for name, seed in (("old", 3), ("new", 5)))
INVITATION = Invitation("drop", "members", "abc", 1, 2000)


def test_an_invitation_is_read_by_the_room_it_is_for():
    token = sign_invitation(INVITATION, KeyRing((OLD,)))
    assert read_invitation(token, KeyRing((OLD, NEW)), "drop", 1999) == INVITATION


def test_it_is_for_one_room_for_a_time_and_signed():
    ring = KeyRing((OLD,))
    token = sign_invitation(INVITATION, ring)
    bad = [
        (token, "other", 0.0),
        (token, "drop", 2000.0),
        (token + "x", "drop", 0.0),
        ("", "drop", 0.0),
        ("a" * 5000, "drop", 0.0),
    ]
    for text, room, now in bad:
        with pytest.raises(InvalidCredential):
            read_invitation(text, ring, room, now)
    with pytest.raises(InvalidCredential):
        read_invitation(token, KeyRing((NEW,)), "drop", 0.0)


def test_neither_ticket_nor_pass_is_an_invitation():
    ring = KeyRing((OLD,))
    with pytest.raises(InvalidCredential):
        ring.read_ticket(sign_invitation(INVITATION, ring), "drop")
