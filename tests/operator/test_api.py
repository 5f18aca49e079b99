"""The operator API, over a real listener and a real store."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from gate import audit
from gate.backend import OrdersFile
from gate.core.orders import Orders, RoomOrders
from gate.core.words import RoomMode, Switch
from gate.heartbeat import RoomBeat
from tests.operator.conftest import Listener
from tests.processes import eventually
from tests.stores import StoreServer

CALLS = [
    ("GET", "/api/v1/status", None, "viewer"),
    ("PATCH", "/api/v1/rooms/checkout", '{"mode": "hold"}', "operator"),
    ("POST", "/api/v1/rooms/checkout/preview", '{"mode": "hold"}', "viewer"),
    ("PUT", "/api/v1/fallback", '{"mode": "on"}', "operator"),
    ("PUT", "/api/v1/shedding", '{"mode": "1"}', "operator"),
    ("GET", "/api/v1/audit", None, "viewer"),
    ("GET", "/api/v1/config", None, "viewer"),
    ("POST", "/api/v1/config/reload", "", "operator"),
    ("GET", "/api/v1/emails.csv", None, "operator"),
]
SLACK = 13.0  # seconds that a busy machine may add
OPEN = ["/metrics", "/openapi.json", "/live", "/ready", "/"]


@pytest.mark.parametrize(("method", "path", "body", "role"), CALLS)
def test_who_may_do_what(gate: Listener, method: str, path: str, body: str | None, role: str) -> None:
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {gate.operator}"},
        {"Authorization": gate.operator},
        {"Cookie": f"gate_operator={gate.operator}"},
    ):
        reply = gate.api(method, path, body, token=None, **headers)
        assert reply.status == 401, headers
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["status"] == 401
    as_viewer = gate.api(method, path, body, token=gate.viewer)
    assert as_viewer.status == (403 if role == "operator" else 200)
    assert gate.backend is not None
    assert gate.backend.orders == Orders()  # nothing has changed so far
    as_operator = gate.api(method, path, body)
    assert as_operator.status == (422 if path.endswith("reload") else 200)  # this test's gate has no supervisor


def test_a_removed_operator_is_refused_at_once(gate: Listener) -> None:
    assert gate.api("GET", "/api/v1/status", token=gate.viewer).status == 200
    gate.operators.remove("vera")
    assert gate.api("GET", "/api/v1/status", token=gate.viewer).status == 401


def test_a_session_cookie_does_not_open_the_api(gate: Listener) -> None:
    """So no page of another site can use the API through an operator's browser."""
    login = gate.api("POST", "/login", f"token={gate.operator}", token=None, **{"Sec-Fetch-Site": "same-origin"})
    assert login.status == 303
    cookie = "; ".join(f"{name}={value}" for name, value in login.cookies.items())
    assert gate.api("GET", "/api/v1/status", token=None, Cookie=cookie).status == 401
    assert gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}', token=None, Cookie=cookie).status == 401


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_tells_no_secret(gate: Listener, path: str) -> None:
    reply = gate.api("GET", path, token=None)
    assert reply.status == 200
    for secret in (gate.operator, gate.viewer, str(gate.state)):
        assert secret not in reply.text
    assert reply.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"


# --------------------------------------------------------------------------- changes


def test_a_room_is_changed_as_a_whole_or_in_part(gate: Listener) -> None:
    body = {"mode": "hold", "rate": "60 per minute", "burst": 5, "active": 0, "message": "Back at noon"}
    reply = gate.api("PATCH", "/api/v1/rooms/checkout", json.dumps(body))
    assert reply.status == 200
    room = reply.json()["rooms"][0]
    assert (room["mode"], room["rate"], room["burst"], room["active"], room["message"]) == (
        "hold",
        "60/minute",
        5,
        None,
        "Back at noon",
    )
    assert room["ordered"] == ["mode", "rate", "burst", "active", "message"]
    reply = gate.api("PATCH", "/api/v1/rooms/checkout", '{"mode": "auto", "rate": null}')
    room = reply.json()["rooms"][0]
    assert (room["mode"], room["rate"], room["burst"]) == ("auto", "120/minute", 5)
    assert reply.json()["version"] == 2
    assert reply.json()["rooms"][1]["ordered"] == []


def test_the_session_is_ordered_like_the_rest(gate: Listener) -> None:
    room = gate.api("PATCH", "/api/v1/rooms/checkout", '{"session": "900s"}').json()["rooms"][0]
    assert (room["session"], room["ordered"]) == ("15m", ["session"])
    room = gate.api("PATCH", "/api/v1/rooms/checkout", '{"session": null}').json()["rooms"][0]
    assert (room["session"], room["ordered"]) == ("10m", [])


