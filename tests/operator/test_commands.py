"""The commands against a real operator listener."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gate import keys
from gate.commands import explain, operate
from gate.core.instants import format_instant
from gate.core.orders import RoomOrders
from gate.core.words import RoomMode, Shedding, Switch
from gate.heartbeat import RoomBeat
from gate.operators import Operators, Role
from tests.operator.conftest import Listener
from tests.processes import eventually, free_port

app = typer.Typer()
operate.register(app)
explain.register(app)


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def run(gate: Listener | Path, *words: str, **environment: str) -> Result:
    config = gate if isinstance(gate, Path) else gate.config
    env = {"COLUMNS": "120", "GATE_TOKEN": None, "GATE_CONFIG": None, "NO_COLOR": "1", "TERM": "dumb", **environment}
    done = CliRunner(env=env).invoke(app, [*words, "--config", str(config)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Result(done.exit_code, done.stdout, done.stderr)


def at_terminal(*words: str, answer: bytes = b"", **environment: str) -> tuple[int, str]:
    """The exit code, and what somebody sees who types this and ``answer``."""
    ours, theirs = os.openpty()
    env = {key: value for key, value in os.environ.items() if not key.startswith("GATE_")}
    os.write(ours, answer)
    child = subprocess.Popen(
        [sys.executable, "-m", "gate", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm", "NO_COLOR": "1", **environment},
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while more := os.read(ours, 65536):
            seen += more
    os.close(ours)
    return child.wait(60), seen.decode().replace("\r\n", "\n")


def ordered(gate: Listener, room: str = "checkout") -> RoomOrders:
    assert gate.backend is not None
    return gate.backend.orders.room(room)


def test_status(gate: Listener) -> None:
    shown = run(gate, "status")
    assert shown.code == 0
    assert re.search(r"checkout +auto +1284 +412/500 +4210/5494 +3.4/20 +– +120/minute", shown.out)
    assert "normal" in shown.out
    assert re.search(r"Inside +Serving +Tokens", shown.out)
    found = json.loads(run(gate, "status", "--json").out)
    assert found["rooms"][0]["waiting"] == 1284
    gate.beat(store_up=False)
    assert "! The store does not answer" in run(gate, "status").out


def test_who_enters_without_a_line_is_shown(gate: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.core.line.RATE_LEAST", 0.01)
    gate.beat(rooms={"checkout": RoomBeat(admitted=100)})
    eventually(lambda: re.search(r"checkout +auto +0 .* 0 +120/minute", run(gate, "status").out), what="nobody enters")
    assert 'gate_admitted_per_second{room="checkout"} 0.0' in gate.api("GET", "/metrics", token=None).text
    assert 'gate_admitted_per_second{room="drop"}' not in gate.api("GET", "/metrics", token=None).text
    gate.beat(rooms={"checkout": RoomBeat(admitted=150)})
    eventually(lambda: re.search(r"checkout +auto +0 .* [1-9]\d* +120/minute", run(gate, "status").out), what="50 have entered")


def test_top(gate: Listener) -> None:
    shown = run(gate, "top", "--count", "2", "--every", "0.2")
    assert shown.code == 0
    assert "checkout" in shown.out
    assert shown.out.endswith("\n")


def test_a_room(gate: Listener) -> None:
    shown = run(gate, "room", "checkout")
    assert re.search(r"Mode +auto", shown.out)
    assert re.search(r"Serving +4210 of 5494", shown.out)
    assert ordered(gate) == RoomOrders()
    words = ("hold", "--rate", "60/minute", "--burst", "5", "--active", "0", "--message", "Häuser [b]")
    shown = run(gate, "room", "checkout", *words)
    assert re.search(r"Mode +hold  \(set by hand\)", shown.out)
    assert re.search(r"Most inside +no cap  \(set by hand\)", shown.out)
    assert "Häuser [b]" in shown.out
    assert ordered(gate) == RoomOrders(RoomMode.HOLD, "60/minute", 5, 0, "Häuser [b]")
    run(gate, "room", "checkout", "--rate", "config")
    assert ordered(gate) == RoomOrders(RoomMode.HOLD, None, 5, 0, "Häuser [b]")
    run(gate, "room", "checkout", "--message", "")
    assert ordered(gate).message == ""
    assert json.loads(run(gate, "room", "checkout", "auto", "--json").out)["mode"] == "auto"


def test_every_setting_of_a_room_is_given_back_to_the_config_by_the_same_word(gate: Listener) -> None:
    words = {"--rate": "60/minute", "--burst": "5", "--active": "0", "--session": "15m", "--message": "Häuser"}
    run(gate, "room", "checkout", *(word for pair in words.items() for word in pair))
    assert ordered(gate) == RoomOrders(rate="60/minute", burst=5, active=0, session="15m", message="Häuser")
    done = run(gate, "room", "checkout", *(word for option in words for word in (option, "config")))
    assert (done.code, done.err) == (0, "")
    assert ordered(gate) == RoomOrders()
    for option, text in (("--burst", "0"), ("--burst", "many"), ("--active", "-1"), ("--active", "1.5")):
        done = run(gate, "room", "checkout", option, text)
        assert (done.code, done.out) == (2, "")
        assert f"Invalid value for '{option}': {text!r} is" in done.err
        assert "or 'config'" in done.err


def test_session_and_stock_of_a_room(gate: Listener) -> None:
    shown = run(gate, "room", "checkout", "--session", "15m", "--left", "7")
    assert re.search(r"Session +15m  \(set by hand\)", shown.out)
    assert re.search(r"Left to sell +7  \(set by hand\)", shown.out)
    assert "only 7 left to sell" in shown.out
    assert ordered(gate) == RoomOrders(session="15m", left=7)
    assert "left to sell 7" in run(gate, "status").out
    shown = run(gate, "room", "checkout", "--left", "0")
    assert re.search(r"Left to sell +0 \(sold out\)", shown.out)
    assert "sold out" in run(gate, "status").out
    run(gate, "room", "checkout", "--left", "shop", "--session", "config")
    assert ordered(gate) == RoomOrders()
    assert "'many' is not a whole number; write 0 or more, or 'shop'" in run(gate, "room", "checkout", "--left", "many").err


def test_a_sale(gate: Listener) -> None:
    now = time.time()
    sale = f'opens: "{format_instant(now + 7270)}", order: random, maximum: 50000, groups: {{members: {{share: 30%}}}}'
    gate.config.write_text(gate.config.read_text().replace("10/second}", f"10/second, {sale}}}"))
    gate.stop()
    gate.start()
    gate.beat(rooms={"drop": RoomBeat(last=900, waiting=900, commitment="ab" * 32)})
    shown = run(gate, "room", "drop")
    assert re.search(r"Opens +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \(in 2 h 1 min\)", shown.out)
    assert re.search(f"Draw +not yet, commitment {'ab' * 32}", shown.out)
    assert re.search(r"Longest line +50000", shown.out)
    assert re.search(r"Groups +members 0 waiting \(30%\)", shown.out)
    brief = "opens in 2 h 1 min; draw not yet; longest line 50000; groups members 0 waiting (30%)"
    assert re.search(rf"drop +{re.escape(brief)}", run(gate, "status").out)
    assert brief in run(gate, "top", "--count", "1").out
    gate.beat(rooms={"drop": RoomBeat(drawn=812, commitment="ab" * 32, seed="cd" * 32)})
    assert f"of 812, seed {'cd' * 32}, commitment {'ab' * 32}" in run(gate, "room", "drop", COLUMNS="250").out


def test_seed_and_commitment_are_never_cut_off_or_broken(gate: Listener) -> None:
    gate.beat(rooms={"drop": RoomBeat(drawn=812, commitment="ab" * 32, seed="cd" * 32)})
    eventually(lambda: "812 drawn" in run(gate, "audit").out, what="the draw is in the audit")
    for command in ("audit", "room drop"):
        words = [*command.split(), "--config", str(gate.config)]
        for shown in (run(gate, *command.split(), COLUMNS="60").out, at_terminal(*words, COLUMNS="60")[1]):
            assert "ab" * 32 in shown
            assert "cd" * 32 in shown


def test_in_a_pipe_no_line_is_broken(gate: Listener) -> None:
    gate.beat(store_up=False)
    shown = run(gate, "status", COLUMNS="40").out
    assert re.search(r"^checkout +auto +1284 .*120/minute$", shown, re.MULTILINE)
    assert re.search(r"^! The store does not answer.*keeps its order\.$", shown, re.MULTILINE)


def test_top_is_for_a_terminal(gate: Listener) -> None:
    done = run(gate, "top")
    assert (done.code, done.out) == (2, "")
    assert "gate top needs a terminal; `gate status`" in done.err
    assert "checkout" in at_terminal("top", "--count", "1", "--config", str(gate.config))[1]


def test_what_a_change_does_to_the_wait_is_said_before_and_after(gate: Listener) -> None:
    tried = run(gate, "room", "checkout", "--rate", "240/minute", "--dry-run")
    assert tried.code == 0
    minutes = r"\d+ to \d+ minutes"
    assert re.match(rf"Wait of a newcomer: {minutes} \(without the change: {minutes}\)\.\n", tried.out)
    assert re.search(r"the line would be empty between \d\d:\d\d and \d\d:\d\d UTC", tried.out)
    assert ordered(gate) == RoomOrders()
    as_json = json.loads(run(gate, "room", "checkout", "--rate", "240/minute", "--dry-run", "--json").out)
    assert as_json["after"]["last"]["high"] < as_json["before"]["last"]["high"]
    done = run(gate, "room", "checkout", "--rate", "240/minute")
    assert tried.out.splitlines()[0] in done.out
    assert ordered(gate).rate == "240/minute"
    assert "Nothing to try" in run(gate, "room", "checkout", "--dry-run").err
    assert "There is no room 'nope'" in run(gate, "room", "nope", "hold", "--dry-run").err


def test_a_command_waits_until_the_order_is_in_force(gate: Listener) -> None:
    gate.beat(orders=0)
    follow = threading.Timer(0.5, lambda: gate.beat(orders=1))
    follow.start()
    done = run(gate, "fallback", "on")
    assert (done.code, done.err) == (0, "")
    assert all(worker["version"] == 1 for worker in gate.api("GET", "/api/v1/status").json()["workers"])
    follow.join()
    done = run(gate, "fallback", "off")  # nobody follows any more
    assert (done.code, done.err) == (
        0,
        "The order is given and kept, but worker 0 does not follow it yet; see `gate status`.\n",
    )
    (gate.state / "run" / "worker-0.json").unlink()
    assert "no worker is alive to follow it" in run(gate, "fallback", "auto").err


def test_explain_tells_what_the_running_gate_would_do(gate: Listener) -> None:
    def now(*words: str) -> Any:
        gate.beat()
        return json.loads(run(gate, "explain", *words, "--json").out)["now"]

    def decided(*words: str) -> dict[str, str]:
        return {told["when"]: told["decision"] for told in now(*words)["decisions"]}

    assert decided("/checkout") == {
        "a newcomer now": "wait; room=checkout; reason=line",
        "a visitor with a pass now": "forward; room=checkout; reason=pass",
    }
    run(gate, "room", "checkout", "hold", "--rate", "60/minute", "--burst", "2")
    assert decided("GET", "/checkout")["a newcomer now"] == "wait; room=checkout; reason=hold"
    assert now("/checkout")["orders"] == ["mode hold", "rate 60/minute", "by hand also burst", "fallback auto", "shedding auto"]
    run(gate, "room", "checkout", "--left", "0")
    assert decided("/checkout")["a newcomer now"] == "closed; room=checkout; reason=sold-out"
    run(gate, "fallback", "on")
    assert decided("/about") == {"any visitor": "fallback; reason=ordered"}
    assert re.search(r"The gate as it runs .*fallback on", run(gate, "explain", "/about").out)


def test_the_switches(gate: Listener) -> None:
    assert gate.backend is not None
    assert run(gate, "fallback", "on").out == "fallback on: the page is shown\n"
    assert gate.backend.orders.fallback is Switch.ON
    assert run(gate, "shed", "2").out == "shedding 2: level 2\n"
    assert gate.backend.orders.shedding is Shedding.NORMAL
    assert json.loads(run(gate, "fallback", "auto", "--json").out) == {"mode": "auto", "on": False}
    assert json.loads(run(gate, "shed", "off", "--json").out) == {"mode": "off", "level": 0}
    assert run(gate, "shed", "3").code == 2
    shown = run(gate, "audit")
    assert "local" in shown.out
    assert "shedding: auto → 2" in shown.out
    entries = json.loads(run(gate, "audit", "--json", "--limit", "2").out)
    assert [entry["what"] for entry in entries] == ["shedding: 2 → off", "fallback: on → auto"]


def test_mistakes(gate: Listener) -> None:
    for words, part in (
        (("room", "nope"), "There is no room 'nope'; the config has: checkout, drop"),
        (("room", "nope", "hold"), "There is no room 'nope'; the config has: checkout, drop"),
        (("room", "a/../b?c#d", "hold"), ""),
        (("room", "checkout", "--rate", "often"), "rate: 'often' is not a rate"),
        (("room", "checkout", "--message", "x" * 501), "message: "),
    ):
        done = run(gate, *words)
        assert (done.code, done.out) == (1, ""), words
        assert part in done.err
    assert ordered(gate) == RoomOrders()


def test_a_token_from_elsewhere(gate: Listener) -> None:
    (gate.state / "local.token").unlink()
    done = run(gate, "status")
    assert done.code == 1
    assert "GATE_TOKEN" in done.err
    assert run(gate, "status", GATE_TOKEN=gate.viewer).code == 0
    done = run(gate, "fallback", "on", GATE_TOKEN=gate.viewer)
    assert done.code == 1
    assert "viewer" in done.err
    done = run(gate, "status", GATE_TOKEN="wrong")
    assert done.code == 1
    assert "does not know this credential" in done.err
    assert "wrong" not in done.err


def test_a_proxy_in_the_environment_never_sees_the_token(gate: Listener) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    assert run(gate, "status", http_proxy=proxy, HTTP_PROXY=proxy, all_proxy=proxy).code == 0


def test_no_gate_there(tmp_path: Path) -> None:
    config = tmp_path / "gate.yaml"
    port = free_port()
    config.write_text(
        f'operator: {{listen: "0.0.0.0:{port}"}}\nstate: {tmp_path / "s"}\norigin: {{servers: ["http://127.0.0.1:9"]}}\n'
    )
    done = run(config, "status")
    assert done.code == 1
    assert "No gate has run here" in done.err
    assert f"gate serve --config {config}" in done.err
    Operators(tmp_path / "s").start()
    for words in (("status",), ("top", "--count", "1"), ("fallback", "on"), ("export-emails",), ("room", "x", "hold")):
        done = run(config, *words)
        assert (done.code, done.out) == (1, "")
        assert f"No gate answers at http://127.0.0.1:{port} (Connection refused)" in done.err
        assert str(config) in done.err
    (tmp_path / "s" / "local.token").chmod(0o644)
    assert "chmod 600" in run(config, "status").err


def test_a_broken_config(tmp_path: Path) -> None:
    config = tmp_path / "gate.yaml"
    config.write_text("rooms: [")
    done = run(config, "status")
    assert done.code == 1
    assert str(config) in done.err
    assert "Traceback" not in done.err
    assert run(tmp_path / "missing.yaml", "status").code == 1


def test_something_else_listens_there(tmp_path: Path) -> None:
    import http.server
    import threading

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        config = tmp_path / "gate.yaml"
        config.write_text(f'operator: {{listen: "127.0.0.1:{server.server_port}"}}\nstate: {tmp_path / "s"}\n')
        Operators(tmp_path / "s").start()
        done = run(config, "status")
        assert done.code == 1
        assert "does something else listen there?" in done.err
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_emails(gate: Listener, tmp_path: Path) -> None:
    from gate.web.emails import Emails

    emails = Emails(gate.state / "emails.db")
    emails.add("ann@example.com")
    emails.close()
    assert "ann@example.com" in run(gate, "export-emails").out
    out = tmp_path / "emails.csv"
    done = run(gate, "export-emails", "--out", str(out))
    assert done.err == f"1 address in {out}\n"
    assert "ann@example.com" in out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600
    done = run(gate, "export-emails", "--out", str(tmp_path / "no" / "where.csv"))
    assert done.code == 1
    assert "No such file" in done.err


def test_keys(gate: Listener) -> None:
    assert "makes one when it first starts" in run(gate, "keys", "list").err
    assert "makes one when it first starts" in run(gate, "keys", "rotate").err
    ring = keys.ensure_keyring(gate.state)
    done = run(gate, "keys", "rotate")
    assert re.fullmatch(r"key [0-9a-f]{8} signs from .* UTC, when every worker knows it\n", done.out)
    rows = json.loads(run(gate, "keys", "list", "--json").out)
    assert [row["signs"] for row in rows] == [False, True]
    assert [row["until"] is None for row in rows] == [True, False]
    assert "not yet" in run(gate, "keys", "list").out
    secret = ring.newest.secret
    for words in (("list",), ("list", "--json"), ("show", "--purpose", "origin")):
        out = run(gate, "keys", *words).out
        assert secret.hex() not in out
    assert ring.newest.derive("origin").hex() in run(gate, "keys", "show", "--purpose", "origin").out
    assert (
        json.loads(run(gate, "keys", "show", "--purpose", "pass", "--json").out)[1]["key"] == ring.newest.derive("pass").hex()
    )
    assert run(gate, "keys", "show", "--purpose", "ticket").code == 1
    while len(keys.load(gate.state).listed) < keys.MOST:
        keys.rotate(gate.state)
    assert "none can make room for another" in run(gate, "keys", "rotate").err
    done = run(gate, "keys", "rotate", "--compromised")  # nobody is there to be asked
    assert (done.code, done.out) == (2, "")
    assert "become void: 1284 wait, 412 are inside" in done.err
    assert len(keys.load(gate.state).listed) == keys.MOST
    done = run(gate, "keys", "rotate", "--compromised", "--yes")
    void = r"All tickets, passes and invitations are void: 1284 waited, 412 were inside\."
    assert re.fullmatch(rf"key [0-9a-f]{{8}} signs from now\n{void}\n", done.out)
    assert len(json.loads(run(gate, "keys", "list", "--json").out)) == 1


def test_dropping_all_keys_is_asked_for_twice(tmp_path: Path) -> None:
    config = tmp_path / "gate.yaml"
    config.write_text(f'state: {tmp_path / "s"}\norigin: {{servers: ["http://127.0.0.1:9"]}}\n')
    before = keys.ensure_keyring(tmp_path / "s").newest.id

    words = ("keys", "rotate", "--compromised", "--config", str(config))
    code, said = at_terminal(*words, answer=b"n\n")
    assert code == 1
    assert "become void. Go on? [y/N]:" in said
    assert [entry.key.id for entry in keys.load(tmp_path / "s").listed] == [before]
    code, said = at_terminal(*words, answer=b"y\n")
    (entry,) = keys.load(tmp_path / "s").listed
    assert entry.key.id != before
    assert code == 0
    assert said.endswith(f"key {entry.key.id} signs from now\nAll tickets, passes and invitations are void.\n")


def test_what_is_done_to_keys_and_operators_is_in_the_audit(gate: Listener) -> None:
    keys.ensure_keyring(gate.state)
    run(gate, "shed", "1")
    run(gate, "operators", "add", "ann")
    run(gate, "operators", "remove", "ann")
    run(gate, "operators", "add", "ann")
    run(gate, "operators", "add", "ann")  # exists: nothing is done
    run(gate, "keys", "rotate")
    run(gate, "keys", "rotate", "--compromised", "--yes")
    entries = json.loads(run(gate, "audit", "--json").out)
    assert {entry["who"] for entry in entries} == {"local"}
    *rotated, added, removed, first, order = [
        re.sub("key [0-9a-f]{8} signs from [-0-9: ]* UTC", "key", e["what"]) for e in entries
    ]
    assert rotated == ["key; all others are dropped", "key"]
    assert (first, removed, added) == ("operator ann added, role viewer", "operator ann removed", first)
    assert order == "shedding: auto → 1"
    assert "operator ann removed" in run(gate, "audit").out


def test_operators(gate: Listener) -> None:
    done = run(gate, "operators", "add", "ann", "--role", "operator")
    token = done.out.strip()
    assert "not shown again" in done.err
    assert gate.api("GET", "/api/v1/status", token=token).status == 200
    rows = json.loads(run(gate, "operators", "list", "--json").out)
    assert [(row["name"], row["role"]) for row in rows][-1] == ("ann", "operator")
    shown = run(gate, "operators", "list")
    assert re.search(r"vera +viewer", shown.out)
    assert token not in shown.out
    assert "exists" in run(gate, "operators", "add", "ann").err
    assert run(gate, "operators", "remove", "ann").code == 0
    assert gate.api("GET", "/api/v1/status", token=token).status == 401
    assert run(gate, "operators", "remove", "ann").code == 1
    assert Operators(gate.state).list()[0].role is Role.OPERATOR


@pytest.mark.parametrize("words", [("status",), ("audit",), ("room", "checkout"), ("keys", "list"), ("operators", "list")])
def test_every_reading_command_speaks_json(gate: Listener, words: Any) -> None:
    keys.ensure_keyring(gate.state)
    json.loads(run(gate, *words, "--json").out)
    assert "GATE_TOKEN" not in os.environ
