"""Chance as every room takes it: an argument, never an ambient call."""

from collections.abc import Callable

Randomness = Callable[[int], bytes]
"""n -> n bytes nobody can guess (`secrets.token_bytes`)."""
