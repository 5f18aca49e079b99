"""gate check, gate explain and gate schema, as they are typed."""

import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gate import resources
from gate.commands import check, explain, schema
from gate.config import reference
from gate.core.instants import format_instant, format_moment
from gate.core.line import RoomState
from gate.store.memory import ROOMS_FILE, Memory

app = typer.Typer()
for _module in (check, explain, schema):
    _module.register(app)

CONFIG = """\
hosts: [shop.example]
rooms:
  checkout:
    match: [/checkout/**, POST /cart/add]
    rate: 120/minute
    bypass: [{address: 203.0.113.0/24}, {header: {X-Monitor: s3cret}}]
  quiet: {match: /quiet, rate: 1/minute, shadow: true}
limits:
  - {match: /search, rate: 20/minute}
  - {match: /checkout/pay, rate: 5/minute, by: pass}
routes:
  - {match: /reviews/**, class: sheddable, fallback: {status: 204}}
  - {match: /checkout/rates, breaker: {}, fallback: {json: {rate: 7.99}}}
"""


@pytest.fixture
def run(write, tmp_path):
    write(CONFIG)

    def run(*arguments: str):
        return CliRunner(env={"HOME": str(tmp_path), "COLUMNS": "200"}).invoke(app, list(arguments))

    return run


def decisions(result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    return {item["when"]: item["decision"] for item in json.loads(result.output)["decisions"]}


def test_check_says_fine_and_what_it_saw(run):
    result = run("check")
    assert result.exit_code == 0
    assert result.stdout == "gate.yaml: fine (2 rooms, 2 limits, 2 routes, 1 origin server)\n"
    assert result.stderr == ""


def test_check_reports_everything_and_fails(run, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("workers: 0\nlisten: 1\n")
    result = run("check", str(bad))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.rpartition("bad.yaml:")[2][:2] for line in result.stderr.splitlines()] == ["1:", "2:", " 2"]
    found = json.loads(run("check", "--config", str(bad), "--json").stdout)
    assert found["ok"] is False
    assert [problem["path"] for problem in found["problems"]] == ["workers", "listen"]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (
            "workers: 2\nedge:\n  trust:\n    - 10.0.0.0/8\n    - cloudfront\n",
            "5: edge.trust[1]",
            "gate edge refresh cloudfront",
        ),
        ("workers: 2\nbrand:\n  logo: logo.svg\n", "3: brand.logo", "neither SVG nor PNG"),
        ("workers: 2\nbrand:\n  languages: [en, xx]\n", "3: brand.languages", "xx"),
        ("fallback:\n  page: page.html\n", "2: fallback.page", "Expected an expression"),
        (
            "routes:\n  - match: /a\n  - match: /b\n    breaker: {}\n    fallback: {text: x, headers: {Content-Length: '5'}}\n",
            "5: routes[1].fallback.headers",
            "cannot be set",
        ),
        ("workers: 2\ntls: {certificate: logo.svg, key: logo.svg}\n", "2: tls", "both are PEM"),
    ],
)
def test_what_no_worker_could_be_made_of_is_a_mistake(run, tmp_path, text, place, says):
    (tmp_path / "logo.svg").write_text("this is no picture")
    (tmp_path / "page.html").write_text("{# floodgate template #}{% for %}{{ brand }}")
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    result = run("check", str(bad))
    assert result.exit_code == 1, result.stdout
    (problem, _) = result.stderr.splitlines()
    assert f"bad.yaml:{place}: " in problem
    assert says in problem


def test_a_warning_is_shown_and_passes(run, tmp_path):
    doubtful = tmp_path / "doubtful.yaml"
    doubtful.write_text("operator: {listen: 0.0.0.0:8081}\n")
    result = run("check", str(doubtful))
    assert result.exit_code == 0
    assert "warning: operator.listen" in result.stdout


