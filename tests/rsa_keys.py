"""RSA keys for tests, most of which take less time than drawing such a key does."""

from functools import cache
from itertools import cycle

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

_turns = cycle(range(16))


def another() -> RSAPrivateKey:
    """None of the last fifteen. A process draws sixteen at most, and gives them out in turn."""
    return _drawn(next(_turns))


@cache
def _drawn(_turn: int) -> RSAPrivateKey:
    return generate_private_key(65_537, 2048)
