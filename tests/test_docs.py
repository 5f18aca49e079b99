"""The docs are checked against the code: labels, commands, endpoints, metrics, links, and every command of the README."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from gate.children import DRAIN
from gate.cli import app
from gate.core.words import Outcome, Reason, RoomMode, Shedding, Switch
from tests.processes import Gate, Shop, running

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "edge/README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
ALL = "\n".join(page.read_text() for page in PAGES)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def typed() -> list[str]:
    """The `gate …` lines of the README, without their comments."""
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("gate ")]


@pytest.mark.parametrize("word", [*Outcome, *Reason])
def test_every_outcome_and_reason_is_explained(word):
    assert f"`{word.value}`" in (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize("word", [*RoomMode, *Switch, *Shedding])
def test_every_mode_is_mentioned(word):
    assert re.search(rf"`[^`]*\b{word.value}\b[^`]*`", ALL)


def test_every_metric_is_in_the_runbooks_and_no_other():
    source = (ROOT / "gate/web/metrics.py").read_text()
    bare = re.compile("_(bucket|sum|total|info)$")
    exported = {bare.sub("", name) for name in re.findall(r'"(gate_[a-z_]+)"', source)}
    documented = {bare.sub("", name) for name in re.findall(r"`(gate_[a-z_0-9]+)", (ROOT / "docs/operations.md").read_text())}
    assert documented == exported


def test_every_command_is_documented():
    names = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert [name for name in sorted(names) if f"gate {name}" not in ALL] == []


def test_every_endpoint_is_documented():
    found = re.findall(r'Route\("(/__gate/[^"]+)"', (ROOT / "gate/web/visitor.py").read_text())
    routes = {route.replace("{rest:path}", "") for route in found}
    assert routes
    known = ALL.replace("NAME", "{room}")
    assert [route for route in sorted(routes) if route not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)]*)?\)", text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            headings = [
                re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
                for line in there.read_text().splitlines()
                if line.startswith("#")
            ]
            assert anchor[1:] in headings, f"{page.name}: {target}{anchor}"


def test_files_named_in_the_docs_exist():
    names = set(re.findall(r"`((?:gate|tests|static|config|edge|docs)/[\w./\-]+)`", ALL))
    assert [name for name in sorted(names) if not (ROOT / name).exists() and "…" not in name] == []


def test_tests_named_in_the_docs_exist():
    """`file.py::test`: in tests/wire/ when it has no folder."""
    named = set(re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)::(test_\w+)`", ALL))
    assert len(named) > 30
    for file, name in sorted(named):
        path = ROOT / file if "/" in file else ROOT / "tests/wire" / file
        assert path.exists(), file
        assert re.search(rf"^ *(?:async )?def {name}\(", path.read_text(), re.MULTILINE), f"{file}::{name}"


def test_the_unit_says_what_the_command_and_systemd_take(tmp_path):
    operations = (ROOT / "docs/operations.md").read_text()
    [text] = blocks(operations, "ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    service = unit["Service"]
    program, name, *words = shlex.split(service["ExecStart"])
    command = typer.main.get_command(app).commands[name]
    assert command.make_context(name, words).params["config_file"] == Path("/etc/floodgate/gate.yaml")
    assert shlex.split(service["ExecReload"]) == ["/bin/kill", "-HUP", "$MAINPID"]
    assert f"`state: /var/lib/{service['StateDirectory']}`" in operations
    assert int(service["TimeoutStopSec"]) > DRAIN + 10  # and the store's own end
    assert f"python3 -m venv {Path(program).parents[1]} " in operations
    if shutil.which("systemd-analyze"):
        file = tmp_path / "floodgate.service"
        file.write_text(text.replace(program, sys.executable))
        done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60, check=False)
        assert "floodgate.service" not in done.stdout + done.stderr  # every complaint begins with it


def test_the_container_is_run_with_what_its_dockerfile_has():
    [line] = [
        line
        for block in blocks((ROOT / "docs/operations.md").read_text(), "sh")
        for line in block.splitlines()
        if "docker run" in line
    ]
    words = shlex.split(line)
    given = {}
    for option, value in pairwise(words):
        given.setdefault(option, []).append(value)
    dockerfile = (ROOT / "Dockerfile").read_text()
    mounts = dict(value.split(":")[1::-1] for value in given["-v"])  # inside: outside
    [config_file] = [value.removeprefix("GATE_CONFIG=") for value in given["-e"]]
    assert str(Path(config_file).parent) in mounts
    assert re.findall("^VOLUME (.*)", dockerfile, re.MULTILINE) == [
        inside for inside in mounts if inside != str(Path(config_file).parent)
    ]
    assert given["-p"][0].split(":")[1] in re.findall("^EXPOSE (.*)", dockerfile, re.MULTILINE)
    assert int(given["--stop-timeout"][0]) > DRAIN + 10
    assert words[-1] == "floodgate"


@pytest.mark.slow
def test_every_command_of_the_readme_works_on_the_readmes_config(tmp_path):
    shop = Shop(tmp_path)
    [example] = blocks(README, "yaml")
    written = YAML(typ="safe").load(example)
    gate = Gate(tmp_path, {})
    mine = gate.settings
    gate.settings = {**written, "listen": mine["listen"], "operator": mine["operator"], "state": mine["state"]}
    gate.settings["origin"]["servers"] = [shop.url]
    (tmp_path / "gate.yaml").write_text(example)
    commands = typed()
    assert len(commands) >= 10
    with running(shop, gate):
        for command in commands:
            words = shlex.split(command, comments=True)[1:]
            if words[0] == "serve":  # that is what is running
                continue
            if "--config" not in words and words[0] != "check":
                words += ["--config", str(gate.config)]
            done = subprocess.run(
                [sys.executable, "-m", "gate", *words], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
