"""Where the files that travel with the package are: in a wheel under ``gate/data``, in the repository at its root."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def static(name: str) -> Path:
    """The path of ``static/<name>``; it need not exist."""
    return _folder("static") / name


def config(name: str) -> Path:
    """The path of ``config/<name>``; it need not exist."""
    return _folder("config") / name