def test_stock_is_the_operators_word_until_it_is_given_back_to_the_shop(gate: Listener) -> None:
    gate.beat(rooms={"checkout": RoomBeat(left=40)})
    room = gate.api("GET", "/api/v1/status").json()["rooms"][0]
    assert (room["left"], room["ordered"]) == (40, [])  # the shop's word
    status = gate.api("PATCH", "/api/v1/rooms/checkout", '{"left": 0}').json()
    assert (status["rooms"][0]["left"], status["rooms"][0]["ordered"]) == (0, ["left"])
    assert "checkout is sold out, says an operator: nobody new enters." in status["problems"]
    assert 'gate_room_left{room="checkout"} 0.0' in gate.api("GET", "/metrics", token=None).text
    status = gate.api("PATCH", "/api/v1/rooms/checkout", '{"left": null}').json()
    assert (status["rooms"][0]["left"], status["problems"]) == (40, [])
    entries = gate.api("GET", "/api/v1/audit").json()["entries"]
    assert [entry["what"] for entry in entries] == ["room checkout: left 0 → (shop)", "room checkout: left (shop) → 0"]


def test_the_switches(gate: Listener) -> None:
    assert gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}').json()["fallback"] == {"mode": "on", "on": True}
    assert gate.api("PUT", "/api/v1/fallback", '{"mode": "auto"}').json()["fallback"] == {"mode": "auto", "on": False}
    assert gate.api("PUT", "/api/v1/shedding", '{"mode": 2}').json()["shedding"] == {"mode": "2", "level": 2}
    assert gate.api("PUT", "/api/v1/shedding", '{"mode": "off"}').json()["shedding"] == {"mode": "off", "level": 0}


