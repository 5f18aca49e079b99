"""The draw: everybody who came before the opening gets a place by chance, and anybody can check it.

The seed is 32 random bytes. Its SHA-256 is published while people come, the seed itself after the draw. The place of arrival
``n`` out of ``drawn`` is a keyed permutation: an alternating Feistel network over two digits of bases ``a`` and ``b`` with
``a * b >= drawn`` (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002, with cycle walking), its round function
the first eight bytes of SHA-256 over seed, round and the other digit. ``docs/fairness.md`` has it in ten lines of any language.
"""

from functools import lru_cache
from hashlib import sha256
from math import isqrt

SEED_BYTES = 32
ROUNDS = 10  # as FF1 has (NIST SP 800-38G)


def commitment(seed: bytes) -> str:
    """What is published before the draw: SHA-256 of the seed, as hex."""
    return sha256(seed).hexdigest()


@lru_cache(maxsize=1 << 16)
def drawn_place(seed: bytes, drawn: int, number: int) -> int:
    """The place, from 1, of arrival ``number`` (from 1) among ``drawn``. Raises :class:`ValueError` for any other number."""
    if not 1 <= number <= drawn:
        raise ValueError(f"{number} is not one of the {drawn} that were drawn")
    a = isqrt(drawn - 1) + 1  # the square root, rounded up
    b = -(-drawn // a)
    x = number - 1
    while True:
        high, low = divmod(x, a)
        for turn in range(ROUNDS):
            if turn % 2 == 0:
                low = (low + _mixed(seed, turn, high)) % a
            else:
                high = (high + _mixed(seed, turn, low)) % b
        x = high * a + low
        if x < drawn:
            return x + 1


def _mixed(seed: bytes, turn: int, digit: int) -> int:
    return int.from_bytes(sha256(seed + bytes([turn]) + digit.to_bytes(8, "big")).digest()[:8], "big")
