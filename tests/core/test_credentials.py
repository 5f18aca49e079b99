import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer
from joserfc import jws
from joserfc.jwk import OctKey

from gate.core.credentials import AT_A_TIME, ExpiredPass, Ids, InvalidCredential, Key, KeyRing, Pass, Ticket, WeakKey, new_id

OLD = Key("k1", secrets.token_bytes(32))
NEW = Key("k2", secrets.token_bytes(32))
RING = KeyRing((OLD, NEW))
TICKET = Ticket("checkout", 3, 4711, 1_800_000_000_123, "AbCdEfGhIjKlMnOpQrStUv")
PASS = Pass("checkout", "AbCdEfGhIjKlMnOpQrStUv", 1000.0, 1600.0)


def test_a_ticket_comes_back_as_it_went():
    assert RING.read_ticket(RING.sign_ticket(TICKET), "checkout") == TICKET


@given(
    room=st.text(min_size=1, max_size=40),
    numbers=st.tuples(*[st.integers(0, 2**53)] * 3),
    id_=st.text("AZaz09-_", min_size=22, max_size=22),
)
def test_a_ticket_is_written_as_itsdangerous_writes_it(room, numbers, id_):
    """Ours is the same token, byte for byte, except where itsdangerous has found that zlib makes it shorter."""
    theirs = URLSafeSerializer(
        [key.derive("ticket") for key in RING.keys],
        salt="gate.ticket",
        serializer=json,
        serializer_kwargs={"separators": (",", ":")},
        signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"},
    )
    token = RING.sign_ticket(Ticket(room, *numbers, id_))
    expected = theirs.dumps([room, *numbers, id_])
    assert theirs.loads(token) == [room, *numbers, id_]
    assert token == expected or expected.startswith(".")


def test_a_pass_comes_back_as_it_went():
    assert RING.read_pass(RING.sign_pass(PASS), "checkout", 1599.9) == PASS


def test_an_expired_pass_is_told_from_a_forged_one_and_carried_along():
    with pytest.raises(ExpiredPass) as caught:
        RING.read_pass(RING.sign_pass(PASS), "checkout", 1600.0)
    assert caught.value.expired == PASS


def test_the_newest_key_signs_and_every_listed_key_verifies():
    by_old = KeyRing((OLD,))
    assert RING.read_ticket(by_old.sign_ticket(TICKET), "checkout") == TICKET
    assert RING.read_pass(by_old.sign_pass(PASS), "checkout", 1000) == PASS
    with pytest.raises(InvalidCredential):
        by_old.read_ticket(RING.sign_ticket(TICKET), "checkout")
    with pytest.raises(InvalidCredential):
        by_old.read_pass(RING.sign_pass(PASS), "checkout", 1000)


def test_no_credential_opens_another_room():
    with pytest.raises(InvalidCredential):
        RING.read_ticket(RING.sign_ticket(TICKET), "vip")
    with pytest.raises(InvalidCredential):
        RING.read_pass(RING.sign_pass(PASS), "vip", 1000)


def test_a_ticket_is_no_pass_and_a_pass_no_ticket():
    with pytest.raises(InvalidCredential):
        RING.read_pass(RING.sign_ticket(TICKET), "checkout", 1000)
    with pytest.raises(InvalidCredential):
        RING.read_ticket(RING.sign_pass(PASS), "checkout")


def test_the_pass_is_a_jwt_that_an_edge_can_read():
    header, claims, _ = RING.sign_pass(PASS).split(".")

    def decode(part):
        return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    assert decode(header) == {"alg": "HS256", "typ": "JWT", "kid": "k2"}
    assert decode(claims) == {"aud": "checkout", "jti": PASS.id, "iat": 1000, "exp": 1600}


@given(
    room=st.text(min_size=1, max_size=40),
    id_=st.text("AZaz09-_", min_size=22, max_size=22),
    times=st.tuples(*[st.integers(0, 2**40)] * 2),
    key=st.sampled_from([OLD, NEW]),
)
def test_the_pass_is_written_and_read_as_joserfc_does_it(room, id_, times, key):
    ring, theirs = KeyRing((key,)), OctKey.import_key(key.derive("pass"))
    issued, expires = times
    claims = json.dumps({"aud": room, "jti": id_, "iat": issued, "exp": expires}, separators=(",", ":"))
    token = jws.serialize_compact({"alg": "HS256", "typ": "JWT", "kid": key.id}, claims, theirs, algorithms=["HS256"])
    held = Pass(room, id_, float(issued), float(expires))
    assert ring.sign_pass(held) == token
    assert RING.read_pass(token, room, -1) == held
    assert json.loads(jws.deserialize_compact(ring.sign_pass(held), theirs, algorithms=["HS256"]).payload) == json.loads(claims)


