"""No container engine here: the Dockerfile is linted, and its steps run in a virtual environment."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from gate.core.settings import Settings
from tests.processes import eventually, fetch, free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"


def steps() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines)]


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_it_runs_as_nobody_special_and_writes_to_one_place():
    found = steps()
    assert [rest for first, rest in found if first == "USER"] == ["10001"]
    assert [rest for first, rest in found if first == "VOLUME"] == ["/var/lib/floodgate"]
    assert any(first == "HEALTHCHECK" for first, _ in found)
    assert sum(first == "FROM" for first, _ in found) == 2
    copied = [rest.split()[:-1] for first, rest in found if first == "COPY" and not rest.startswith("--from")]
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{name.removeprefix('./')}" in ignored for names in copied for name in names)


def test_only_the_visitors_side_is_for_others():
    assert [rest for first, rest in steps() if first == "EXPOSE"] == ["8080"]
    environment = variables()
    assert environment["GATE_LISTEN"] == "0.0.0.0:8080"
    operators = environment.get("GATE_OPERATOR__LISTEN", Settings().operator.listen)
    assert ip_address(operators.rpartition(":")[0]).is_loopback


def variables() -> dict[str, str]:
    """What ``ENV`` sets."""
    words = [word for first, rest in steps() if first == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The environment that the build steps make."""
    directory = tmp_path_factory.mktemp("image")
    source, venv = directory / "src", directory / "opt"
    source.mkdir()
    for first, rest in steps():
        if first == "COPY" and not rest.startswith("--from"):
            *names, target = rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, source / target)
    build = next(rest for first, rest in steps() if first == "RUN" and "venv" in rest)
    command = build.replace("/opt/floodgate", str(venv)).replace("python -m venv", f"{sys.executable} -m venv")
    subprocess.run(["bash", "-euc", command], cwd=source, check=True, capture_output=True, timeout=300)
    return venv


@pytest.mark.slow
def test_its_build_steps_make_a_gate_that_runs(built, tmp_path):
    done = subprocess.run(
        [built / "bin" / "gate", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("gate ")


@pytest.mark.slow
def test_its_command_serves_and_its_health_check_tells(built, tmp_path):
    port, operators = free_port(), free_port()
    environment = {
        **variables(),
        "PATH": f"{built}/bin:{os.environ['PATH']}",
        "GATE_LISTEN": f"127.0.0.1:{port}",
        "GATE_OPERATOR__LISTEN": f"127.0.0.1:{operators}",
        "GATE_STATE": str(tmp_path / "state"),
    }
    check = next(json.loads(rest.partition("CMD ")[2]) for first, rest in steps() if first == "HEALTHCHECK")
    check = [word.replace(":8080/", f":{port}/").replace(":8081/", f":{operators}/") for word in check]
    serve = next(json.loads(rest) for first, rest in steps() if first == "CMD")

    def healthy() -> bool:
        done = subprocess.run(check, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL, timeout=90, check=False)
        return done.returncode == 0

    assert not healthy()
    with (tmp_path / "log").open("wb") as log:
        gate = subprocess.Popen(serve, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        eventually(healthy, 120, every=0.5, what="the health check is content")
        assert fetch(f"http://127.0.0.1:{port}/__gate/live").status == 200
    finally:
        gate.send_signal(signal.SIGTERM)
        code = gate.wait(45)
    assert code == 0, (tmp_path / "log").read_text()
    assert not healthy()
