"""Time as every room takes it: an argument, never an ambient call."""

from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since the epoch, UTC."""
