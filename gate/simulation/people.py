"""The crowd, in columns: a million visitors fit into a hundred megabytes."""

import math
import random
from array import array
from bisect import bisect_right
from itertools import accumulate

from gate.simulation.sale import Sale

SCRIPT, PAGE, PROGRAM, HIDDEN, GHOST = range(5)
WAITS, ENTERED, LEFT, FULL, OVER = range(5)
FATES = ("waits", "entered", "left", "full", "over")


class People:
    """Everybody by the order of arrival. Times are seconds; infinite: it never happened."""

    def __init__(self, sale: Sale, rng: random.Random) -> None:
        visitors = sale.curve.visitors
        curve = sale.curve.grown_to(visitors + sale.ghosts)
        self.came = array("d", curve.drawn(rng))
        count = len(self.came)
        never = array("d", [math.inf])
        self.kind = bytearray(self._kinds(sale, rng, count))
        for who in rng.sample(range(count), sale.ghosts):
            self.kind[who] = GHOST
        self.group = self._groups(sale, rng)  # 0: not invited; else the group's place in `sale.invited`, from 1
        self.leaves = never * count
        if sale.leave > 0:
            for who, came in enumerate(self.came):
                if rng.random() < sale.leave:
                    self.leaves[who] = came + rng.expovariate(1 / sale.patience)
        self.fate = bytearray(count)
        self.entered = never * count
        self.knocked = never * count  # for the first time
        self.number = array("q", [0]) * count
        self.turn = array("q", [0]) * count  # the same, unless it was drawn
        self.epoch = array("l", [0]) * count
        self.loaded = array("d", [0.0]) * count  # the page, which looks in whole seconds from then on
        self.shown = array("l", [-1]) * count  # people ahead, as it was told last

    def __len__(self) -> int:
        return len(self.came)

    def _kinds(self, sale: Sale, rng: random.Random, count: int) -> list[int]:
        parts = (sale.no_js, sale.programs, sale.hidden * max(0.0, 1 - sale.no_js - sale.programs))
        if not any(parts):
            return [SCRIPT] * count
        page, program, hidden = accumulate(parts)
        drawn = (rng.random() for _ in range(count))
        return [PAGE if x < page else PROGRAM if x < program else HIDDEN if x < hidden else SCRIPT for x in drawn]

    def _groups(self, sale: Sale, rng: random.Random) -> bytearray:
        if not sale.invited:
            return bytearray(len(self))
        upto = list(accumulate(share for _, share in sale.invited))
        drawn = ((bisect_right(upto, rng.random()) + 1) % (len(upto) + 1) for _ in range(len(self)))
        return bytearray(0 if self.kind[who] == GHOST else group for who, group in enumerate(drawn))

    def waited_until(self, who: int) -> float:
        """When it stopped waiting."""
        return min(self.entered[who], self.leaves[who])
