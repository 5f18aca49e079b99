"""What the gates that share a store tell each other: the key each signs with, and the keys it knows.

A gate that does not know another's key takes that gate's visitors for newcomers, and they lose their place: nobody would
notice until they complain.
"""

import json
from dataclasses import dataclass

from gate.core.credentials import KeyRing
from gate.store.link import Link

KEY = "gate:{gates}:keys"
FRESH = 15.0  # seconds for which a gate's word counts; their clocks may differ by some of it
FORGOTTEN = 3600.0  # seconds after which it is removed


@dataclass(frozen=True, slots=True)
class Ring:
    """``signs`` and ``knows``: what a key derives for this purpose, which says nothing about the key."""

    name: str
    signs: str
    knows: frozenset[str]

    @classmethod
    def of(cls, name: str, ring: KeyRing) -> "Ring":
        marks = [key.derive("mark").hex()[:16] for key in ring.keys]
        return cls(name, marks[-1], frozenset(marks))

    def agrees_with(self, other: "Ring") -> bool:
        """Does each know the key that the other signs with?"""
        return self.signs in other.knows and other.signs in self.knows


async def meet(link: Link, id_: str, ring: Ring, now: float) -> list[Ring]:
    """Tells the others of ``ring``, under this gate's ``id_``; theirs. Raises :class:`gate.store.link.StoreUnavailable`."""
    told = {"name": ring.name, "signs": ring.signs, "knows": sorted(ring.knows), "at": now}
    await link.command("HSET", KEY, id_, json.dumps(told))
    others = []
    for other, text in (await link.command("HGETALL", KEY)).items():
        try:
            found = json.loads(text)
            name, signs, knows, age = found["name"], found["signs"], frozenset(found["knows"]), abs(now - found["at"])
        except (ValueError, KeyError, TypeError):
            age = FORGOTTEN
        if age >= FORGOTTEN:
            await link.command("HDEL", KEY, other)
        elif age < FRESH and other != id_.encode():
            others.append(Ring(str(name), str(signs), knows))
    return others
