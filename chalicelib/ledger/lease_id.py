"""Lease ids: unique, sorting by time, and safe in a URL, a file name and a DynamoDB key."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_HALF = 10  # characters, 5 bits each
RANDOM_BITS = 5 * _HALF


def new_lease_id(now_ms: int, random_bits: int) -> str:
    """Ten characters of time, ten of chance (50 random bits, from the caller). Starts with a digit until 2285."""
    return since(now_ms) + _base32(random_bits % (1 << RANDOM_BITS))


def since(now_ms: int) -> str:
    """The smallest string that sorts at or before every id of this instant, and after all earlier ones."""
    return _base32(now_ms)


def _base32(number: int) -> str:
    return "".join([_ALPHABET[number >> shift & 31] for shift in range(5 * (_HALF - 1), -1, -5)])
