"""``gate``, and ``python -m gate``."""

import sys


def main() -> None:
    """The entry point of the installed command. Ctrl-C while it is still being read ends it without a word."""
    try:
        from gate.cli import app  # here: the children of `gate serve` import this module again (multiprocessing spawn)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell has it: 128 and the number of SIGINT
    app()


if __name__ == "__main__":
    main()
