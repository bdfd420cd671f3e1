"""What two lists of globs (`*` any characters, `?` one) both allow. Pure; needs no RE2."""

import re
from collections.abc import Iterable
from functools import lru_cache

Listed = tuple[str, ...]


def covers(globs: Iterable[str], other: str) -> bool:
    """Whether one of the globs allows every name that the other glob allows."""
    return any(_pattern(glob).fullmatch(other) for glob in globs)


@lru_cache(maxsize=256)
def common(mine: Listed, theirs: Listed) -> Listed:
    """Of each list what the other covers. Of two globs that only overlap nothing is left: no list would say it."""
    kept = [glob for glob in mine if covers(theirs, glob)] + [glob for glob in theirs if covers(mine, glob)]
    return tuple(dict.fromkeys(kept))


@lru_cache(maxsize=1_024)
def _pattern(glob: str) -> re.Pattern[str]:
    """For globs, as for names: their own `*` is matched by a `*` alone. Never looks back, which would take for ever."""
    first, *rest = ("".join("[^*]" if sign == "?" else re.escape(sign) for sign in part) for part in glob.split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}", re.DOTALL)
