"""Windows in memory."""

from collections.abc import Mapping
from threading import Lock

from chalicelib.tenancy.tenant import What
from chalicelib.velocity.windows import Window


class MemoryWindows:
    """Implements Windows: the twin of the DynamoDB store, for tests and for trying things out."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, Window], dict[What, frozenset[bytes]]] = {}
        self._lock = Lock()

    def add(
        self, whose: str, window: Window, adding: Mapping[What, tuple[bytes, int]]
    ) -> Mapping[What, frozenset[bytes]] | None:
        with self._lock:
            held = self._held.get((whose, window), {})
            wanted = {what: held.get(what, frozenset()) | {digest} for what, (digest, _) in adding.items()}
            if any(len(wanted[what]) > max(most, len(held.get(what, ()))) for what, (_, most) in adding.items()):
                return held
            self._held[whose, window] = held | wanted
            return None