BAD_ROOMS = [
    ("{", 400, "JSON"),
    ("", 400, "JSON"),
    ("[" * 50_000, 400, "JSON"),
    ('{"mode": "hold", "mode": "open"}', 400, "twice"),
    ("[]", 422, ""),
    ("null", 422, ""),
    ("{}", 422, "nothing to change"),
    ('{"mode": "shut"}', 422, "write auto, open, hold or closed"),
    ('{"mod": "hold"}', 422, "mod"),
    ('{"mode": "hold", "x": 1}', 422, "x"),
    ('{"rate": "often"}', 422, "120/minute"),
    ('{"rate": "0/minute"}', 422, "hold"),
    ('{"rate": 120}', 422, "rate"),
    ('{"burst": 0}', 422, "write 1 or more"),
    ('{"burst": true}', 422, "burst"),
    ('{"burst": "5"}', 422, "burst"),
    ('{"burst": 1e3}', 422, "burst"),
    ('{"burst": 99999999999999999999}', 422, "burst"),
    ('{"active": -1}', 422, "active"),
    ('{"session": "5s"}', 422, "too short"),
    ('{"session": "31d"}', 422, "30d or less"),
    ('{"session": "long"}', 422, "10m"),
    ('{"session": 600}', 422, "session"),
    ('{"left": -1}', 422, "left"),
    ('{"left": "none"}', 422, "left"),
    (json.dumps({"message": "x" * 501}), 422, "message"),
    (json.dumps({"message": "a\nb"}), 422, "message"),
    (json.dumps({"message": "x" * 70_000}), 413, "65536"),
    (b"\xff\xfe", 400, "JSON"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD_ROOMS, ids=lambda value: str(value)[:30])
def test_what_is_wrong_changes_nothing_and_is_explained(gate: Listener, body: str, status: int, words: str) -> None:
    reply = gate.api("PATCH", "/api/v1/rooms/checkout", body)
    assert reply.status == status
    problem = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert set(problem) >= {"type", "title", "status", "detail"}
    assert words in reply.text
    assert "Input" not in reply.text  # no words of the library
    assert "Extra" not in reply.text
    assert gate.backend is not None
    assert gate.backend.orders == Orders()


def test_wrong_places(gate: Listener) -> None:
    reply = gate.api("PATCH", "/api/v1/rooms/nope", '{"mode": "hold"}')
    assert reply.status == 404
    assert "checkout, drop" in reply.json()["detail"]
    for method, path, status in (
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/status", 405),
        ("PUT", "/api/v1/rooms/checkout", 405),
        ("GET", "/api/v1/audit?limit=0", 422),
        ("GET", "/api/v1/audit?limit=-1", 422),
        ("GET", "/api/v1/audit?limit=%C2%B2", 422),
    ):
        reply = gate.api(method, path)
        assert (reply.status, reply.json()["status"]) == (status, status), path


def test_the_config_is_shown_without_its_secrets(gate: Listener) -> None:
    text = gate.config.read_text().replace("origin:", "store_password: hunter2-hunter2\norigin:")
    gate.config.write_text(text.replace("match: /drop/**,", "match: /drop/**, bypass: [{header: {X-Key: hunter2-hunter2}}],"))
    gate.stop()
    gate.start()
    reply = gate.api("GET", "/api/v1/config")
    assert reply.json()["rooms"]["checkout"]["rate"] == "120/minute"
    assert "X-Key" in reply.text
    assert "hunter2" not in reply.text


def test_reload_says_what_is_wrong(gate: Listener) -> None:
    gate.config.write_text(gate.config.read_text().replace("burst: 20", "burts: 20"))
    reply = gate.api("POST", "/api/v1/config/reload")
    assert reply.status == 422
    assert any("burst" in problem and str(gate.config) in problem for problem in reply.json()["problems"])


def test_emails_are_exported(gate: Listener) -> None:
    from gate.web.emails import Emails

    emails = Emails(gate.state / "emails.db")
    emails.add("=cmd|x@example.com")
    emails.add("ann@example.com")
    emails.close()
    reply = gate.api("GET", "/api/v1/emails.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    assert "attachment" in reply.headers["content-disposition"]
    lines = reply.text.splitlines()
    assert lines[0].startswith("address,")
    assert sorted(line.split(",")[0] for line in lines[1:]) == ["'=cmd|x@example.com", "ann@example.com"]


def test_ready_follows_the_workers(gate: Listener) -> None:
    assert gate.api("GET", "/ready", token=None).status == 200
    (gate.state / "run" / "worker-0.json").unlink()
    reply = gate.api("GET", "/ready", token=None)
    assert (reply.status, reply.json()["status"]) == (503, 503)
    assert gate.api("GET", "/live", token=None).status == 200


# --------------------------------------------------------------------------- the effect, beforehand


def test_a_preview_tells_the_wait_and_changes_nothing(gate: Listener) -> None:
    found = gate.api("POST", "/api/v1/rooms/checkout/preview", '{"rate": "240/minute"}', token=gate.viewer).json()
    assert found["room"] == "checkout"
    assert found["changes"] == ['room checkout: rate (config) → "240/minute"']
    before, after = found["before"], found["after"]
    for who in ("newcomer", "last"):
        assert 0 < after[who]["low"] < before[who]["low"] < before[who]["high"]
        assert after[who]["high"] < before[who]["high"]
    assert found["time"] < after["empty"]["earliest"] < before["empty"]["earliest"]
    then, now = after["newcomer"]["text"], before["newcomer"]["text"]
    assert found["text"][0] == f"Wait of a newcomer: {then} (without the change: {now})."
    status = gate.api("GET", "/api/v1/status").json()
    assert (status["version"], status["rooms"][0]["rate"]) == (0, "120/minute")
    assert gate.api("GET", "/api/v1/audit").json()["entries"] == []


def test_a_preview_knows_what_stands_in_the_way(gate: Listener) -> None:
    def after(**change: Any) -> Any:
        return gate.api("POST", "/api/v1/rooms/checkout/preview", json.dumps(change)).json()["after"]["newcomer"]

    assert after(mode="hold") == {"low": None, "high": None, "reason": "hold", "text": "no entry while the room is held"}
    assert after(left=0)["reason"] == "sold-out"
    assert after(mode="open")["text"] == "at once"
    gate.beat(store_up=False)
    assert after(burst=1)["reason"] == "store"
    gate.beat(origin_up=False)
    assert after(burst=1)["reason"] == "origin-down"
    gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}')
    assert after(burst=1)["reason"] == "ordered"


@pytest.mark.parametrize(("body", "status", "words"), BAD_ROOMS, ids=lambda value: str(value)[:30])
def test_a_preview_explains_what_is_wrong_as_the_change_would(gate: Listener, body: str, status: int, words: str) -> None:
    reply = gate.api("POST", "/api/v1/rooms/checkout/preview", body)
    assert reply.status == status
    assert words in reply.text
    assert gate.api("POST", "/api/v1/rooms/nope/preview", '{"mode": "hold"}').status == 404


# --------------------------------------------------------------------------- lasting


def test_orders_survive_a_restart(gate: Listener) -> None:
    gate.api("PATCH", "/api/v1/rooms/checkout", '{"mode": "hold", "message": "Häuser 🏠"}')
    gate.stop()
    assert OrdersFile(gate.state).read().room("checkout") == RoomOrders(RoomMode.HOLD, message="Häuser 🏠")
    gate.start()
    gate.beat()
    assert gate.api("GET", "/api/v1/status").json()["rooms"][0]["mode"] == "hold"


def test_orders_work_without_the_store_and_reach_it_later(gate: Listener, store: StoreServer) -> None:
    gate.api("PUT", "/api/v1/shedding", '{"mode": "1"}')
    assert gate.api("GET", "/api/v1/status").json()["stored"]
    store.signal(signal.SIGSTOP)
    reply = gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}')
    assert reply.status == 200
    assert not reply.json()["stored"]
    assert OrdersFile(gate.state).read().fallback is Switch.ON  # where the workers look
    version = reply.json()["version"]
    entries = gate.api("GET", "/api/v1/audit").json()["entries"]
    assert [entry["what"] for entry in entries] == ["fallback: auto → on", "shedding: auto → 1"]
    store.signal(signal.SIGCONT)
    status = eventually(lambda: (s := gate.api("GET", "/api/v1/status").json())["stored"] and s, what="the store has them")
    assert status["fallback"]["mode"] == "on"
    assert status["shedding"]["mode"] == "1"
    assert status["version"] >= version
    entries = gate.api("GET", "/api/v1/audit").json()["entries"]
    assert [entry["what"] for entry in entries][:2] == ["fallback: auto → on", "shedding: auto → 1"]


