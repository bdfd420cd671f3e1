"""Throws broken bytes at a parser for a while, and tells if anything happens that is not declared.

The bytes are real ones, broken in the ways that wires and attackers break them. Behind a signature a parser is
reached only with bytes that are signed, so those are broken first and signed then.
"""

import random
import time
import traceback
from collections.abc import Callable

import msgspec

from sealed.refusal import SealedError

BOUNDARIES = (0, 1, 2, 0x17, 0x18, 0x1F, 0x20, 0x5F, 0x7F, 0x80, 0x82, 0x84, 0x9F, 0xA0, 0xBF, 0xC0, 0xD8, 0xFE, 0xFF)


class Parser(msgspec.Struct, frozen=True):
    """What is tried, with which bytes, and the one exception that it may raise."""

    broken: Callable[[random.Random], bytes]
    read: Callable[[bytes], object]
    declared: type[SealedError]


def fuzz(parser: Parser, seconds: float, seed: int) -> int:
    """How many inputs the parser took. Raises AssertionError with the input that it did not."""
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < until:
        data = parser.broken(chance)
        try:
            parser.read(data)
        except parser.declared:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {tried}: {data.hex()}\n{traceback.format_exc()}") from error
        tried += 1
    return tried


def broken(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four faults."""
    faulty = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        chance.choice(FAULTS)(faulty, chance)
    return bytes(faulty)


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(BOUNDARIES)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randint(1, 32)]


def _insert(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = bytes(chance.choice(BOUNDARIES) for _ in range(chance.randint(1, 8)))


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.randint(1, 600)] * chance.choice((1, 1, 1, 100))


FAULTS = (_flip, _set, _cut, _remove, _insert, _repeat)
