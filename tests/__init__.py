"""A package, so that a dependency that installs a `tests` of its own (sniffpy) does not stand in for this one."""
