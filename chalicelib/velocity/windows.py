"""Sets of what was seen in a window of time, which never hold more than is said."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from chalicelib.tenancy.tenant import What


class Window(msgspec.Struct, frozen=True):
    """One of those that follow each other by the clock."""

    per_s: int
    number: int  # since 1970

    @property
    def ends_ms(self) -> int:
        return (self.number + 1) * self.per_s * 1_000


def window_at(per_s: int, now_ms: int) -> Window:
    return Window(per_s, now_ms // (per_s * 1_000))


class Windows(Protocol):
    """All windows in one region; `whose` are counted apart. May raise StoreUnavailable."""

    def add(
        self, whose: str, window: Window, adding: Mapping[What, tuple[bytes, int]]
    ) -> Mapping[What, frozenset[bytes]] | None:
        """Add each digest to the window's set of that kind, unless one of the sets would have more than that many.

        None: done, or they were there. Otherwise nothing was added; the sets, as they are.
        """
