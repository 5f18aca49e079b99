"""Telling when the config file changed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

LOOK_ANYWAY = 5_000  # ms
STEP = 200  # ms between two looks whether the kernel has reported something


async def changes(path: Path, since: bytes | None = None) -> AsyncIterator[None]:
    """Yields once after each change of what is in the file at ``path``; runs until it is closed or cancelled.

    ``since`` is the :func:`digest` of what the caller has read; without it, what is there at the first step counts as known.

    Kubernetes replaces a mounted config by swapping a symbolic link, of which a watch on the file hears nothing; so the
    directory is watched, and the content compared. A file that is gone for a moment is no change; one that comes back
    different is. The content is also looked at every few seconds, for links into other directories and for network
    drives, which report nothing. Raises :class:`FileNotFoundError` when the directory does not exist.
    """
    from watchfiles import awatch  # here, so that commands that do not watch need not load it

    path = await asyncio.to_thread(path.absolute)
    known = await asyncio.to_thread(digest, path)
    if since is not None and known is not None and known != since:
        yield
    wakes = awatch(
        path.parent,
        watch_filter=None,
        recursive=False,
        debounce=STEP,
        step=STEP,
        rust_timeout=LOOK_ANYWAY,
        yield_on_timeout=True,
    )
    async for _ in wakes:
        found = await asyncio.to_thread(digest, path)
        if found is not None and found != known:
            known = found
            yield


def digest(path: Path) -> bytes | None:
    """Of what is in the file now; None when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None
