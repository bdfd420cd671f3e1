"""What is true for a moment, and gone with the process: who has the secret of it may take it in time."""

from collections.abc import Callable
from typing import Generic, TypeVar

from emulators.clock import Clock

T = TypeVar("T")
_MOST = 10_000


class Momentary(Generic[T]):
    def __init__(self, lasts_ms: int, clock: Clock, new_secret: Callable[[], str]) -> None:
        self._lasts_ms = lasts_ms
        self._clock = clock
        self._new_secret = new_secret
        self._held: dict[str, tuple[int, T]] = {}  # in the order of their ends, for all last as long

    def keep(self, value: T) -> str:
        """The secret."""
        now_ms = self._clock()
        while self._held and (len(self._held) >= _MOST or next(iter(self._held.values()))[0] <= now_ms):
            del self._held[next(iter(self._held))]
        secret = self._new_secret()
        self._held[secret] = (now_ms + self._lasts_ms, value)
        return secret

    def look(self, secret: str) -> T | None:
        ends_ms, value = self._held.get(secret, (0, None))
        return value if ends_ms > self._clock() else None

    def take(self, secret: str) -> T | None:
        """Once: whoever comes with it again finds nothing."""
        found = self.look(secret)
        self._held.pop(secret, None)
        return found