def test_a_bucket_that_is_full_before_anybody_can_come_is_doubted(run, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text(
        "rooms:\n  a: {match: /a, rate: 15000/minute, burst: 1}\n  b: {match: /b, rate: 15000/minute, burst: 13}\n"
        "  c: {match: /c, rate: 15000/minute}\n"
    )
    warning, fine = run("check", str(small)).stdout.splitlines()
    assert ":2: warning: rooms.a.burst: a burst of 1 is full before the next in line can come" in warning
    assert warning.endswith("write 250, a second of it")
    assert "fine (3 rooms" in fine


def test_a_time_that_is_past_is_doubted(run, tmp_path):
    late = tmp_path / "late.yaml"
    room = "{{match: /{0}, rate: 1/minute, opens: {1}-11-27T11:00:00Z, closes: {2}-11-27T12:00:00Z, order: {3}}}"
    rooms = [(2020, 2020, "random"), (2020, 2999, "random"), (2020, 2999, "fifo"), (2999, 2999, "fifo")]
    late.write_text("rooms:\n" + "".join(f"  r{i}: {room.format(i, *of)}\n" for i, of in enumerate(rooms)))
    result = run("check", str(late))
    assert result.exit_code == 0
    over, drawn, open_, far, *times, fine = result.stdout.splitlines()
    assert ":2: warning: rooms.r0.closes: Fri 27 Nov 2020 12:00 UTC was " in over
    assert "the sale is over" in over
    assert ":3: warning: rooms.r1.opens: Fri 27 Nov 2020 11:00 UTC was " in drawn
    assert "first come, first served" in drawn
    assert ":4: warning: rooms.r2.opens: Fri 27 Nov 2020 11:00 UTC was " in open_
    assert "the room is open at once" in open_
    assert ":5: warning: rooms.r3.opens: Wed 27 Nov 2999 11:00 UTC is in " in far
    assert "is the year right?" in far
    assert len(times) == 8
    assert "fine (4 rooms" in fine


def test_a_time_to_come_is_told_as_it_was_read(run, tmp_path):
    """In UTC and from now: whoever meant another zone sees it."""
    opens = datetime.fromtimestamp(int(time.time()) + 5 * 86400 + 1800, UTC)
    sale = tmp_path / "sale.yaml"
    local = opens.astimezone(timezone(timedelta(hours=-8))).strftime("%Y-%m-%dT%H:%M:%S-08:00")
    sale.write_text(f"rooms:\n  drop: {{match: /d, rate: 1/minute, opens: {local}}}\n")
    result = run("check", str(sale))
    times, fine = result.stdout.splitlines()
    assert times == f"drop opens {format_moment(opens.timestamp())} (in 5 days)"
    assert "fine (1 room" in fine
    told = json.loads(run("check", str(sale), "--json").stdout)["times"]
    assert told == [{"room": "drop", "what": "opens", "at": format_instant(opens.timestamp())}]


def test_a_draw_that_will_not_come_is_doubted(run, tmp_path):
    """The room has had one, by what the workers on this machine remember."""
    state = tmp_path / "state"
    state.mkdir()
    memory = Memory(state / ROOMS_FILE)
    memory.saw("again", RoomState(last=80, drawn=80, seed="ab" * 32))
    memory.saw("promised", RoomState(last=80, drawn=0, seed="ab" * 32))
    memory.saw("fifo", RoomState(last=80, drawn=80, seed="ab" * 32))
    memory.save()
    sale = tmp_path / "sale.yaml"
    opens = format_instant(time.time() + 86400)
    rooms = [("again", "random"), ("promised", "random"), ("fifo", "fifo"), ("new", "random")]
    lines = [f"  {name}: {{match: /{name}, rate: 1/minute, opens: {opens}, order: {order}}}" for name, order in rooms]
    sale.write_text(f"state: {state}\nrooms:\n" + "\n".join(lines) + "\n")
    result = run("check", str(sale))
    assert result.exit_code == 0
    warning, *_, fine = result.stdout.splitlines()
    assert result.stdout.count("warning") == 1
    assert ":3: warning: rooms.again.opens: the room has had its draw (of 80), and a room is drawn once: " in warning
    assert "give the room another name" in warning
    assert "fine (4 rooms" in fine


def test_explain_of_a_guarded_path_tells_newcomer_from_pass_holder(run):
    found = decisions(run("explain", "/checkout/pay", "--json"))
    assert found == {
        "a newcomer, and a token is free": "forward; room=checkout; reason=admitted",
        "a newcomer, and others wait": "wait; room=checkout; reason=line",
        "a visitor with a pass": "forward; room=checkout; reason=pass",
        "a newcomer, and the room's mode is hold": "wait; room=checkout; reason=hold",
        "a newcomer, and the room's mode is closed": "closed; room=checkout; reason=room-closed",
        "a newcomer, and the store is away": "wait; room=checkout; reason=store",
        "a client that has used up a limit": "limit; reason=rate-limit",
        "let in, but overload is at level 1": "forward; room=checkout; reason=pass",
        "let in, but overload is at level 2": "forward; room=checkout; reason=pass",
        "the shop is down": "fallback; reason=origin-down",
    }


def test_explain_names_the_rules_as_in_the_file(run):
    found = json.loads(run("explain", "https://shop.example/checkout/rates?x=1", "--json").stdout)
    assert found["request"] == "GET https://shop.example/checkout/rates"
    assert found["room"] == "rooms.checkout: 120/minute"
    assert found["route"] == "routes[1]: /checkout/rates (class critical)"
    assert found["limits"] == []
    assert {"when": "let in, but the route's breaker is open", "decision": "fallback; room=checkout; reason=breaker"} in found[
        "decisions"
    ]
    text = run("explain", "/search").stdout
    assert "limits[0]: 20/minute by address" in text
    assert "room        none" in text


def test_explain_takes_a_method_before_the_address(run):
    assert run("explain", "post", "/cart/add", "--json").stdout == run("explain", "/cart/add", "-X", "POST", "--json").stdout
    for words in (["a", "b", "/c"], ["POST", "/c", "-X", "GET"], ["/a", "/b"]):
        result = run("explain", *words)
        assert result.exit_code == 2
        assert "write one request" in " ".join(result.stderr.replace("│", " ").split())


def test_explain_of_a_sale_tells_its_hours(run, write):
    sale = "opens: 2026-11-27T11:00:00Z, closes: 2026-11-27T12:00:00Z, order: random, maximum: 5}"
    write(CONFIG.replace("shadow: true}", "shadow: true}\n  drop: {match: /drop, rate: 1/second, " + sale))
    found = decisions(run("explain", "/drop", "--json"))
    assert found["a newcomer, and a token is free"] == "forward; room=drop; reason=admitted"
    assert found["a newcomer, before the room opens"] == "wait; room=drop; reason=not-open"
    assert found["a newcomer, after the room closes"] == "closed; room=drop; reason=sale-over"
    assert found["a newcomer, and the line is full"] == "closed; room=drop; reason=line-full"
    assert found["a newcomer, and nothing is left"] == "closed; room=drop; reason=sold-out"


def test_explain_without_a_running_gate_tells_the_rules_alone(run):
    assert json.loads(run("explain", "/checkout", "--json").stdout)["now"] is None


def test_explain_looks_at_method_address_and_headers(run):
    assert "any visitor" in decisions(run("explain", "/cart/add", "--json"))
    assert "a visitor with a pass" in decisions(run("explain", "/cart/add", "-X", "post", "--json"))
    by_rule = "this visitor, by a bypass rule"
    assert decisions(run("explain", "/checkout", "--from", "203.0.113.9", "--json"))[by_rule].endswith("reason=bypass")
    assert by_rule in decisions(run("explain", "/checkout", "-H", "X-Monitor: s3cret", "--json"))
    assert by_rule not in decisions(run("explain", "/checkout", "-H", "X-Monitor: wrong", "--json"))


def test_explain_of_a_room_that_only_watches(run):
    assert decisions(run("explain", "/quiet", "--json"))["a newcomer, and others wait"].endswith("reason=shadow")


@pytest.mark.parametrize(
    ("arguments", "decision"),
    [
        (["/__gate/live"], "own; reason=endpoint"),
        (["/a/../checkout"], "refuse; reason=malformed"),
        (["/%zz"], "refuse; reason=malformed"),
        (["https://other.example/"], "refuse; reason=host"),
        (["/", "-X", "TRACE"], "refuse; reason=method"),
    ],
)
def test_explain_of_what_no_rule_applies_to(run, arguments, decision):
    assert decisions(run("explain", *arguments, "--json")) == {"always": decision}


def test_explain_sees_a_disguised_path_as_the_rules_do(run):
    for url in ("/CHECKOUT", "//checkout/x", "/check%6fut", "/checkout;jsessionid=1/pay", "https://shop.example//checkout#top"):
        assert "a visitor with a pass" in decisions(run("explain", url, "--json")), url


@pytest.mark.parametrize("arguments", [["ftp://shop.example/"], ["/", "--from", "here"], ["/", "-H", "nonsense"]])
def test_explain_of_no_request_at_all_is_a_usage_error(run, arguments):
    result = run("explain", *arguments)
    assert result.exit_code == 2
    assert "write" in result.stderr


def test_explain_with_a_broken_config_says_what_is_wrong(run, write):
    write("workers: 0\n")
    result = run("explain", "/")
    assert result.exit_code == 1
    assert "workers: 0 is out of range" in result.stderr


def test_schema_is_the_file_that_travels_with_the_package(run):
    result = run("schema")
    assert result.exit_code == 0
    assert result.stdout == resources.config("gate.schema.json").read_text(), "run: python -m gate.config.reference"


def test_the_reference_in_the_documentation_is_the_model_s():
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert page == reference.inserted(page), "run: python -m gate.config.reference"
    assert page.count("### `rooms.<name>`") == 1


def test_the_tables_can_be_printed(run):
    assert "| `max_fields` | whole number > 0 | `100` |" in run("schema", "--markdown").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("room checkout --burst 0", "Invalid value for '--burst': '0' is out of range; write at least 1"),
        ("room checkout --burst x", "Invalid value for '--burst': 'x' is not a whole number"),
        ("room checkout shut", "Invalid value for 'mode': 'shut' is not one of 'auto', 'open', 'hold', 'closed'"),
        ("shed 3", "Invalid value for 'mode': '3' is not one of 'auto', 'off', '1', '2'"),
        ("operators add anna --role boss", "Invalid value for '--role': 'boss' is not one of 'viewer', 'operator'"),
        ("simulate checkout --visitors many", "Invalid value for '--visitors': 'many' is not a whole number"),
        ("serve --workers 0", "Invalid value for '--workers': '0' is out of range; write at least 1"),
        ("explain http://[", "'http://[' is no web address; write https://shop.example/checkout"),
        ("verify-draw --seed 00 --drawn 3", "say what to verify: --number, --all or --commitment"),
    ],
)
def test_a_mistake_at_the_command_line_is_told_in_plain_words(words, said):
    """As in the file: no 'Value error', no 'Input should be', no 'unable to parse'."""
    from gate import cli

    result = CliRunner(env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}).invoke(cli.app, words.split())
    assert result.exit_code == 2
    shown = " ".join(result.output.replace("│", " ").split())
    assert said in shown
    assert not re.search(r"Value error|Input|[Uu]nable|Invalid value: |Invalid IPv6", shown)
