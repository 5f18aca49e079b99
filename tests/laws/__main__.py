"""``python -m tests.laws``: a long run with every fault in a random order; prints what the checker decides.

The records stay in the directory that is printed, for ``--check DIRECTORY`` to decide again.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from gate.demo import journal
from tests.laws import records
from tests.laws.checker import History, breaches, kendall
from tests.laws.run import FAULTS, Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.laws", description=__doc__)
    parser.add_argument("--visitors", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=150.0, help="how long they stay")
    parser.add_argument("--rate", type=int, default=8, help="visitors a second")
    parser.add_argument("--active", type=int, help="most inside, for sessions of ten seconds")
    parser.add_argument("--faults", type=int, default=12, help="how many")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--check", type=Path, help="decide an earlier run of the same rate again")
    options = parser.parse_args()
    if options.check is not None:
        saws, faults = records.read(options.check / "clients.jsonl")
        history = History(saws, faults, list(journal.read(options.check / "shop.jsonl")), options.rate, options.rate // 2)
    else:
        directory = Path(tempfile.mkdtemp(prefix="floodgate-laws-"))
        faults_ = [random.Random(options.seed + n).choice(sorted(FAULTS)) for n in range(options.faults)]
        print(f"seed {options.seed}, records in {directory}; faults: {', '.join(faults_)}", flush=True)
        session = 600 if options.active is None else 10
        history = run(
            directory,
            Plan(
                visitors=options.visitors,
                over=options.visitors / options.rate / 3,
                seconds=options.seconds,
                rate=options.rate,
                burst=options.rate // 2,
                active=options.active,
                session=session,
                faults=faults_,
                every=8.0,
                seed=options.seed,
            ),
        )
    found = breaches(history)
    print(f"{len(history.saws)} answers, {len(history.entered())} entered, Kendall's tau {kendall(history):.4f}")
    for breach in found:
        print(f"  {breach}")
    print(f"{len(found)} breaches" if found else "every law held")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
