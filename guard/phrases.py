"""Topics: lists of phrases, as one pattern."""

from guard.expression import Either, Flagged, Node, One, Place, Repeat, Row
from guard.rules import Topic
from guard.search import Pattern
from guard.syntax import literal

_BETWEEN = Repeat(One(r"[\s\x{a0}]"), 1, 4)


def pattern(topic: Topic) -> Pattern:
    """Capitals do not matter, nor what white space sets words apart."""
    return Pattern(Flagged("i", Either(tuple(_phrase(phrase) for phrase in topic.phrases))))


def _phrase(phrase: str) -> Node:
    words = phrase.split()
    parts: list[Node] = []
    for word in words:
        parts += (_BETWEEN, *(One(literal(char)) for char in word))
    # RE2's `\b` knows letters of English only: beside others it would never match.
    edges = [[Place(r"\b")] if char.isascii() and char.isalnum() else [] for char in (words[0][0], words[-1][-1])]
    return Row((*edges[0], *parts[1:], *edges[1]))
