"""The load test that users run, in short: it finds its way through a shop, stands in line, and the bucket's law holds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate.demo.journal import admissions, excess, read
from tests.processes import ROOT, Gate, Shop, running

pytestmark = pytest.mark.slow


def locust(host: str, directory: Path, *, users: int, seconds: int) -> tuple[int, dict[str, dict[str, Any]]]:
    """Its exit code, and its statistics by ``METHOD name``."""
    result = directory / "locust"
    options = f"--headless --users {users} --spawn-rate {users} --run-time {seconds}s --stop-timeout 2 --only-summary"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--locustfile", str(ROOT / "tests/load/locustfile.py"), "--host", host),
            *options.split(),
            *("--json-file", str(result), "--loglevel", "WARNING"),
        ],
        env={key: value for key, value in os.environ.items() if not key.startswith(("GATE_", "SHOP_", "LOCUST_"))},
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    found = json.loads(result.with_suffix(".json").read_text())
    assert found, done.stderr
    return done.returncode, {f"{entry['method']} {entry['name']}": entry for entry in found}


def test_it_buys_at_a_shop_without_a_gate(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with running(shop):
        code, stats = locust(shop.url, tmp_path, users=5, seconds=15)
    assert code == 0, stats
    assert stats["BUY bought"]["num_requests"] > 0
    assert not any("(in line)" in name for name in stats)


def test_it_stands_in_line_and_no_window_admits_more_than_the_bucket_holds(tmp_path: Path) -> None:
    rate, burst = 1, 2
    shop = Shop(tmp_path)
    gate = Gate(
        tmp_path,
        {
            "origin": {"servers": [shop.url]},
            "rooms": {
                "checkout": {
                    "match": ["/checkout/**", "POST /cart/add"],
                    "rate": f"{rate}/second",
                    "burst": burst,
                    "session": "60s",
                }
            },
        },
    )
    with running(shop, gate):
        code, stats = locust(gate.url, tmp_path, users=25, seconds=20)
    assert code == 0, stats
    assert any("(in line)" in name for name in stats)
    assert stats["BUY bought"]["num_requests"] > 0
    entered = admissions(read(shop.journal), "checkout")
    assert len(entered) > burst + rate * 5
    # The witness stands at the shop's door: two requests may be carried there at different speed, so that their distance
    # differs from that of their tokens by a few hundredths of a second, on a busy machine by tenths. Less than one visitor in
    # all that time.
    assert excess(entered, rate=rate, burst=burst) < 1
