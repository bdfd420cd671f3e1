"""What was opened once is never opened again, for as long as it could be.

Memory is bounded and fails closed: when it is full nothing new is opened until an epoch is over, or, for the modes
without epochs, until the enclave is started anew. A request is remembered by 64 bits of a keyed hash, some 12 bytes of
memory: with MOST of them, one new request in 10^12 is taken for a replay.
"""

import hashlib
import os
import threading
from array import array
from bisect import bisect_left

from enclave.refusal import NotOpened, Unavailable

MOST = 16_000_000
FOR_EVER: int = 2**63
_BUCKET_BITS = 12


class ReplayMemory:
    """Thread-safe: of two that remember the same key, exactly one succeeds."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._secret = os.urandom(16)  # so that nobody can make two requests that look the same
        self._lock = threading.Lock()
        self._by_expiry: dict[int, _NumberSet] = {}  # by the time when what they came with expires

    def remember(self, key: bytes, *, until_ms: int, now_ms: int) -> None:
        """Raises NotOpened where the key is known already, Unavailable where there is no room for one more."""
        number = self._number(key)
        with self._lock:
            for over in [known for known in self._by_expiry if known <= now_ms]:
                del self._by_expiry[over]
            if until_ms not in self._by_expiry:
                self._by_expiry[until_ms] = _NumberSet()
            numbers = self._by_expiry[until_ms]
            if number in numbers:
                raise NotOpened("replay")
            if sum(map(len, self._by_expiry.values())) >= self._most:
                raise Unavailable("The memory of what was opened is full.")
            numbers.add(number)

    def must_be_new(self, key: bytes) -> None:
        """Raises NotOpened where the key is known already, and remembers nothing."""
        number = self._number(key)
        with self._lock:
            if any(number in numbers for numbers in self._by_expiry.values()):
                raise NotOpened("replay")

    def _number(self, key: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(key, digest_size=8, key=self._secret).digest())


class _NumberSet:
    """A set of 64-bit numbers in a tenth of a set's memory: sorted arrays, short enough to insert into."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(2**_BUCKET_BITS)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        bucket = self._bucket(number)
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number

    def add(self, number: int) -> None:
        bucket = self._bucket(number)
        bucket.insert(bisect_left(bucket, number), number)
        self._count += 1

    def _bucket(self, number: int) -> "array[int]":
        return self._buckets[number >> (64 - _BUCKET_BITS)]
