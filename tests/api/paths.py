"""Paths of doors with something in each place."""

from typing import Any


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return OF_PLACES.get(name, name)


OF_PLACES = {"tenant": "acme", "response": "resp_1", "review": "addresses-60", "step": "note"}
"""What is not just anything; whatever else a place is for is called as the place is."""


def filled(path: str, **names: Any) -> str:
    """The path of a route, with these names and, in other places, one that has the form of what stands there."""
    return path.format_map(_Names(names))
