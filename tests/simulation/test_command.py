"""`gate simulate`: what it prints, the page it draws, and what it says about mistakes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gate.cli import app
from tests.browser import flaws

CONFIG = """
rooms:
  checkout: {match: [/checkout/**], rate: 600/minute, burst: 20, active: 300}
  drop:
    {match: [/drop/**], rate: 300/minute, burst: 10, order: random, opens: 2026-11-27T11:00:00Z, closes: 2026-11-27T11:05:00Z}
"""
VOID = {"meta", "line", "path"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "gate.yaml").write_text(CONFIG)
    return tmp_path / "gate.yaml"


def run(config: Path, *words: str) -> "CliRunner.Result":
    return CliRunner().invoke(app, ["simulate", *words, "--config", str(config)])


SMALL = ("checkout", "--visitors", "1500", "--over", "1m", "--patience", "1m")


def test_the_table(config):
    done = run(config, *SMALL, "--what-if", "rate=300/minute", "--what-if", "store-dies")
    assert done.exit_code == 0, done.output
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "as planned" in done.stdout
    assert "rate 300/minute" in done.stdout
    assert "store away for 1m" in done.stdout
    assert lines["Visitors"].split()[1:] == ["1,500"] * 3
    assert lines["Beyond burst + rate x time"].split()[-3:] == ["nobody"] * 3
    assert "Wait, half of them" in lines


def test_no_figure_is_broken_into_two_lines_in_a_pipe(config):
    done = run(config, *SMALL, *("--what-if", "rate=300/minute") * 4)
    names, *lines = done.stdout.splitlines()
    assert names.split() == ["as", "planned", *4 * ["rate", "300/minute"]]
    [peaks] = [line for line in lines if line.startswith("Longest line ")]
    assert len(re.findall(r"[\d,]+ after \d+ \w+", peaks)) == 5
    assert not [line for line in lines if line.startswith(" ")], "it goes on with the line before"


def test_a_bucket_that_loses_the_rate_is_named(config):
    """A sale of 1,500 at 10 a second: the bucket of one is full before whoever was called has come."""
    lines = run(config, *SMALL, "--what-if", "burst=1").stdout
    assert "Rate is lost" not in lines, "it is said of the sale as planned"
    config.write_text(CONFIG.replace("burst: 20, active: 300", "burst: 1"))
    done = run(config, *SMALL, "--what-if", "burst=50")
    assert "This one holds 0.1 s of the rate; one of five seconds loses hardly any: --what-if burst=50." in done.stdout
    [least] = [line for line in done.stdout.splitlines() if line.startswith("Rate used, least in 10 s")]
    lost, kept = re.findall(r"(\d+)% after", least)
    assert int(lost) < 95 <= int(kept)


def test_json_is_the_same_every_time_for_the_same_seed(config):
    once, again = (json.loads(run(config, *SMALL, "--json", "--what-if", "leave=90%").stdout) for _ in range(2))
    assert once == again
    [planned, leaving] = once["runs"]
    assert planned["excess"] <= 0
    assert planned["fates"]["entered"] + planned["fates"]["left"] == 1500
    assert leaving["run"] == "90% leave"
    assert leaving["fates"]["left"] > planned["fates"]["left"]
    assert planned["most_inside"] <= 300


def test_a_draw_opens_and_closes(config):
    done = run(config, "drop", "--arrivals", "0:0 2m:2000 3m:2500", "--leave", "0%", "--json")
    [found] = json.loads(done.stdout)["runs"]
    assert found["over"] == "sale-over"  # five minutes after it opened, which is when half of the time was over
    assert found["fates"]["entered"] == pytest.approx(5 * 300 + 10, abs=40)
    assert found["fates"]["over"] > 800
    assert found["tau"] > 0.99


class Page(HTMLParser):
    """Knows only elements that are closed in their order, and keeps the words of tables and charts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.charts: list[str] = []
        self.cells: list[str] = []
        self.ids: set[str] = set()
        self.named: set[str] = set()
        self.paths = 0

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.named |= set((found.get("aria-labelledby") or "").split())
        self.paths += tag == "path"
        assert not {"src", "href"} & found.keys(), "nothing from elsewhere"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)
        if self.open and self.open[-1] == "desc":
            self.charts.append(data)


def test_the_page_is_whole_and_holds_the_figures(config, tmp_path):
    target = tmp_path / "sale.html"
    done = run(config, *SMALL, "--what-if", "leave", "--plot", str(target))
    assert done.exit_code == 0, done.output
    assert str(target) in done.stdout.replace("\n", "")
    text = target.read_text()
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert "nan" not in text
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.named <= page.ids
    assert len(page.charts) == 4
    assert all("as planned" in chart and "90% leave" in chart for chart in page.charts)
    assert {"People in line as a table", "1,500", "Wait, 9 of 10"} <= {*page.cells, "People in line as a table"}
    assert page.paths >= 4 * 2 * 2  # each line in its chart and in the legend


@pytest.mark.browser
def test_the_page_can_be_read_with_a_screen_reader_and_in_the_dark(config, tmp_path, open_page):
    target = tmp_path / "sale.html"
    assert run(config, *SMALL, "--what-if", "leave", "--plot", str(target)).exit_code == 0
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.goto(target.as_uri())
        for summary in page.query_selector_all("summary"):
            summary.click()
        assert flaws(page) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "There is no room 'nowhere'; the config has: checkout, drop."),
        ([], "Say which room; the config has: checkout, drop."),
        (["checkout", "--leave", "half"], "'half' is not a share; write a percentage, like 50%"),
        (["checkout", "--over", "10"], "'10' is not a duration"),
        (["checkout", "--arrivals", "5m:10 1m:20"], "times must grow"),
        (["checkout", "--what-if", "rain"], "'rain' is nothing to try; write one of: leave, store-dies"),
        (["checkout", "--what-if", "rate=fast"], "'fast' is not a rate"),
        (["checkout", "--opens", "5m", "--closes", "1m"], "It would close after 1m and open after 5m."),
        (["checkout", "--visitors", "10", "--plot", "/nowhere/x.html"], "Cannot write /nowhere/x.html"),
    ],
)
def test_mistakes_are_named(config, words, said):
    done = run(config, *words)
    assert done.exit_code in (1, 2)
    assert said in " ".join(done.output.replace("│", " ").split())


def test_a_config_with_a_mistake_is_shown_with_its_line(tmp_path):
    (tmp_path / "gate.yaml").write_text("rooms:\n  checkout: {match: [/x], rate: 10/minute, brust: 3}\n")
    done = run(tmp_path / "gate.yaml")
    assert done.exit_code == 1
    assert "gate.yaml:2" in done.output
