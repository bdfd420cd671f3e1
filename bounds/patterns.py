"""The size of a regular expression, in whichever of the usual spellings."""

import re
from collections.abc import Iterator

from bounds.sizes import CHARACTER, Expression, Size

_SPACE = r"(?:\s|#[^\n]*\n)*"
TIMES = re.compile(rf"\{{{_SPACE}(?:(\d+){_SPACE})?(?:(,){_SPACE}(?:(\d+){_SPACE})?)?\}}")
LETTER = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[pP]\{\w+\}|.)|.", re.DOTALL)
_PART = re.compile(
    rf"\(\?(?:[a-zA-Z-]*:|[=!>]|<[=!]|P?<\w+>)|\[\^?\]?(?:[^\]\\]|\\.)*\]?|\{{\d*,?\d*\}}|{LETTER.pattern}", re.DOTALL
)
ANCHORS = "^$"
_DIGITS = 9


def size_of(pattern: str) -> Size:
    """Of whatever is in it: what is no expression is measured as the text that it is. Raises TooDeepError."""
    expression = Expression()
    for part in parts(pattern):
        read(expression, part)
    return expression.size()


def parts(pattern: str) -> Iterator[str]:
    """Each of one character, or of what is said of the pieces around it."""
    return (found.group() for found in _PART.finditer(pattern))


def read(expression: Expression, part: str) -> None:
    """A part that is one character's, or says something of the pieces around it."""
    if part.startswith("("):
        expression.open()
    elif part == ")":
        expression.close()
    elif part == "|":
        expression.alternative()
    elif repeats := times(part):
        expression.times(*repeats)
    elif part not in ANCHORS:
        expression.piece(CHARACTER)


def times(part: str) -> tuple[int, int | None] | None:
    """How often the piece before this part is meant, at least and at most (None: without an end).

    None: the part says nothing of it.
    """
    if part in ("*", "+", "?"):
        return int(part == "+"), 1 if part == "?" else None
    found = TIMES.fullmatch(part)
    if found is None or not (found[1] or found[3]):
        return None
    least = int((found[1] or "0")[:_DIGITS])
    if not found[2]:
        return least, least
    return least, max(least, int(found[3][:_DIGITS])) if found[3] else None