def test_a_good_signature_under_another_header_is_not_ours():
    """Right key, right algorithm, one thing more or less in the header: nobody but us writes passes."""
    theirs, claims = OctKey.import_key(NEW.derive("pass")), RING.sign_pass(PASS).split(".")[1]
    body = urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
    for header in ({"alg": "HS256", "kid": "k2"}, {"typ": "JWT", "alg": "HS256", "kid": "k2"}, {"alg": "HS256", "kid": "k1"}):
        with pytest.raises(InvalidCredential):
            RING.read_pass(jws.serialize_compact(header, body, theirs, algorithms=["HS256"]), "checkout", 1000)


def test_algorithm_none_is_refused():
    def encode(data):
        return urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    claims = encode({"aud": "checkout", "jti": "x", "iat": 0, "exp": 9999999999})
    for algorithm in ("none", "HS512", "RS256"):
        with pytest.raises(InvalidCredential):
            RING.read_pass(f"{encode({'alg': algorithm, 'kid': 'k2'})}.{claims}.", "checkout", 1000)


@pytest.mark.parametrize("read", ["ticket", "pass"])
@given(data=st.data())
def test_no_changed_byte_verifies(read, data):
    token = RING.sign_ticket(TICKET) if read == "ticket" else RING.sign_pass(PASS)
    at = data.draw(st.integers(0, len(token) - 1))
    with_ = data.draw(st.sampled_from("ABCxyz019-_.=é"))
    changed = token[:at] + with_ + token[at + 1 :]
    try:
        found = RING.read_ticket(changed, "checkout") if read == "ticket" else RING.read_pass(changed, "checkout", 1000)
    except InvalidCredential:
        return
    # the last character of unpadded base64 has bits that do not count: the same signature, spelled otherwise
    assert found == TICKET if read == "ticket" else changed == token


@pytest.mark.parametrize(
    "junk", ["", ".", "..", "a.b.c", "é.ü.ß", "x" * 100_000, "eyJhbGciOiJIUzI1NiJ9..", "\x00", "null.null.null"]
)
def test_junk_is_invalid_and_nothing_else(junk):
    with pytest.raises(InvalidCredential):
        RING.read_ticket(junk, "checkout")
    with pytest.raises(InvalidCredential):
        RING.read_pass(junk, "checkout", 0)


@pytest.mark.parametrize("weak", [b"", b"short", b"a" * 32, b"0123456789" * 3 + b"01", bytes(32)])
def test_weak_keys_are_refused(weak):
    with pytest.raises(WeakKey):
        Key("k", weak)


def test_an_empty_ring_is_refused():
    with pytest.raises(ValueError, match="empty"):
        KeyRing(())


def test_ids_are_22_characters_that_need_no_escaping():
    assert len(new_id(secrets.token_bytes)) == 22
    assert new_id(lambda n: b"\xff" * n) == "_" * 21 + "w"


def test_ids_of_a_batch_are_16_bytes_each_and_come_once():
    blocks = []

    def random_bytes(count):
        blocks.append(secrets.token_bytes(count))
        return blocks[-1]

    ids = Ids(random_bytes)
    taken = [ids() for _ in range(2 * AT_A_TIME + 1)]
    assert len(blocks) == 3
    pieces = {
        urlsafe_b64encode(block[at : at + 16]).rstrip(b"=").decode() for block in blocks for at in range(0, len(block), 16)
    }
    assert len(set(taken)) == len(taken)
    assert set(taken) < pieces


def test_all_cookies_of_two_rooms_stay_under_a_kilobyte():
    long_room = "r" * 32
    ticket = RING.sign_ticket(Ticket(long_room, 999, 10_000_000, 1_900_000_000_000, TICKET.id))
    granted = RING.sign_pass(Pass(long_room, TICKET.id, 1_900_000_000, 1_900_000_600))
    names = 2 * len(f"__Host-gate_ticket_{long_room}=; ")
    assert 2 * (len(ticket) + len(granted) + names) < 1024
