"""Settings from the environment, laid over the file.

``GATE_`` and the path of the setting in capitals, with ``__`` between the levels: ``GATE_LISTEN``,
``GATE_ORIGIN__SERVERS='["http://shop:9000"]'``, ``GATE_ROOMS__CHECKOUT__RATE=60/minute``; lists and mappings are JSON.
Secrets come from files too: ``GATE_STORE_PASSWORD_FILE=/path``, or a file ``gate_store_password`` in the directory that
``GATE_SECRETS_DIR`` names. A variable wins over its ``_FILE``, that over the directory, and all of them over the config.
"""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from gate.config.problems import Place, Problem
from gate.config.tree import HALF_CHARACTER, SURROGATE, Branch, overlay
from gate.core.settings import Settings

PREFIX = "GATE_"
OWN = frozenset({"GATE_CONFIG", "GATE_SECRETS_DIR", "GATE_TOKEN"})
"""Variables of the command line itself, which name no setting."""
_FILE = "_FILE"
# Kubernetes sets these for every service of the namespace, one named "gate" among them
_KUBERNETES = re.compile(r"GATE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
_SECRETS = tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))


def lay_over(root: Branch, environ: Mapping[str, str], cwd: Path) -> list[Problem]:
    """Change ``root`` by what the environment says. A relative path in a variable is relative to ``cwd``."""
    problems: list[Problem] = []
    for name, value, place in _given(environ, problems):
        data = _decode(name, value, place, problems)
        if data is not None:
            overlay(root, _absolute(data, cwd), place)
    return problems


def _given(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, str, Place]]:
    """(variable, value, where from), least important first; whole settings before parts of them."""
    folder = environ.get("GATE_SECRETS_DIR")
    if folder:
        yield from _secret_files(Path(folder), problems)
    names = sorted(name for name in environ if name.upper().startswith(PREFIX) and name.upper() not in OWN)
    for name in names:
        if _is_secret_file(name):
            place = Place(f"environment {name}")
            text = _read(Path(environ[name]), place, problems)
            if text is not None:
                yield name[: -len(_FILE)], text, Place(environ[name])
    for name in names:
        if not _is_secret_file(name) and not _KUBERNETES.fullmatch(name):
            yield name, environ[name], Place(f"environment {name}")


def _is_secret_file(name: str) -> bool:
    upper = name.upper()
    return upper.endswith(_FILE) and upper.removeprefix(PREFIX).removesuffix(_FILE).lower() in _SECRETS


def _secret_files(folder: Path, problems: list[Problem]) -> Iterator[tuple[str, str, Place]]:
    place = Place("environment GATE_SECRETS_DIR")
    try:
        entries = sorted(entry for entry in folder.iterdir() if entry.name.upper().startswith(PREFIX) and entry.is_file())
    except OSError as error:
        problems.append(Problem(place, "", f"{folder} cannot be read: {error.strerror}; name a directory of secret files"))
        return
    for entry in entries:
        text = _read(entry, place, problems)
        if text is not None:
            yield entry.name, text, Place(str(entry))


def _read(path: Path, place: Place, problems: list[Problem]) -> str | None:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(Problem(place, "", f"{path} cannot be read: {why}"))
        return None


def _decode(name: str, value: str, place: Place, problems: list[Problem]) -> dict[str, Any] | None:
    """What one variable says, nested as in the file; the library knows which settings are JSON and which are text."""
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

    class OneVariable(EnvSettingsSource):
        def _load_env_vars(self) -> Mapping[str, str | None]:
            return {name.lower(): value}

    source = OneVariable(
        cast(type[BaseSettings], Settings), case_sensitive=False, env_prefix=PREFIX.lower(), env_nested_delimiter="__"
    )
    try:
        data = source()
    except SettingsError:
        problems.append(Problem(place, "", f"not JSON, which lists and mappings are written in; {_advice(value)}"))
        return None
    if SURROGATE.search(json.dumps(data, ensure_ascii=False)):
        problems.append(Problem(place, "", f"not UTF-8, or {HALF_CHARACTER}"))
        return None
    if not data:
        problems.append(Problem(place, "", f"names no setting{_close(name)}", "warning"))
        return None
    return data


def _advice(value: str) -> str:
    if not re.search(r"""[\[\]{}"']""", value):
        words = ", ".join(f'"{word}"' for word in re.split(r"[,\s]+", value.strip()) if word)
        return f"write '[{words}]'"
    return """write '["one", "two"]' or '{"name": "value"}'"""


def _close(name: str) -> str:
    top = name.upper().removeprefix(PREFIX).partition("__")[0].lower()
    found = get_close_matches(top, Settings.model_fields, n=1, cutoff=0.7)
    return f"; did you mean {PREFIX}{found[0].upper()}?" if found else "; `gate schema` lists them"


_FILES = (("state",), ("tls", "certificate"), ("tls", "key"), ("fallback", "page"), ("brand", "logo"))
"""The settings that are paths and can be given on their own."""


def _absolute(data: dict[str, Any], cwd: Path) -> dict[str, Any]:
    for *above, last in _FILES:
        inner: Any = data
        for step in above:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get(last), str) and not inner[last].startswith("~"):
            inner[last] = str(cwd / inner[last])
    return data
