"""How Oscar is run: two processes, no control socket in somebody's home, and no longer than the process that started it."""

import os

from gate.process import die_with_parent

workers = 2
threads = 2
control_socket_disable = True
accesslog = None


def on_starting(_server: object) -> None:
    if "OSCAR_PARENT" in os.environ:
        die_with_parent(int(os.environ["OSCAR_PARENT"]))
