"""``python -m gate``."""

from gate.cli import main

if __name__ == "__main__":  # the children of `gate serve` import this module again (multiprocessing spawn)
    main()
