"""Chance as every room takes it: an argument, never an ambient call."""

import os
from collections.abc import Callable

Randomness = Callable[[int], bytes]
"""n -> n bytes nobody can guess (`secrets.token_bytes`)."""

ID_BYTES = 16
_AHEAD = 256


def for_ids(randomness: Randomness) -> Randomness:
    """The same for ids, up to ID_BYTES at once; drawn ahead, for each draw lets other threads go first. Thread-safe."""
    drawn: list[bytes] = []
    os.register_at_fork(after_in_child=drawn.clear)

    def draw(count: int) -> bytes:
        if count > ID_BYTES:
            return randomness(count)
        try:
            return drawn.pop()[:count]
        except IndexError:
            fresh = randomness(ID_BYTES * _AHEAD)
            drawn.extend([fresh[at : at + ID_BYTES] for at in range(ID_BYTES, len(fresh), ID_BYTES)])
            return fresh[:count]

    return draw
