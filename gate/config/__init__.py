"""Finding, reading and judging ``gate.yaml``; the settings themselves are :mod:`gate.core.settings`.

A file is read into a tree that knows the place of every value (:mod:`~gate.config.tree`), overrides from the environment
are laid over it (:mod:`~gate.config.overrides`), the model judges it, and what the model cannot see is checked last
(:mod:`~gate.config.checks`). Every problem of all of these is reported at once, with its place and what to write instead.
"""

from gate.config.checks import Finding
from gate.config.load import Report, dump, examine, find, load, schema
from gate.config.problems import ConfigError, Place, Problem
from gate.config.watch import changes, digest

__all__ = [
    "ConfigError",
    "Finding",
    "Place",
    "Problem",
    "Report",
    "changes",
    "digest",
    "dump",
    "examine",
    "find",
    "load",
    "schema",
]
