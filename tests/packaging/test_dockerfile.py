"""No container engine here: the Dockerfile is linted, and its steps run in a virtual environment."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_its_build_steps_make_a_gate_that_runs(tmp_path):
    source, venv = tmp_path / "src", tmp_path / "opt"
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
    done = subprocess.run(
        [venv / "bin" / "gate", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("gate ")
