"""What a process asks of the operating system."""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None  # loaded here: after a fork it is too late


def die_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send ``number`` to this process when its parent ends, even by SIGKILL (Linux).

    Must run on the main thread of a fresh process, or between fork and exec: two system calls, nothing else. Ends the
    process at once if ``parent`` is gone already.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def take_all_files() -> None:
    """Raise this process's limit of open files, and that of its children, to what it may be raised to (getrlimit(2)).

    The usual 1,024 are kept low for programs that use select(2), which nothing here does.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
