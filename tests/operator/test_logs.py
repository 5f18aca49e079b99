"""What must never be in a log is not, however it comes in."""

import io
import json
import logging
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gate import logs
from gate.core.credentials import Key, KeyRing, Pass, Ticket
from gate.core.decision import Decision
from gate.core.path import Path as VisitPath
from gate.core.settings import Log
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason

RING = KeyRing((Key("k1", bytes(range(32))),))
TICKET = RING.sign_ticket(Ticket("checkout", 1, 7, 1_800_000_000_000, "AbCdEfGhIjKlMnOpQrStUv"))
PASS = RING.sign_pass(Pass("checkout", "AbCdEfGhIjKlMnOpQrStUv", 1_800_000_000, 1_800_000_600))
TOKEN = "gate_op_" + "Zz09-_" * 7 + "q"
SECRET = "s3cr3t-Value"


@pytest.fixture
def lines() -> Iterator[Any]:
    """A function that gives the log lines so far, parsed."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(Log(level="debug"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


LEAKS = [
    # what a field is called
    {"authorization": SECRET},
    {"Authorization": f"Bearer {SECRET}"},
    {"cookie": f"a={SECRET}"},
    {"Set-Cookie": [SECRET]},
    {"Gate-Ticket": SECRET, "gate-pass": SECRET},
    {"headers": {"COOKIE": SECRET, b"Gate-Pass": SECRET.encode()}},
    {"headers": [(b"cookie", SECRET.encode()), (b"host", b"shop")]},
    {"headers": ((b"authorization", b"Basic " + SECRET.encode()),)},
    {"headers": [["set-cookie", f"gate_pass_x={SECRET}; Path=/"]]},
    {"deep": {"er": {"and": [{"password": SECRET}]}}},
    {"store_password": SECRET, "email": SECRET, "token": SECRET, "api_key": SECRET},
    # what a text holds
    {"text": f"Cookie: session={SECRET}; b={SECRET}"},
    {"text": f"cookie:{SECRET}"},
    {"text": f"sent {{'Authorization': 'Bearer {SECRET}'}}"},
    {"text": f"(b'set-cookie', b'gate_ticket_checkout={SECRET}; Path=/')"},
    {"text": f"curl -H 'Gate-Pass: {SECRET}'"},
    {"text": f"Bearer {SECRET}"},
    {"text": f"gate_ticket_checkout={SECRET}"},
    {"text": f"__Host-gate_pass_ticket-drop={SECRET}; other=1"},
    {"url": f"/checkout?ticket={SECRET}&x=1"},
    {"url": f"/checkout?a=1&PASS={SECRET}"},
    {"url": f"/x?gate_pass={SECRET}#f"},
    {"url": f"/x?next=%2Fcheckout%3Fticket%3D{SECRET}"},
    {"url": f"redis://user:{SECRET}@store:6379/0"},
    {"url": f"rediss://:{SECRET}@store:6379/0"},
    {"path": f"/x?token={SECRET}".encode()},
    {"text": f"/pay?email={SECRET}"},
    # credentials by their shape, wherever they stand
    {"text": f"got {TICKET} from somebody", "secret": TICKET},
    {"text": f"/checkout/{PASS}/x", "list": [PASS, {PASS: 1}]},
    {"text": f"token={TOKEN}", "other": f"<{TOKEN}>", "x": TOKEN},
    # people
    {"text": "ann.smith+shop@mail.example.co.uk wrote"},
    {"text": "/notify?to=ann.smith%40mail.example.co.uk"},
    {"text": '"ann"@example.com <o\'brien@example.com> ANN@EXAMPLE.COM'},
    {"path": "/u/ann@example.com/orders"},
]
HIDDEN = [SECRET, TICKET, PASS, TOKEN, "ann.smith", "ANN@", "ann@", "o'brien"]


@pytest.mark.parametrize("fields", LEAKS, ids=str)
def test_what_must_not_be_in_a_log(lines: Any, fields: dict[str, Any]) -> None:
    structlog.get_logger().warning("something", **fields)
    logging.getLogger("uvicorn.error").warning("something %s", fields)
    logging.getLogger("aiohttp").warning("something", extra=None)
    found = lines()
    assert len(found) == 3
    for line in found[:1]:
        for hidden in HIDDEN:
            assert hidden not in json.dumps(line), line
    # a whole dict printed into a sentence has lost its structure: what looks like a credential is still found
    for hidden in (TICKET, PASS, TOKEN, "ann.smith", "ann@"):
        assert hidden not in json.dumps(found[1]), found[1]


def test_tracebacks_are_redacted_too(lines: Any) -> None:
    def fail() -> None:
        raise ValueError(f"cannot send Cookie: gate_pass_checkout={PASS} to ann@example.com")

    for log in (structlog.get_logger().exception, logging.getLogger("asyncio").exception):
        try:
            fail()
        except ValueError:
            log("failed")
    for line in lines():
        assert "ValueError" in line["exception"]
        assert PASS not in json.dumps(line)
        assert "ann@" not in json.dumps(line)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("from 203.0.113.77", "from 203.0.113.77"),  # documentation network: nobody's
        ("from 8.8.8.8:443", "from 8.8.8.0/24:443"),
        ("from 2a00:1450:4001:81b::200e!", "from 2a00:1450:4001::/48!"),
        ("[2a00:1450:4001:81b::200e]:443", "[2a00:1450:4001::/48]:443"),
        ("at 12:30:15, version 1.2.3", "at 12:30:15, version 1.2.3"),
        ("10.0.0.7 and 127.0.0.1 and ::1", "10.0.0.7 and 127.0.0.1 and ::1"),
        ("::ffff:8.8.8.8", "::/48"),
    ],
)
def test_addresses_are_cut_to_their_network(given_text: str, shown: str) -> None:
    assert logs.redact_text(given_text) == shown


def test_our_own_servers_are_named_in_full(lines: Any) -> None:
    structlog.get_logger().warning("down", server="http://8.8.8.8:9000")
    assert lines()[0]["server"] == "http://8.8.8.8:9000"


@pytest.mark.parametrize("nasty", ["a\nb", "a\r\n{}", "\x1b[31mred", "\x00", "\u2028", "\u202e", "\ud800", "a\x85b"])
def test_a_line_stays_a_line(nasty: str) -> None:
    stream = io.StringIO()
    try:
        logs.configure(Log(), stream)
        structlog.get_logger().warning(nasty, path=nasty, raw=nasty.encode("utf-8", "surrogatepass"), **{"k" + nasty: nasty})
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
        logging.captureWarnings(False)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert all(" " <= letter <= "~" for letter in text[:-1])
    json.loads(text)


def test_useful_things_stay(lines: Any) -> None:
    fields = {"path": "/checkout/step-2", "room": "checkout", "status": 200, "ms": 1.5, "reason": "pass", "nothing": None}
    structlog.get_logger().info("forwarded", **fields)
    line = lines()[0]
    assert {name: line[name] for name in fields} == fields
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


def test_what_is_long_is_cut_and_what_is_deep_is_left_out(lines: Any) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    structlog.get_logger().info("x" * 100_000, loop=loop, big=["y" * 100_000])
    assert len(json.dumps(lines()[0])) < 10_000


@pytest.mark.parametrize(
    "hard",
    [
        "a" * 100_000 + "@",
        "a@" + "b-" * 50_000,
        "a@" + "b." * 50_000,
        "1." * 50_000,
        ":" * 100_000,
        "eyJ" * 33_000,
        "x." * 50_000,
        "://" * 33_000,
    ],
)
def test_nobody_can_keep_it_busy(hard: str) -> None:
    started = time.process_time()
    for _ in range(5):
        logs.redact_text(hard)
    assert time.process_time() - started < 2.0  # some milliseconds; a pattern that backtracks would take minutes


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    )
)
def test_whatever_it_is_it_becomes_json(value: Any) -> None:
    json.loads(json.dumps(logs.redact({"value": value})))


VISIT = Visit(
    "GET",
    "https",
    "shop.example",
    VisitPath(b"/checkout", "/checkout"),
    b"ticket=" + TICKET.encode(),
    (),
    ip_address("8.8.8.8"),
)


@pytest.mark.parametrize(("access", "written"), [("off", 0), ("sampled", 2), ("full", 8)])
def test_access_lines(access: Any, written: int) -> None:
    draws = iter([0.0, 0.3, 0.1, 0.9] * 2)
    found: list[dict[str, Any]] = []
    log = logs.AccessLog(
        Log(access=access, sample=0.1), lambda: next(draws), lambda event, **fields: found.append({"event": event, **fields})
    )
    for _ in range(8):
        if log.wants():
            log(VISIT, Decision(Outcome.FORWARD, Reason.PASS, room="checkout"), 200, 0.0123, sent=9)
    assert len(found) == written
    for line in found:
        assert line["address"] == "8.8.8.0/24"
        assert line["path"] == b"/checkout"
        assert (line["outcome"], line["reason"], line["room"], line["ms"]) == ("forward", "pass", "checkout", 12.3)
        assert TICKET not in str(line)


def test_uvicorn_does_not_write_its_own(lines: Any, tmp_path: Path) -> None:
    logging.getLogger("uvicorn.access").info("GET /checkout?ticket=%s", TICKET)
    assert lines() == []
