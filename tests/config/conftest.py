"""Every test here runs in its own directory, with a home of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes ``gate.yaml`` into a fresh working directory and gives its path."""
    monkeypatch.chdir(tmp_path)
    for name in ("GATE_CONFIG", "GATE_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)

    def write(text: str) -> Path:
        path = tmp_path / "gate.yaml"
        path.write_text(text)
        return path

    return write
