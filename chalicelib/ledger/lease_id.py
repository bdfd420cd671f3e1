"""Lease ids: unique, sorting by time, and safe in a URL, a file name and a DynamoDB key."""

from chalicelib.randomness import Randomness

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_HALF = 10  # characters, 5 bits each
_RANDOM_BITS = 5 * _HALF
_RANDOM_BYTES = 8
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}


def new_lease_id(now_ms: int, randomness: Randomness) -> str:
    """The id of a lease that begins now."""
    return lease_id_of(now_ms, int.from_bytes(randomness(_RANDOM_BYTES)) >> (8 * _RANDOM_BYTES - _RANDOM_BITS))


def lease_id_of(now_ms: int, chance: int) -> str:
    """Ten characters of time, ten of chance (50 bits). Starts with a digit until 2285."""
    return since(now_ms) + _base32(chance % (1 << _RANDOM_BITS))


def since(now_ms: int) -> str:
    """The smallest string that sorts at or before every id of this instant, and after all earlier ones."""
    return _base32(now_ms)


def instant_of(lease_id: str) -> int | None:
    """When the lease of this id began, ms; None where the id says nothing of it, as one of another making."""
    if len(lease_id) != 2 * _HALF:
        return None
    now_ms = 0
    for character in lease_id[:_HALF]:
        value = _VALUES.get(character)
        if value is None:
            return None
        now_ms = now_ms << 5 | value
    return now_ms


def _base32(number: int) -> str:
    return "".join([_ALPHABET[number >> shift & 31] for shift in range(5 * (_HALF - 1), -1, -5)])
