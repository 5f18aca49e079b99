"""Who gets into the console: signing in and out, sessions, guessing, and what other sites cannot do."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from gate.core.orders import Orders
from gate.core.words import Switch
from gate.web.sessions import IDLE, LONGEST, TRIES, TRIES_WITHIN, Sessions, Tries
from tests.operator.conftest import Listener
from tests.operator.person import HERE, Person, orders


@pytest.fixture
def olga(gate: Listener) -> Person:
    return Person(gate, gate.operator)


def test_without_a_session_there_is_only_the_form(gate: Listener) -> None:
    page = Person(gate).get()
    assert 'action="/login"' in page
    assert "checkout" not in page


def test_signing_in_and_out(gate: Listener) -> None:
    reply = gate.api("POST", "/login", urlencode({"token": gate.operator}), token=None, **HERE)
    cookie = reply.headers["set-cookie"]
    assert reply.headers["location"] == "/"
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="):
        assert attribute in cookie
    assert gate.operator not in cookie
    person = Person(gate, gate.operator)
    assert "olga" in person.get()
    stolen = dict(person.jar)
    person.post("/logout")
    person.jar = stolen
    assert 'action="/login"' in person.get()  # the id is over, not only the cookie


def test_behind_https_the_cookie_has_the_host_prefix(gate: Listener) -> None:
    origin = {"Origin": f"https://127.0.0.1:{gate.port}"}
    reply = gate.api("POST", "/login", urlencode({"token": gate.operator}), token=None, **origin)
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith("__Host-gate_operator=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_a_session_id_that_somebody_brings_along_is_not_taken(gate: Listener) -> None:
    person = Person(gate)
    person.jar["gate_operator"] = "chosen-by-the-attacker"
    person.post("/login", token=gate.operator)
    assert person.jar["gate_operator"] != "chosen-by-the-attacker"


def test_a_removed_operator_is_signed_out_at_once(gate: Listener, olga: Person) -> None:
    assert "Sign out" in olga.get()
    gate.operators.remove("olga")
    assert 'action="/login"' in olga.get()
    assert olga.post("/fallback", mode="off").status == 401
    assert orders(gate) == Orders()


def test_guessing_is_slowed_down(gate: Listener) -> None:
    person = Person(gate)
    for _ in range(TRIES):
        assert person.post("/login", token="guess").status == 401
    reply = person.post("/login", token=gate.operator)
    assert reply.status == 429
    assert 0 < int(reply.headers["retry-after"]) <= TRIES_WITHIN + 1
    assert "guess" not in reply.text


def test_sessions_end(tmp_path: Any) -> None:
    from starlette.requests import Request

    from gate.operators import Operators, Role

    operators = Operators(tmp_path / "s")
    operators.start()
    who = operators.who(operators.add("ann", Role.OPERATOR))
    assert who is not None
    now = [0.0]
    sessions = Sessions(operators, lambda: now[0])

    def request(id_: str) -> Request:
        return Request({"type": "http", "headers": [(b"cookie", f"x=1; gate_operator={id_}".encode())]})

    idle, used = sessions.begin(who), sessions.begin(who)
    for _ in range(int(LONGEST / IDLE)):
        now[0] += IDLE - 1
        assert sessions.find(request(used)) is not None
    assert sessions.find(request(idle)) is None
    now[0] += IDLE - 1
    assert sessions.find(request(used)) is None  # in use, and too old all the same
    for cookie in (b"", b"=", b"gate_operator=", b'gate_operator="\\400"', b"\xff\xfe", b"gate_operator=a; gate_operator=b"):
        assert sessions.find(Request({"type": "http", "headers": [(b"cookie", cookie)]})) is None


def test_tries_are_forgotten_with_time() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(TRIES):
        assert tries.wait("a") == 0
        tries.wrong("a")
    assert tries.wait("a") == TRIES_WITHIN
    assert tries.wait("b") == 0
    now[0] = TRIES_WITHIN
    assert tries.wait("a") == 0


# --------------------------------------------------------------------------- other sites


FOREIGN = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    "path", ["/fallback", "/shedding", "/rooms/checkout", "/rooms/checkout/preview", "/reload", "/login", "/logout"]
)
def test_another_site_cannot_post(gate: Listener, olga: Person, headers: dict[str, str], path: str) -> None:
    given = {name: value.format(port=gate.port) for name, value in headers.items()}
    reply = olga.post(path, headers=given, mode="hold" if "rooms" in path else "off", confirm="yes", token=gate.operator)
    assert reply.status == 403
    assert orders(gate) == Orders()
    assert "Sign out" in olga.get()


def test_our_own_page_can_by_origin_where_the_browser_says_no_more(gate: Listener, olga: Person) -> None:
    assert olga.post("/fallback", headers={"Origin": gate.url}, mode="off").status == 303
    assert orders(gate).fallback is Switch.OFF


def test_the_page_allows_its_own_script_and_style_and_nothing_else(gate: Listener, olga: Person) -> None:
    reply = gate.api("GET", "/", token=None)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", policy)) == 2
    page = olga.get()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert " style=" not in page
    assert " onclick=" not in page