def test_an_emptied_store_gets_the_orders_back(gate: Listener, store: StoreServer) -> None:
    gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}')
    store.restart_empty()
    other = Listener(gate.config.parent, store, "other").start()
    try:
        eventually(lambda: other.api("GET", "/api/v1/status").json()["fallback"]["mode"] == "on", what="the other gate follows")
        entries = gate.api("GET", "/api/v1/audit").json()["entries"]
        assert "fallback: auto → on" in [entry["what"] for entry in entries]
    finally:
        other.close()


def test_two_gates_share_orders_and_audit(gate: Listener, store: StoreServer) -> None:
    other = Listener(gate.config.parent, store, "other").start()
    try:
        gate.api("PATCH", "/api/v1/rooms/drop", '{"mode": "closed"}')
        eventually(
            lambda: other.api("GET", "/api/v1/status").json()["rooms"][1]["mode"] == "closed",
            2 + SLACK,
            what="within 2 s",
        )
        other.api("PATCH", "/api/v1/rooms/checkout", '{"burst": 7}')
        eventually(
            lambda: gate.api("GET", "/api/v1/status").json()["rooms"][0]["burst"] == 7,
            2 + SLACK,
            what="within 2 s",
        )
        assert gate.api("GET", "/api/v1/status").json()["rooms"][1]["mode"] == "closed"
        for one in (gate, other):
            entries = one.api("GET", "/api/v1/audit").json()["entries"]
            assert [entry["what"] for entry in entries] == [
                "room checkout: burst (config) → 7",
                "room drop: mode auto → closed",
            ]
            assert {entry["who"] for entry in entries} == {"olga"}
    finally:
        other.close()


def test_gates_that_were_apart_agree_again(gate: Listener, store: StoreServer) -> None:
    """Each took another order of the same version while the store was away; then all follow one of them."""
    other = Listener(gate.config.parent, store, "other").start()
    try:
        store.signal(signal.SIGSTOP)
        first = gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}').json()
        second = other.api("PUT", "/api/v1/fallback", '{"mode": "off"}').json()
        assert first["version"] == second["version"]
        store.signal(signal.SIGCONT)

        def agree() -> Any:
            one, two = (g.api("GET", "/api/v1/status").json() for g in (gate, other))
            same = (one["version"], one["fallback"]) == (two["version"], two["fallback"])
            return one if same and one["stored"] and two["stored"] else None

        status = eventually(agree, what="they agree")
        assert status["version"] > first["version"]  # so that the workers of both take it
    finally:
        other.close()


