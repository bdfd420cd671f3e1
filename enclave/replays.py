"""What was opened once is never opened again, for as long as it could be.

Memory is bounded and fails closed: when it is full nothing new is opened until an epoch has passed, or, for the modes
without epochs, until another enclave takes over. A key costs about 100 bytes.
"""

import hashlib
import threading

from enclave.refusal import NotOpened, Unavailable

MOST = 1_000_000
FOR_EVER: int = 2**63


class ReplayMemory:
    """Thread-safe: of two that remember the same key, exactly one succeeds."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._seen: dict[int, set[bytes]] = {}  # by the time when what they came with expires
        self._count = 0

    def remember(self, key: bytes, *, until_ms: int, now_ms: int) -> None:
        """Raises NotOpened where the key is known already, Unavailable where there is no room for one more."""
        short = hashlib.sha256(key).digest()[:16]
        with self._lock:
            self._forget(now_ms)
            seen = self._seen.setdefault(until_ms, set())
            if short in seen:
                raise NotOpened("replay")
            if self._count >= self._most:
                raise Unavailable("The memory of what was opened is full.")
            seen.add(short)
            self._count += 1

    def _forget(self, now_ms: int) -> None:
        for until_ms in [until_ms for until_ms in self._seen if until_ms <= now_ms]:
            self._count -= len(self._seen.pop(until_ms))
