"""Finding the file, resolving what is in it, and showing it again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import config, edges, resources
from gate.config.advice import keys_of, sections
from gate.core.settings import EDGE_PRESETS, Edge, Settings

HOME = {"HOME": "/home/shop"}


def test_the_file_is_the_one_named_else_the_environment_s_else_here_else_the_packaged_one(write, tmp_path):
    assert config.find(None, {}) == resources.config("gate.yaml")
    here = write("listen: 127.0.0.1:1\n")
    assert config.find(None, {}).resolve() == here
    assert config.find(None, {"GATE_CONFIG": "/etc/gate.yaml"}) == Path("/etc/gate.yaml")
    assert config.find(Path("mine.yaml"), {"GATE_CONFIG": "/etc/gate.yaml"}) == Path("mine.yaml")
    assert "~" not in str(config.find(Path("~/gate.yaml"), {}))


def test_the_packaged_default_loads_without_a_warning():
    report = config.examine(resources.config("gate.yaml"), HOME)
    assert report.problems == []
    assert report.settings is not None
    assert report.settings.rooms["checkout"].rate.amount == 120
    assert report.settings.state == Path("/home/shop/.local/state/floodgate")


@pytest.mark.parametrize("path", sorted(resources.config("profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_profiles_load_without_a_warning(path):
    assert config.examine(path, HOME).problems == []


def test_there_is_a_profile_for_each_kind_the_documentation_names():
    assert {path.stem for path in resources.config("profiles").glob("*.yaml")} >= {"flash-sale", "ticket-drop", "headless-api"}


def test_the_annotated_default_mentions_every_section_and_every_top_level_setting():
    text = resources.config("gate.yaml").read_text()
    assert [name for name in keys_of(Settings) if not re.search(rf"^(# )?{name}:", text, re.MULTILINE)] == []


def test_the_edge_presets_of_the_model_are_those_we_have_networks_for():
    assert set(EDGE_PRESETS) == set(edges.CDNS)
    for name in EDGE_PRESETS:
        assert f"`{name}`" in Edge.model_fields["trust"].description


def test_values_commented_out_in_the_default_are_the_defaults():
    """Taking the comment signs away changes nothing, except where the comment is an example for an empty setting."""
    commented = {"workers: 2": 2, "connections: 256": 256, "sample: 0.01": 0.01}
    text = resources.config("gate.yaml").read_text()
    settings = config.load(resources.config("gate.yaml"), HOME)
    for line in commented:
        assert f"# {line}" in text
    assert [settings.workers, settings.origin.connections, settings.log.sample] == list(commented.values())


def test_paths_are_relative_to_the_file_and_know_the_home(write, tmp_path):
    (tmp_path / "page.html").write_text("<p>")
    path = write("state: ~/gate\nfallback: {page: page.html}\n")
    settings = config.load(Path(path.name), HOME)
    assert settings.state == Path("/home/shop/gate")
    assert settings.fallback.page == tmp_path / "page.html"


def test_a_missing_file_a_directory_and_odd_bytes_are_problems_not_crashes(write, tmp_path):
    for path, word in ((tmp_path / "none.yaml", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(config.ConfigError, match=word):
            config.load(path, {})
    path = write("")
    path.write_bytes(b"listen: a\nbrand: {name: caf\xe9}\n")
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, {})
    assert str(caught.value) == f"{path}:2: byte 0xe9 is not UTF-8; save the file as UTF-8"
    path.write_bytes(b"\xef\xbb\xbflisten: 127.0.0.1:1\n")  # Windows editors begin with a byte order mark
    assert config.load(path, {}).listen == "127.0.0.1:1"
    path.write_text("a: x\0y\n")
    with pytest.raises(config.ConfigError, match="not YAML"):
        config.load(path, {})


def test_aliases_of_aliases_do_not_fill_the_memory(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(config.ConfigError, match="more than 20000 values"):
        config.load(write("\n".join(lines)), {})


def test_the_dump_is_a_config_again_with_the_same_meaning(write):
    settings = config.load(resources.config("gate.yaml"), HOME)
    again = config.load(write(json.dumps(config.dump(settings))), HOME)
    assert again == settings


def test_the_dump_masks_what_is_secret(write):
    path = write(
        "store: redis://gate:hunter2@valkey:6379/0\nstore_password: hunter2\n"
        "rooms: {checkout: {match: /a, rate: 1/second, bypass: [{header: {X-Monitor: hunter2}}]}}\n"
    )
    settings = config.load(path, HOME)
    dumped = config.dump(settings)
    assert "hunter2" not in json.dumps(dumped)
    assert "hunter2" not in repr(settings.store_password)
    assert dumped["store"] == "redis://gate:***@valkey:6379/0"
    assert dumped["rooms"]["checkout"]["bypass"][0]["header"] == {"X-Monitor": "***"}
    assert settings.rooms["checkout"].bypass[0].header == {"X-Monitor": "hunter2"}


def test_problems_come_in_the_order_of_the_file_and_as_json(write):
    report = config.examine(write("workers: 0\nlisten: 1\nnothing: 1\n"), {})
    assert [problem.place.line for problem in report.problems] == [1, 2, 3]
    assert report.problems[0].to_json() == {
        "source": "gate.yaml" if report.path == Path("gate.yaml") else str(report.path),
        "line": 1,
        "column": 10,
        "path": "workers",
        "text": "0 is out of range; write more than 0",
        "severity": "error",
    }
    assert report.settings is None


def test_reading_a_config_loads_neither_servers_nor_clients():
    code = (
        "import sys; from gate import config; config.load(config.find(), {'HOME': '/'});"
        "print([m for m in sys.modules if m in ('aiohttp', 'redis', 'starlette', 'jinja2', 'joserfc', 'watchfiles',"
        " 'pydantic_settings', 'uvicorn')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_settings_made_in_code_need_no_file():
    assert Settings().state == Path("~/.local/state/floodgate")


def test_a_finding_that_rests_on_a_mistake_is_not_reported(write):
    report = config.examine(write("listen: 8080\noperator: {listen: 127.0.0.1:8080}\n"), {})
    assert [problem.path for problem in report.problems] == ["listen"]


WORDS = sorted({key for _, model in sections() for key in keys_of(model)})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["/a", "1s", "1/second", "", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WORDS, "shop", "X-1", ""]), inner, max_size=4)
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=6))
def test_whatever_the_file_holds_it_is_judged_and_never_crashes(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(data))
    report = config.examine(path, HOME)
    assert (report.settings is None) == bool(report.errors)
    assert all(str(problem) and "\n" not in str(problem) for problem in report.problems)


@settings(deadline=None)
@given(st.text(alphabet=":-[]{}&*!|>#\"'%@ \n\tab1é\0", max_size=60))
def test_whatever_text_it_is_there_is_an_answer(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    report = config.examine(path, HOME)
    assert (report.settings is None) == bool(report.errors)