def test_a_change_that_nothing_can_keep_is_refused(gate: Listener, store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from gate import private

    store.signal(signal.SIGSTOP)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private, "write", full)
    reply = gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}')
    assert reply.status == 503
    status = gate.api("GET", "/api/v1/status").json()
    assert status["fallback"]["mode"] == "auto"
    assert any("No space left" in problem for problem in status["problems"])
    store.signal(signal.SIGCONT)
    eventually(lambda: gate.api("PUT", "/api/v1/fallback", '{"mode": "on"}').status == 200, what="with the store it works")


# --------------------------------------------------------------------------- audit


def test_the_audit_says_who_what_and_when(gate: Listener) -> None:
    gate.api("PATCH", "/api/v1/rooms/checkout", '{"mode": "hold", "rate": "60/minute"}')
    gate.api("PATCH", "/api/v1/rooms/checkout", '{"mode": "hold"}')  # is so already: no entry, no new version
    entries = gate.api("GET", "/api/v1/audit").json()["entries"]
    assert len(entries) == 1
    entry = entries[0]
    assert entry["who"] == "olga"
    assert entry["what"] == 'room checkout: mode auto → hold; room checkout: rate (config) → "60/minute"'
    assert entry["version"] == 1
    assert entry["at"] > 1_700_000_000


def test_a_draw_is_recorded_before_and_after_it_once(gate: Listener) -> None:
    def recorded() -> list[str]:
        return [entry["what"] for entry in gate.api("GET", "/api/v1/audit").json()["entries"] if entry["who"] == "gate"]

    committed = f"room drop: draw committed to {'ab' * 32}"
    gate.config.write_text(
        gate.config.read_text().replace("10/second}", "10/second, order: random, opens: 2026-01-01T00:00:00Z}")
    )
    gate.stop()
    gate.start()
    gate.beat(rooms={"drop": RoomBeat(last=5, waiting=5, commitment="ab" * 32)})
    eventually(lambda: recorded() == [committed], what="the promise is recorded")
    gate.stop()
    gate.start()  # and not again by the next process
    gate.beat(rooms={"drop": RoomBeat(last=5, waiting=5, drawn=5, commitment="ab" * 32, seed="cd" * 32)})
    done = f"room drop: 5 drawn, seed {'cd' * 32}, commitment {'ab' * 32}"
    eventually(lambda: recorded() == [done, committed], what="and what came of it")


def test_the_audit_file_is_set_aside_when_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST", 300)
    for number in range(20):
        audit.append(tmp_path, {"n": number})
    with (tmp_path / audit.FILE).open("ab") as file:
        file.write(b'{"n": cut')
    assert [entry["n"] for entry in audit.read(tmp_path, 5)] == [19, 18, 17, 16, 15]
    assert len(audit.read(tmp_path, 100)) == 20
    assert (tmp_path / audit.FILE).stat().st_mode & 0o777 == 0o600
    for number in range(200):
        audit.append(tmp_path, {"n": number})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 700


# --------------------------------------------------------------------------- the document


def test_the_document_names_every_route_and_every_reference_leads_somewhere(gate: Listener) -> None:
    from gate.web.openapi import document
    from gate.web.operator import Api

    found = gate.api("GET", "/openapi.json", token=None).json()
    assert found == json.loads(json.dumps(document()))
    assert gate.backend is not None
    routes = {
        (route.path, method.lower())
        for route in Api(gate.backend, gate.operators).routes()
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {(path, method) for path, item in found["paths"].items() for method in item}
    assert described == routes

    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(found)):
        node: Any = found
        for part in reference.split("/"):
            node = node[part]
    ids = [operation["operationId"] for item in found["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    assert found["openapi"].startswith("3.1")
    for path, item in found["paths"].items():
        for operation in item.values():
            names = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert names == set(re.findall(r"{(\w+)}", path))
            assert all(response.get("description") or "$ref" in response for response in operation["responses"].values())


def test_answers_match_the_document(gate: Listener) -> None:
    """The status has exactly the described properties, down to the rooms and workers."""
    found = gate.api("GET", "/openapi.json", token=None).json()["components"]["schemas"]
    status = gate.api("GET", "/api/v1/status").json()
    assert set(status) == set(found["Status"]["properties"])
    assert set(status["rooms"][0]) == set(found["RoomStatus"]["properties"])
    preview = gate.api("POST", "/api/v1/rooms/checkout/preview", '{"burst": 1}').json()
    assert set(preview) == set(found["Preview"]["properties"])
    assert set(preview["after"]) == set(found["Outlook"]["properties"])
    assert set(preview["after"]["last"]) == set(found["Expected"]["properties"])
    assert set(status["workers"][0]) == set(found["WorkerStatus"]["properties"])
