"""Damage of files, by a seed."""

from __future__ import annotations

import random


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a file with a few bits, bytes or the end changed."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(found))
        match rng.randrange(10):
            case 0:
                del found[at : at + rng.randrange(1, 9)]
            case 1:
                found[at:at] = rng.randbytes(3)
            case 2:
                del found[max(at, 100) :]
            case _:
                found[at] ^= 1 << rng.randrange(8)
    return bytes(found)
