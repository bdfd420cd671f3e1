"""Which tools may be offered and called, by globs of their names."""

from guard.automaton import wholly
from guard.rules import Tools
from guard.syntax import literal

_SIGNS = {"*": r"(?s:.*)", "?": r"(?s:.)"}


class Globs:
    """Compiled."""

    def __init__(self, tools: Tools) -> None:
        self._allowed = wholly(map(_pattern, tools.allowed)) if tools.allowed else None
        self._blocked = wholly(map(_pattern, tools.blocked)) if tools.blocked else None

    def allow(self, name: str) -> bool:
        written = name.encode(errors="replace")
        if self._blocked is not None and self._blocked(written):
            return False
        return self._allowed is None or self._allowed(written)


def _pattern(glob: str) -> str:
    return "".join(_SIGNS.get(char) or literal(char) for char in glob)
