"""How much a process does at once, and for whom: the rule alone, without a clock and without waiting.

Nothing that is held can be taken back: a request runs to its end. So fairness is a matter of what is left for others,
as between the queues of a switch that share one memory (A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length
Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking, 1998): who holds many may take more
only as long as much is free. One alone gets `share_percent` of all; everybody's bound sinks with each who comes; and
whoever holds nothing finds a place as long as there is any.
"""

from collections.abc import Collection
from threading import Lock

import msgspec

from chalicelib.refusal import NoCapacity

STRANGERS = ""
"""Who everybody is together whom nobody knows. No tenant is called so."""


STRANGERS_BODY_PERCENT = 25
"""Of the room for bodies, for all strangers together: those who dawdle leave most of it to whoever is known."""


class Bounds(msgspec.Struct, frozen=True):
    """Of one process, over all its tenants. What is beyond is refused at once, and waits for nothing."""

    requests: int = 1_500  # taken in, that do not stream yet
    threads: int = 128  # for those: as many are in work at once, and the others wait for their turn
    streams: int = 2_000  # open
    body_bytes: int = 64_000_000  # of requests, in memory
    share_percent: int = 75  # of each of these, for one tenant while it is alone


class Places:
    """So many of something, shared among whoever asks. Thread-safe."""

    def __init__(self, most: int, share_percent: int, strangers_percent: int | None = None) -> None:
        """`strangers_percent`: their share, where it is less than that of one tenant."""
        self._free = most
        self._share_percent = share_percent
        self._strangers_percent = share_percent if strangers_percent is None else strangers_percent
        self._held: dict[str, int] = {}
        self._lock = Lock()

    def take(self, who: str, count: int = 1) -> bool:
        """Whether they got so many more, which they then give back."""
        share = self._strangers_percent if who == STRANGERS else self._share_percent
        with self._lock:
            held, free = self._held.get(who, 0), self._free - count
            if free < 0 or (held and (held + count) * (100 - share) > free * share):
                return False
            self._held[who] = held + count
            self._free = free
            return True

    def give_back(self, who: str, count: int = 1) -> None:
        with self._lock:
            self._free += count
            self._held[who] -= count
            if not self._held[who]:
                del self._held[who]

    def held(self, who: str) -> int:
        return self._held.get(who, 0)

    def in_turn(self, waiting: Collection[str]) -> list[str]:
        """Those who wait, in the order in which they are to be asked: who holds least comes first."""
        return sorted(waiting, key=self.held)


def no_capacity() -> NoCapacity:
    return NoCapacity("The service has as much to do as it can take. Try again shortly.", retry_in_ms=1_000)
