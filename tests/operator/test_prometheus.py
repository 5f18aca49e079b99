"""Alert rules, dashboard and metrics before a real Prometheus: what it cannot read fails here, and not at night."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

from tests.operator.prometheus import MISSING, PROMETHEUS, PROMTOOL, ROOT
from tests.processes import Gate, Process, Shop, eventually, fetch, free_port, running

RULES = ROOT / "config/alerts.yaml"
UNIT = Path(__file__).with_name("alerts_test.yaml")
ALERTS = [rule["alert"] for group in YAML(typ="safe").load(RULES.read_text())["groups"] for rule in group["rules"]]
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None or PROMTOOL is None, reason=MISSING)


def promtool(*words: str, given: str | None = None) -> str:
    """What it says; fails when it does."""
    assert PROMTOOL is not None, MISSING
    done = subprocess.run([PROMTOOL, *words], input=given, capture_output=True, text=True, timeout=120)  # noqa: PLW1510 - below
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_prometheus
def test_prometheus_reads_every_rule() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))


@needs_prometheus
def test_every_rule_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(UNIT))


@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    cases = [
        bool(case["exp_alerts"])
        for test in YAML(typ="safe").load(UNIT.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert True in cases
    assert False in cases


class Prometheus:
    """A real one, which looks at ``gate`` every second."""

    def __init__(self, directory: Path, gate: Gate) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._directory, self._gate = directory, gate
        self._process: Process | None = None

    def start(self) -> None:
        config = self._directory / "prometheus.yaml"
        scrape = {"job_name": "gate", "static_configs": [{"targets": [self._gate.operator_url.removeprefix("http://")]}]}
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config.write_text(json.dumps({"global": every, "rule_files": [str(RULES)], "scrape_configs": [scrape]}))
        data, listen = f"--storage.tsdb.path={self._directory / 'data'}", self.url.removeprefix("http://")
        assert PROMETHEUS is not None, MISSING
        command = [PROMETHEUS, f"--config.file={config}", data, f"--web.listen-address={listen}"]
        self._process = Process("prometheus", command, self._directory)
        eventually(self._ready, 60, what="Prometheus is ready")

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.popen.poll() is None, self._process.tail()
        try:
            return fetch(self.url + "/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def ask(self, path: str) -> Any:
        reply = fetch(self.url + "/api/v1/" + path)
        found = reply.json()
        assert found["status"] == "success", (path, found)
        return found["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query?query=" + quote(expression, safe=""))["result"]
        return found

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, Prometheus]]:
    """A gate with something of everything that can be measured, and a Prometheus that has looked at it."""
    directory = tmp_path_factory.mktemp("watched")
    shop = Shop(directory)
    settings = {
        "origin": {"servers": [shop.url], "health": {"path": "/healthz", "every": "500ms"}},
        "rooms": {
            "checkout": {
                "match": "/checkout/**",
                "rate": "5/second",
                "burst": 5,
                "bypass": [{"header": {"X-Probe": "a secret"}}],
            },
            "drop": {
                "match": "/drop/**",
                "rate": "1/second",
                "order": "random",
                "opens": "2036-11-27T11:00:00Z",
                "closes": "2036-11-28T11:00:00Z",
                "maximum": 1000,
                "groups": {"members": {"share": "30%"}},
            },
        },
        "limits": [{"match": "/drop/**", "rate": "60/minute"}],
        "routes": [{"match": "/reviews/**", "breaker": {}, "fallback": {"status": 204}}],
    }
    gate = Gate(directory, settings)
    prometheus = Prometheus(directory, gate)
    with running(shop, gate):
        gate.api("PATCH", "/api/v1/rooms/drop", {"left": 100})
        for path, more in (("/checkout/", {}), ("/checkout/", {"X-Probe": "a secret"}), ("/drop/x", {}), ("/reviews/1", {})):
            fetch(gate.url + path, headers={"Accept": "text/html", **more})
        with running(prometheus):
            yield gate, prometheus


@needs_prometheus
@pytest.mark.slow
def test_prometheus_reads_the_metrics_of_a_gate(watched: tuple[Gate, Prometheus]) -> None:
    gate, prometheus = watched
    promtool("check", "metrics", given=fetch(gate.operator_url + "/metrics").text)
    eventually(lambda: prometheus.query("count_over_time(up[1m]) >= 3"), 60, what="it has looked three times")
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


@needs_prometheus
@pytest.mark.slow
def test_prometheus_finds_everything_that_the_dashboard_shows(watched: tuple[Gate, Prometheus]) -> None:
    _, prometheus = watched
    dashboard = json.loads((ROOT / "config/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$gate", ".*").replace("$room", ".*")
            eventually(lambda asked=expression: prometheus.query(asked), 60, what=f"{panel['title']}: {expression}")


@needs_prometheus
@pytest.mark.slow
def test_prometheus_evaluates_every_alert_rule(watched: tuple[Gate, Prometheus]) -> None:
    _, prometheus = watched

    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] != "unknown" for rule in rules()), 60, what="each has been evaluated")
    assert {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in rules()} == dict.fromkeys(ALERTS, ("ok", ""))
