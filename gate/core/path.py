"""Canonical paths: decide and forward the same bytes, and let no spelling slip by a rule (RFC 3986 section 6)."""

from dataclasses import dataclass


class MalformedTarget(ValueError):
    """The request target can be read in two ways, or in none. The text says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Path:
    """``raw`` is what the origin will get; ``widened`` is what rules are matched on.

    The widened form is percent-decoded twice, has ``;params`` cut, slashes collapsed, letters case-folded and trailing
    dots and spaces cut, so that whatever an origin might take for ``/checkout`` is matched as ``/checkout``.
    """

    raw: bytes
    widened: str
