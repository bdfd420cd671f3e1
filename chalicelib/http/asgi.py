"""The interface between a server and an application (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WRITER = "cloister.writer"
"""The extension by which `protocol` gives a request's Writer; other servers have none."""


class Writer(Protocol):
    """Sends pieces of a body that has begun, as `Send` does, without a task that waits: that would cost more than all
    else that is done with a piece."""

    @property
    def ready(self) -> bool:
        """Whether its reader keeps up. If not, `Send` is to be asked, which waits."""

    def write(self, piece: bytes) -> None:
        """Only where it is ready."""
