"""The alert rules and the dashboard in config/: about metrics that exist, with labels they have and runbooks that are there."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from gate.core.decision import Decision
from gate.core.orders import Orders
from gate.core.words import Outcome, Reason
from gate.heartbeat import RoomBeat
from gate.status import gather
from gate.web.metrics import Meter, exposition
from tests.operator.test_heartbeat import BEAT, NOW, SALE, SETTINGS

ROOT = Path(__file__).parents[2]
(GROUP,) = YAML(typ="safe").load((ROOT / "config/alerts.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every sample that a gate exports, with the names of its labels."""
    directory = tmp_path_factory.mktemp("metrics")
    meter = Meter(directory, ["checkout"])
    meter.decided(Decision(Outcome.FORWARD, Reason.BYPASS, room="checkout"))
    meter.flush()
    found: dict[str, set[str]] = {}
    for settings in (SETTINGS, SALE):
        beat = replace(BEAT, rooms={name: RoomBeat(left=1) for name in settings.rooms})
        status = gather(
            settings, Orders(), [beat], now=NOW, gate="1", stored=True, refused=False, problems=[], entering={"checkout": 1.5}
        )
        for family in text_string_to_metric_families(exposition(directory, status).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    meter.close()
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_about_what_there_is(rule: dict[str, Any], samples: dict[str, set[str]]) -> None:
    names = set(re.findall(r"\bgate_\w+", rule["expr"]))
    assert names
    assert names <= set(samples)
    told = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert all(told <= samples[name] for name in names)
    headings = [
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
        for line in (ROOT / "docs/operations.md").read_text().splitlines()
        if line.startswith("###")
    ]
    assert rule["annotations"]["runbook"] in headings
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_a_breaker_counts_as_open_until_a_probe_has_closed_it(tmp_path: Path) -> None:
    """Or the alert would begin anew with each time that it waits for a request."""
    for state, value in (("closed", 0.0), ("half-open", 1.0), ("open", 1.0)):
        beat = replace(BEAT, breakers={"/x": state})
        status = gather(SETTINGS, Orders(), [beat], now=NOW, gate="1", stored=True, refused=False, problems=[], entering={})
        assert f'gate_breaker_open{{route="/x"}} {value}' in exposition(tmp_path, status).decode()


def test_the_dashboard_shows_what_there_is(samples: dict[str, set[str]]) -> None:
    found = json.loads((ROOT / "config/dashboard.json").read_text())
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    shown = [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]
    shown += [(variable["query"], "") for variable in found["templating"]["list"] if variable["type"] == "query"]
    for expr, legend in shown:
        names = set(re.findall(r"\bgate_\w+", expr))
        assert names
        assert names <= set(samples), expr
        used = set(re.findall(r"{{(\w+)}}", legend)) | set(re.findall(r"(\w+)=", expr)) | by(expr)
        assert all(used - {"instance"} <= samples[name] for name in names), (expr, used)
        assert expr.count("(") == expr.count(")")
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def by(expr: str) -> set[str]:
    """Labels that are grouped by."""
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expr) for label in labels.split(",")}
