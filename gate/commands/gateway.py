"""The way from a command to the running gate that its config names."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from ruamel.yaml import YAML

from gate import config, private
from gate.commands.terminal import fail
from gate.core.settings import Settings
from gate.operators import LOCAL_FILE, local_token

DEADLINE = 10.0  # seconds
IN_FORCE = 3.0  # seconds an order is waited for; workers look for orders twice a second, and say so once
LOOK = 0.1  # seconds
_open = build_opener(ProxyHandler({})).open  # never through a proxy: the token is for this gate alone


class CommandFailed(Exception):
    """What went wrong, and what to do, in words for the person at the terminal."""


def _steered(path: Path | None) -> tuple[Path, Settings]:
    """Where the running gate is. It goes on with its last good config while the file has a mistake, and so must whoever
    steers it: then only `operator` and `state` are read. Raises :class:`CommandFailed` when not even those can be."""
    try:
        return Gate.settings_of(path)
    except CommandFailed as broken:
        try:
            found = config.find(path)
            data = YAML(typ="safe").load(found.read_text(encoding="utf-8"))
            settings = Settings.model_validate({name: data[name] for name in ("operator", "state") if name in data})
        except Exception:
            raise broken from None
        state = Path(os.environ.get("GATE_STATE") or found.parent / settings.state.expanduser())
        print(f"warning: {found} has a mistake (`gate check {found}`); this acts on the gate as it runs", file=sys.stderr)
        return found, settings.model_copy(update={"state": state})


@dataclass(frozen=True, slots=True)
class Gate:
    url: str
    token: str
    config_path: Path

    @staticmethod
    def settings_of(path: Path | None) -> tuple[Path, Settings]:
        """Raises :class:`CommandFailed`."""
        try:
            found = config.find(path)
            return found, config.load(found)
        except config.ConfigError as error:
            raise CommandFailed("\n".join(map(str, error.problems))) from error
        except OSError as error:
            raise CommandFailed(f"Cannot read the config {path or ''}: {error.strerror}.") from error

    @classmethod
    def named(cls, path: Path | None) -> "Gate":
        """The gate that the config names. Raises :class:`CommandFailed`."""
        found, settings = _steered(path)
        token = os.environ.get("GATE_TOKEN")
        if not token:
            try:
                token = local_token(settings.state)
            except private.Unsafe as error:
                raise CommandFailed(str(error)) from error
            except OSError as error:
                raise CommandFailed(
                    f"Cannot read {settings.state / LOCAL_FILE}: {error.strerror}. "
                    "Run this as the gate's own user, or set GATE_TOKEN to an operator's token."
                ) from error
        if not token:
            raise CommandFailed(
                f"No gate has run here with the state directory {settings.state} (from {found}). "
                f"Start it with `gate serve --config {found}`; for a gate elsewhere set GATE_TOKEN to an operator's token."
            )
        return cls("http://" + _reachable(settings.operator.listen), token, found)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON answer. Raises :class:`CommandFailed`."""
        return json.loads(self.read(method, path, body))

    def order(self, method: str, path: str, body: dict[str, Any]) -> tuple[Any, str]:
        """Gives an order, and waits until every living worker of this gate follows it. The status then, and what to say if
        some did not within :data:`IN_FORCE`. Raises :class:`CommandFailed`."""
        found = self.ask(method, path, body)
        version, until = found["version"], time.monotonic() + IN_FORCE
        while not _followed(found, version):
            if time.monotonic() > until or not any(worker["alive"] for worker in found["workers"]):
                lag = [str(worker["number"]) for worker in found["workers"] if worker["alive"] and worker["version"] < version]
                who = f"worker {', '.join(lag)} does not follow it yet" if lag else "no worker is alive to follow it"
                return found, f"The order is given and kept, but {who}; see `gate status`."
            time.sleep(LOOK)
            found = self.ask("GET", "/api/v1/status")
        return found, ""

    def read(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The answer's body. Raises :class:`CommandFailed`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(self.url + quote(path, safe="/?=&"), data=data, headers=headers, method=method)  # noqa: S310 - http only
        try:
            with _open(request, timeout=DEADLINE) as response:
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            with error:
                raise CommandFailed(self._explain(error.code, error.read())) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise CommandFailed(
                f"No gate answers at {self.url} ({why}); the address is operator.listen in {self.config_path}. "
                f"Is it running? `gate serve --config {self.config_path}` starts it."
            ) from error

    def _explain(self, status: int, body: bytes) -> str:
        if status == 401:
            return (
                f"The gate at {self.url} does not know this credential; is it the gate of {self.config_path}? "
                "Set GATE_TOKEN to an operator's token, or run this on the gate's own machine as its user."
            )
        try:
            problem = json.loads(body)
            lines = [str(problem["detail"])]
            lines += [f"  {found['field'] or 'body'}: {found['problem']}" for found in problem.get("errors", [])]
            lines += [f"  {found}" for found in problem.get("problems", [])]
            return "\n".join(lines)
        except (ValueError, KeyError, TypeError):
            return f"{self.url} answered {status}, and not as a gate does; does something else listen there?"


def _followed(found: Any, version: int) -> bool:
    workers = [worker for worker in found["workers"] if worker["alive"]]
    return bool(workers) and all(worker["version"] >= version for worker in workers)


def ask(path_of_config: Path | None, method: str, path: str) -> Any:
    """For a command that only looks: the answer of the gate that the config names, or the end of the command."""
    try:
        return Gate.named(path_of_config).ask(method, path)
    except CommandFailed as error:
        fail(error)


def _reachable(listen: str) -> str:
    """An address to connect to for one that is listened on: all interfaces are reached by the loopback one."""
    host, _, port = listen.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + ":" + port
