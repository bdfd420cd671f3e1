"""Windows whose questions are counted, and which can be out of reach."""

from typing import Any

from chalicelib.velocity.memory import MemoryWindows


class Counted(MemoryWindows):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.broken: Exception | None = None

    def add(self, whose: Any, window: Any, adding: Any) -> Any:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return super().add(whose, window, adding)
