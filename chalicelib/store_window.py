"""How many calls a store is asked at once: as many as it answers in good time, which is found out.

A call that waits here has not left, and what gives up here has done nothing; one that times out may be carried out
yet, and keeps a store that is too slow already busy with what nobody waits for. So calls are held back before they
would time out: by how long answers take, as TCP Vegas does (L. S. Brakmo and L. L. Peterson, IEEE Journal on Selected
Areas in Communications, 1995).
"""

import time
from collections.abc import Callable
from threading import Condition

FIRST = 16
LEAST = 4
MOST = 256

SLOW = 4
"""An answer that takes more than so small a part of the deadline comes from a store that has enough to do."""


class Window:
    """Thread-safe."""

    def __init__(self, deadline_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """`deadline_s`: of a call, and of waiting for one's turn to make it."""
        self._deadline_s = deadline_s
        self._monotonic_s = monotonic_s
        self._most = float(FIRST)
        self._grows_fast = True  # until it has once been too many
        self._shrunk_s = monotonic_s()
        self._running = 0
        self._full = False  # or was so a moment ago: more would have been asked
        self._changed = Condition()

    @property
    def most(self) -> int:
        return int(self._most)

    def enter(self) -> float | None:
        """When the call begins: now; None: it must not, for those before it are not answered in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._running < self.most, self._deadline_s):
                return None
            self._running += 1
            self._full = self._full or self._running >= self.most
            return self._monotonic_s()

    def leave(self, began_s: float) -> None:
        """It has been answered, or never will be."""
        with self._changed:
            now_s = self._monotonic_s()
            took_s = now_s - began_s
            if took_s * SLOW <= self._deadline_s:
                if self._full:
                    self._most = min(MOST, self._most + (1 if self._grows_fast else 1 / self._most))
            elif began_s >= self._shrunk_s:  # once for all that were under way together
                self._most = max(LEAST, self._most * (0.7 if took_s < self._deadline_s else 0.5))
                self._shrunk_s, self._grows_fast = now_s, False
            self._running -= 1
            self._full = self._full and 2 * self._running >= self.most
            self._changed.notify()
