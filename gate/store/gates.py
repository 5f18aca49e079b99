"""What the gates that share a store tell each other: the keys that each has signed with, and those it knows.

A gate that does not know another's key takes that gate's visitors for newcomers, and they lose their place: nobody would
notice until they complain.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from gate.core.credentials import Key, KeyRing
from gate.store.link import Link

KEY = "gate:{gates}:keys"
FRESH = 15.0  # seconds for which a gate's word counts; their clocks may differ by some of it
FORGOTTEN = 3600.0  # seconds after which it is removed


@dataclass(frozen=True, slots=True)
class Ring:
    """``signed`` and ``knows``: what a key derives for this purpose, which says nothing about the key."""

    name: str
    signed: frozenset[str]
    knows: frozenset[str]

    @classmethod
    def of(cls, name: str, ring: KeyRing, signed: Iterable[Key]) -> "Ring":
        return cls(name, frozenset(map(_mark, signed)), frozenset(map(_mark, ring.keys)))

    def agrees_with(self, other: "Ring") -> bool:
        """Does each know every key that the other's visitors may come with?"""
        return self.signed <= other.knows and other.signed <= self.knows


def _mark(key: Key) -> str:
    return key.derive("mark").hex()[:16]


async def meet(link: Link, id_: str, ring: Ring, now: float) -> list[Ring]:
    """Tells the others of ``ring``, under this gate's ``id_``; theirs. Raises :class:`gate.store.link.StoreUnavailable`."""
    told = {"name": ring.name, "signed": sorted(ring.signed), "knows": sorted(ring.knows), "at": now}
    await link.command("HSET", KEY, id_, json.dumps(told))
    others = []
    for other, text in (await link.command("HGETALL", KEY)).items():
        try:
            found = json.loads(text)
            name, signed, knows, age = found["name"], found["signed"], found["knows"], abs(now - found["at"])
        except (ValueError, KeyError, TypeError):
            age = FORGOTTEN
        if age >= FORGOTTEN:
            await link.command("HDEL", KEY, other)
        elif age < FRESH and other != id_.encode():
            others.append(Ring(str(name), frozenset(signed), frozenset(knows)))
    return others
