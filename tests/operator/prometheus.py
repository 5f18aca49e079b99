"""Where Prometheus' own programs are: installed, or where .ci/debian unpacks Debian's package."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".cache/prometheus/usr/bin"


def program(name: str) -> str | None:
    """``promtool`` or ``prometheus``; None where there is none."""
    return shutil.which(name) or shutil.which(name, path=UNPACKED)


PROMETHEUS, PROMTOOL = program("prometheus"), program("promtool")
MISSING = "there is no Prometheus: .ci/debian fetches it"
