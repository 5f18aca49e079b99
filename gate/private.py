"""Files that only the gate's own user may read: keys, credentials, orders.

Every write is whole or not at all (a new file renamed over the old one, or linked into place), so that a crash or a second
gate at the same moment leaves one complete file.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Unsafe(Exception):
    """A file or directory that others could read or change. The text says which, and the command that mends it."""


class NotKept(Exception):
    """What somebody gave could not be written down, so it does not count. The text says why."""


def make_directory(path: Path) -> Path:
    """The directory, made with mode 0700 if it is not there. Raises :class:`Unsafe` when others may write to it."""
    path = path.expanduser()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o022:
        raise Unsafe(f"{path}: others may write here, so they could replace the gate's keys; run: chmod go-w {path}")
    return path


def read(path: Path) -> bytes:
    """What is in the file. Raises :class:`Unsafe` when anybody but its owner may read it; :class:`OSError`."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise Unsafe(f"{path}: others may read this secret (mode {mode & 0o777:04o}); run: chmod 600 {path}")
        return file.read()


def write(path: Path, data: bytes) -> None:
    """Replaces the file, durably. Raises :class:`OSError`; then the old content is still there."""
    fresh = _beside(path, data)
    try:
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def create(path: Path, data: bytes) -> bool:
    """Makes the file if it is not there. Of several processes that try at once exactly one is told True."""
    if path.exists():
        return False
    fresh = _beside(path, data)
    try:
        os.link(fresh, path)  # unlike a rename, fails when the name is taken
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    _sync_directory(path.parent)
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock for a read-change-write on ``path``. The lock dies with the process."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file is replaced; None while it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _beside(path: Path, data: bytes) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
