"""A built wheel, alone in an empty environment outside the repository, is the whole product."""

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import eventually, fetch, free_port

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return next(out.glob("*.whl"))


def test_pages_and_config_travel_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("static", "config"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                assert f"gate/data/{folder}/{path.relative_to(ROOT / folder)}" in names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
    assert any(name.endswith(".lua") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_runs_the_demo(wheel, tmp_path):
    venv, home = tmp_path / "venv", tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=300)
    subprocess.run([venv / "bin" / "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True, timeout=300)
    port = free_port()
    env = {"HOME": str(home), "PATH": f"{venv}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    with (tmp_path / "demo.log").open("wb") as out:
        demo = subprocess.Popen([venv / "bin" / "gate", "demo", "--port", str(port)], cwd=home, env=env, stdout=out, stderr=out)
    try:
        eventually(lambda: _status(f"http://127.0.0.1:{port}/") == 200, 120, what=(tmp_path / "demo.log").read_text())
        assert _status(f"http://127.0.0.1:{port}/__gate/rooms/checkout/status") == 200
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(60)
    assert code == 0
    eventually(lambda: not _alive(venv), what="nothing of the demo is left running")


def _status(url: str) -> int:
    try:
        return fetch(url, timeout=3).status
    except OSError:
        return 0


def _alive(venv: Path) -> list[str]:
    """Ids of the processes that run something of ``venv``."""
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit() and str(venv).encode() in _command(path)]


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
