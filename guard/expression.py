"""A pattern as a value: how it is written for RE2, how wide its matches are, and what beginnings of matches look like.

What RE2 is given is written from here and not what the tenant wrote: so what was measured is what is run.
Widths are in characters (code points). Folding of capitals, in RE2, puts one character in the place of one.
"""

from functools import cache

import msgspec


class One(msgspec.Struct, frozen=True):
    """What always matches one character: `a`, `.`, `\\d`, `[a-z]`."""

    written: str


class Place(msgspec.Struct, frozen=True):
    """What matches a place between two characters: `^`, `$`, `\\b`."""

    written: str


class Row(msgspec.Struct, frozen=True):
    """One after the other."""

    parts: tuple["Node", ...]


class Either(msgspec.Struct, frozen=True):
    choices: tuple["Node", ...]


class Repeat(msgspec.Struct, frozen=True):
    """`most` is None where there is no end."""

    part: "Node"
    least: int
    most: int | None


class Flagged(msgspec.Struct, frozen=True):
    """Under flags such as `i`, or `-i`."""

    flags: str
    part: "Node"


Node = One | Place | Row | Either | Repeat | Flagged

_FLAT = 32  # parts of a row that are nested one in the other where its beginnings are written: RE2 allows 1,000 levels


def written(node: Node) -> str:
    match node:
        case One(text) | Place(text):
            return text
        case Row(parts):
            return "".join(_grouped(part) if isinstance(part, Either) else written(part) for part in parts)
        case Either(choices):
            return "|".join(written(choice) for choice in choices)
        case Repeat(part, least, most):
            return f"{_grouped(part)}{_times(least, most)}"
        case Flagged(flags, part):
            return f"(?{flags}:{written(part)})"


def widths(node: Node) -> tuple[int, int | None]:
    """The narrowest and the widest match; None where there is no widest one."""
    match node:
        case One():
            return 1, 1
        case Place():
            return 0, 0
        case Row(parts):
            each = [widths(part) for part in parts]
            most = [widest for _, widest in each]
            return sum(least for least, _ in each), None if None in most else sum(widest or 0 for widest in most)
        case Either(choices):
            each = [widths(choice) for choice in choices]
            most = [widest for _, widest in each]
            return min(least for least, _ in each), None if None in most else max(widest or 0 for widest in most)
        case Repeat(part, least, most_times):
            narrow, wide = widths(part)
            if wide == 0 or most_times == 0:
                return 0, 0
            return narrow * least, None if wide is None or most_times is None else wide * most_times
        case Flagged(_, part):
            return widths(part)


def begun(node: Node) -> str:
    """What matches each text with which a match may begin and not be at its end: a character or a place is still open.

    The end of the text so far tells nothing of `\\b` or `$` there, so they are open, too. May be more than needed
    (that holds text back that need not be), never less.
    """
    match node:
        case One() | Place():
            return ""
        case Row(()):
            return _NEVER
        case Row(parts):
            return _begun_row(parts)
        case Either(choices):
            return "|".join(f"(?:{begun(choice)})" for choice in choices)
        case Repeat(_, _, 0):
            return _NEVER
        case Repeat(part, _, most):
            before = f"{_grouped(part)}{_times(0, None if most is None else most - 1)}" if most != 1 else ""
            return f"{before}(?:{begun(part)})"
        case Flagged(flags, part):
            return f"(?{flags}:{begun(part)})"


def uncounted(node: Node, chars: int) -> Node:
    """What matches the same texts of fewer characters than that, and all that `node` matches: of longer ones, more.

    RE2 has a state for each number that it counts to; without the large ones it has few.
    """
    match node:
        case Row(parts):
            return Row(tuple(uncounted(part, chars) for part in parts))
        case Either(choices):
            return Either(tuple(uncounted(choice, chars) for choice in choices))
        case Flagged(flags, part):
            return Flagged(flags, uncounted(part, chars))
        case Repeat(part, least, most):
            narrow, _ = widths(part)
            if narrow:
                times = -(-chars // narrow)  # so often it does not fit into such a text
                least, most = min(least, times), None if most is None or most >= times else most
            return Repeat(uncounted(part, chars), least, most)
    return node


_NEVER = r"[^\x00-\x{10FFFF}]"


def _begun_row(parts: tuple[Node, ...]) -> str:
    if len(parts) > _FLAT:
        middle = len(parts) // 2
        return f"(?:{_begun_row(parts[:middle])})|{written(Row(parts[:middle]))}(?:{_begun_row(parts[middle:])})"
    first, rest = parts[0], parts[1:]
    if not rest:
        return begun(first)
    return f"(?:{begun(first)})|{_grouped(first)}(?:{_begun_row(rest)})"


@cache
def _times(least: int, most: int | None) -> str:
    match least, most:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case _, None:
            return f"{{{least},}}"
    return f"{{{least},{most}}}"


def _grouped(node: Node) -> str:
    return written(node) if isinstance(node, One | Place | Flagged) else f"(?:{written(node)})"
