"""What can be wrong with a config, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file (lines and columns from 1), or an environment variable or secret file, which have none."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: at ``place``, with the setting at ``path`` (empty for the file as a whole). ``text`` ends with the cure."""

    place: Place
    path: str
    text: str
    severity: Severity = "error"

    def __str__(self) -> str:
        mark = "warning: " if self.severity == "warning" else ""
        path = f"{self.path}: " if self.path else ""
        return f"{self.place}: {mark}{path}{self.text}"

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.place.source,
            "line": self.place.line,
            "column": self.place.column,
            "path": self.path,
            "text": self.text,
            "severity": self.severity,
        }


class ConfigError(ValueError):
    """The config cannot be used. ``problems`` has all of them, in the order of the file; ``str`` is one per line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)
