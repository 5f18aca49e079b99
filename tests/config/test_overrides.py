"""The environment over the file."""

import pytest

from gate import config

ROOM = """\
rooms:
  checkout:
    match: /checkout/**
    rate: 120/minute
"""


def load(path, **environ):
    return config.load(path, {"HOME": "/home/shop", **environ})


def said(path, **environ):
    return [str(problem) for problem in config.examine(path, environ).problems]


def test_a_variable_wins_over_the_file(write):
    path = write("listen: 127.0.0.1:1\nworkers: 3\n" + ROOM)
    settings = load(path, GATE_LISTEN="0.0.0.0:80", GATE_ROOMS__CHECKOUT__RATE="60/minute")
    assert settings.listen == "0.0.0.0:80"
    assert settings.workers == 3
    assert settings.rooms["checkout"].rate.amount == 60
    assert [str(pattern) for pattern in settings.rooms["checkout"].match] == ["/checkout/**"]


def test_lists_and_sections_are_json(write):
    path = write(ROOM)
    settings = load(path, GATE_ORIGIN__SERVERS='["http://a:1", "http://b:2"]', GATE_ORIGIN__TIMEOUTS='{"connect": "2s"}')
    assert settings.origin.servers == ["http://a:1", "http://b:2"]
    assert settings.origin.timeouts.connect == 2.0
    assert load(path, GATE_ORIGIN__HEALTH="null").origin.health is None


def test_a_part_wins_over_the_whole(write):
    settings = load(write(ROOM), GATE_BRAND='{"name": "A", "message": "hello"}', GATE_BRAND__NAME="B")
    assert (settings.brand.name, settings.brand.message) == ("B", "hello")


def test_text_is_taken_as_it_is(write):
    settings = load(write(ROOM), GATE_STORE_PASSWORD="#no: [yaml", GATE_FALLBACK__PHONE="5550100")
    assert settings.store_password.get_secret_value() == "#no: [yaml"
    assert settings.fallback.phone == "5550100"


def test_a_relative_path_in_a_variable_is_relative_to_the_working_directory(write, tmp_path, monkeypatch):
    path = write(ROOM)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(path, GATE_STATE="state").state == tmp_path / "elsewhere" / "state"
    assert load(path, GATE_STATE="~/state").state.as_posix() == "/home/shop/state"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GATE_WORKERS", "0", "environment GATE_WORKERS: workers: '0' is out of range; write more than 0"),
        (
            "GATE_ROOMS__CHECKOUT__RATE",
            "fast",
            "environment GATE_ROOMS__CHECKOUT__RATE: rooms.checkout.rate: 'fast' is not a rate; write a whole number per unit, "
            "like 120/minute, 5/second or 1000/hour",
        ),
        (
            "GATE_ORIGIN__SERVERS",
            "http://a:1, http://b:2",
            "environment GATE_ORIGIN__SERVERS: not JSON, which lists and mappings are written in; "
            """write '["http://a:1", "http://b:2"]'""",
        ),
        (
            "GATE_ORIGIN__TIMEOUTS__CONECT",
            "1s",
            "environment GATE_ORIGIN__TIMEOUTS__CONECT: origin.timeouts.conect: unknown setting; did you mean `connect`?",
        ),
        ("GATE_LISEN", "1", "environment GATE_LISEN: warning: names no setting; did you mean GATE_LISTEN?"),
        ("GATE_FROBNICATE", "1", "environment GATE_FROBNICATE: warning: names no setting; `gate schema` lists them"),
    ],
)
def test_a_mistake_names_its_variable(write, name, value, expected):
    assert said(write(ROOM), **{name: value}) == [expected]


@pytest.mark.parametrize("value", ['{"match": "/\\ud800", "rate": "1/minute"}', '{"match": "/\udcff", "rate": "1/minute"}'])
def test_what_is_no_text_is_a_mistake(write, value):
    """An escape of half a character, and a byte that is not UTF-8, as Python hands it on."""
    (problem,) = said(write(ROOM), GATE_ROOMS__DROP=value)
    assert problem.startswith("environment GATE_ROOMS__DROP: not UTF-8, or \\u escapes the half of a character")


def test_the_variables_of_a_kubernetes_service_named_gate_are_passed_over(write):
    names = ("GATE_SERVICE_HOST", "GATE_SERVICE_PORT", "GATE_SERVICE_PORT_HTTP", "GATE_PORT", "GATE_PORT_8080_TCP")
    more = ("GATE_PORT_8080_TCP_PROTO", "GATE_PORT_8080_TCP_PORT", "GATE_PORT_8080_TCP_ADDR", "GATE_CONFIG", "GATE_TOKEN")
    assert said(write(ROOM), **dict.fromkeys(names + more, "x")) == []


def test_secrets_come_from_files_the_variable_first(write, tmp_path):
    path = write(ROOM)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "gate_store_password").write_text("from the directory\n")
    (secrets / "tls.key").write_text("another program's")
    alone = tmp_path / "password"
    alone.write_text("from the file\n")
    environ = {"GATE_SECRETS_DIR": str(secrets)}
    assert load(path, **environ).store_password.get_secret_value() == "from the directory"
    environ["GATE_STORE_PASSWORD_FILE"] = str(alone)
    assert load(path, **environ).store_password.get_secret_value() == "from the file"
    environ["GATE_STORE_PASSWORD"] = "from the variable"
    assert load(path, **environ).store_password.get_secret_value() == "from the variable"


def test_a_secret_that_cannot_be_read_is_a_mistake(write, tmp_path):
    path = write(ROOM)
    missing = tmp_path / "none"
    assert said(path, GATE_STORE_PASSWORD_FILE=str(missing)) == [
        f"environment GATE_STORE_PASSWORD_FILE: {missing} cannot be read: No such file or directory"
    ]
    assert said(path, GATE_SECRETS_DIR=str(missing)) == [
        f"environment GATE_SECRETS_DIR: {missing} cannot be read: No such file or directory; name a directory of secret files"
    ]


def test_mistakes_of_file_and_environment_are_reported_together(write):
    found = said(write("workers: 0\n"), GATE_LISTEN="8080")
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == ["workers", "listen"]


def test_a_variable_mends_a_mistake_of_the_file(write):
    assert load(write("workers: 0\n"), GATE_WORKERS="1").workers == 1
