"""Who may steer the gate: bearer tokens with a role, kept as hashes, and the local credential of this machine.

A token is 32 random bytes, so a plain SHA-256 of it is as good as a slow hash: there is nothing to guess. It is shown once,
when it is made. Whoever can read the state directory (the gate's own user) is an operator by the file ``local.token``.
"""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from os import urandom
from pathlib import Path

from gate import private
from gate.core.jwt import base64url

FILE = "operators.json"
LOCAL_FILE = "local.token"
LOCAL = "local"
PREFIX = "gate_op_"  # so that secret scanners and people know one when they see it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Role(StrEnum):
    VIEWER = "viewer"  # sees status, config and audit
    OPERATOR = "operator"  # changes them, and reads the e-mail addresses


class BadOperators(Exception):
    """The list or the change asked for is not acceptable. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Operator:
    """``sha256`` is of the token, in hex; ``created`` is Unix time in seconds."""

    name: str
    role: Role
    sha256: str
    created: float

    def may(self, role: Role) -> bool:
        return self.role is Role.OPERATOR or role is Role.VIEWER


class Operators:
    """The list on disk. Changes of the file count from the next question on, without a restart."""

    def __init__(self, state: Path) -> None:
        self._path = state.expanduser() / FILE
        self._local_path = state.expanduser() / LOCAL_FILE
        self._stamp: tuple[object, object] | None = None
        self._known: tuple[Operator, ...] = ()

    def start(self, *, random: Callable[[int], bytes] = urandom) -> None:
        """Makes this machine's credential if it is missing, and looks whether the list can be used.

        Raises :class:`BadOperators`, :class:`gate.private.Unsafe`, :class:`OSError`.
        """
        private.make_directory(self._path.parent)
        private.create(self._local_path, _token(random).encode() + b"\n")
        self.list()

    def first(self, *, clock: Callable[[], float] = time.time, random: Callable[[int], bytes] = urandom) -> str | None:
        """Where there is no list yet, makes it with one operator, whose token it returns; else None.

        To be called when nothing stands between the token and whoever it is shown to: it is never shown again. Raises as
        :meth:`start`.
        """
        token = _token(random)
        first = Operator("admin", Role.OPERATOR, _digest(token), clock())
        return token if private.create(self._path, _to_json((first,))) else None

    def who(self, token: str) -> Operator | None:
        """Whose token this is. Takes the same time for every wrong one. Raises as :meth:`start`."""
        digest = _digest(token)
        found = None
        for operator in self._everybody():
            if hmac.compare_digest(operator.sha256, digest):
                found = operator
        return found

    def still(self, operator: Operator) -> Operator | None:
        """The same operator as listed now, or None when removed or given a new token since."""
        return next((o for o in self._everybody() if o.name == operator.name and o.sha256 == operator.sha256), None)

    def list(self) -> tuple[Operator, ...]:
        """The named operators, oldest first; without the local credential. Raises as :meth:`start`."""
        return tuple(operator for operator in self._everybody() if operator.name != LOCAL)

    def add(
        self, name: str, role: Role, *, clock: Callable[[], float] = time.time, random: Callable[[int], bytes] = urandom
    ) -> str:
        """The new operator's token, to be shown once. Raises as :meth:`start`."""
        if not _NAME.fullmatch(name) or name == LOCAL:
            raise BadOperators(f"{name!r} cannot be a name; use letters, digits, '.', '_', '@' and '-', at most 64")
        private.make_directory(self._path.parent)
        token = _token(random)
        with private.locked(self._path):
            known = _from_json(self._path)
            if any(operator.name == name for operator in known):
                raise BadOperators(f"{name!r} exists; remove it first, or choose another name")
            private.write(self._path, _to_json((*known, Operator(name, role, _digest(token), clock()))))
        return token

    def remove(self, name: str) -> None:
        """From now on the token and every console session of ``name`` are refused. Raises as :meth:`start`."""
        with private.locked(self._path):
            known = _from_json(self._path)
            left = tuple(operator for operator in known if operator.name != name)
            if len(left) == len(known):
                names = ", ".join(operator.name for operator in known) or "nobody"
                raise BadOperators(f"there is no operator {name!r}; listed: {names}")
            private.write(self._path, _to_json(left))

    def _everybody(self) -> tuple[Operator, ...]:
        stamp = (private.stamp(self._path), private.stamp(self._local_path))
        if stamp != self._stamp:
            known = _from_json(self._path)
            token = local_token(self._path.parent)
            if token is not None:
                known = (*known, Operator(LOCAL, Role.OPERATOR, _digest(token), 0.0))
            self._known, self._stamp = known, stamp
        return self._known


def local_token(state: Path) -> str | None:
    """The credential of this machine; None when the gate has never run here. Raises :class:`gate.private.Unsafe`, OSError."""
    try:
        return private.read(state.expanduser() / LOCAL_FILE).decode("ascii").strip() or None
    except FileNotFoundError:
        return None


def _token(random: Callable[[int], bytes]) -> str:
    return PREFIX + base64url(random(32))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _to_json(operators: tuple[Operator, ...]) -> bytes:
    return json.dumps({"operators": [asdict(operator) for operator in operators]}, indent=1).encode() + b"\n"


def _from_json(path: Path) -> tuple[Operator, ...]:
    try:
        entries = json.loads(private.read(path))["operators"]
        return tuple(Operator(str(e["name"]), Role(e["role"]), str(e["sha256"]), float(e["created"])) for e in entries)
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError) as error:
        raise BadOperators(f"{path} is not a list of operators; put the backup back, or move it away") from error
