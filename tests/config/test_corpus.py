"""One file per mistake, and beside it what the gate says about it.

The expected texts are kept by hand: read the difference, and copy the new text when it is better.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gate import config
from gate.config import advice

CORPUS = Path(__file__).parent.parent / "corpora" / "config"


def said(path: Path) -> str:
    report = config.examine(path, environ={"HOME": "/home/shop"})
    text = "\n".join(str(problem) for problem in report.problems)
    return text.replace(f"{path.parent}/", "")


def cases(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).glob("*.yaml"))


@pytest.mark.parametrize("path", cases("bad"), ids=lambda path: path.stem)
def test_a_mistake_is_reported_with_its_place_and_its_cure(path):
    assert said(path) == path.with_suffix(".expected").read_text().rstrip("\n")
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, environ={})
    assert all(problem.severity == "error" for problem in caught.value.problems)
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)


@pytest.mark.parametrize("path", cases("warned"), ids=lambda path: path.stem)
def test_a_doubtful_setting_is_warned_about_and_loads(path):
    assert said(path) == path.with_suffix(".expected").read_text().rstrip("\n")
    assert config.load(path, environ={"HOME": "/home/shop"})


@pytest.mark.parametrize("path", cases("good"), ids=lambda path: path.stem)
def test_a_good_file_is_taken_without_a_word(path):
    assert said(path) == ""
    assert config.load(path, environ={"HOME": "/home/shop"})


@pytest.mark.parametrize("folder", ["bad", "warned"])
def test_every_expectation_has_its_file(folder):
    assert {path.stem for path in cases(folder)} == {path.stem for path in (CORPUS / folder).glob("*.expected")}


@pytest.mark.parametrize("path", cases("bad"), ids=lambda path: path.stem)
def test_every_problem_of_a_file_has_a_line(path):
    problems = config.examine(path, environ={}).problems
    lines = path.read_text().count("\n") + 1
    assert problems
    assert all(problem.place.line is not None and 1 <= problem.place.line <= lines for problem in problems)


def test_no_message_shows_a_secret():
    everything = "".join(said(path) for path in cases("bad"))
    assert "hunter2" not in everything
    assert "123456" not in everything
    assert "987654" not in everything


WRONG = [True, 7, 2.5, -1, 10**30, "banana", "\ud800", [], {"a": 1}, None]


def settings_there_are() -> list[tuple[str, str]]:
    return [(place, word) for place, model in advice.sections() for word in advice.keys_of(model)]


@pytest.mark.parametrize(("place", "word"), settings_there_are(), ids=lambda text: text or "top")
def test_no_message_is_the_librarys(tmp_path, place, word):
    """Whatever is wrong is told in our words, never in pydantic's."""
    file = tmp_path / "gate.yaml"
    for wrong in WRONG:
        written: Any = {word: wrong}
        for step in reversed(re.findall(r"[^.\[\]]+|\[\]", place)):
            written = [written] if step == "[]" else {"checkout" if step == "<name>" else step: written}
        file.write_text(json.dumps(written))
        for problem in config.examine(file, environ={"HOME": str(tmp_path)}).problems:
            assert not re.search("Input|Value error|[Uu]nable|valid ", problem.text), problem
