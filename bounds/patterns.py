"""The size of a regular expression, in whichever of the usual spellings."""

import re

from bounds.sizes import CHARACTER, Expression, Size

TIMES = re.compile(r"\{(\d*)(,?)(\d*)\}")
_PART = re.compile(r"\(\?(?:[:=!>]|<[=!]|P?<\w+>)|\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]?|\{\d*,?\d*\}|.", re.DOTALL)
_ANCHORS = "^$"
_DIGITS = 9


def size_of(pattern: str) -> Size:
    """Of whatever is in it: what is no expression is measured as the text that it is."""
    expression = Expression()
    for found in _PART.finditer(pattern):
        read(expression, found.group())
    return expression.size()


def read(expression: Expression, part: str) -> None:
    """A part that is one character's, or says something of the pieces around it."""
    if part.startswith("("):
        expression.open()
    elif part == ")":
        expression.close()
    elif part == "|":
        expression.alternative()
    elif part in ("*", "+", "?"):
        expression.times(int(part == "+"), 1 if part == "?" else None)
    elif (times := TIMES.fullmatch(part)) and (times[1] or times[3]):
        least = int(times[1][:_DIGITS] or 0)
        expression.times(least, least if not times[2] else int(times[3][:_DIGITS]) if times[3] else None)
    elif part not in _ANCHORS:
        expression.piece(CHARACTER)
