"""pyproject.toml and the Makefile say what they do, and do what they say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("table", ["dependencies", "dev"])
def test_every_dependency_has_its_reason(table):
    text = re.search(rf"^{table} = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)[1]
    lines = [line.strip() for line in text.splitlines()]
    without = [line for before, line in zip(["", *lines], lines, strict=False) if line[0] == '"' and not before.startswith("#")]
    assert without == []


def test_the_makefile_promises_the_targets_it_has():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    assert sorted(phony) == sorted(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
