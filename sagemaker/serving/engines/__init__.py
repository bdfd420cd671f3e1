"""What stands behind the line: one protocol to run a model, one to bring it up.

Adding an engine is one file and one line in `ENGINES`.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from serving.request import Call
from serving.settings import Settings


class Reply(Protocol):
    """What the engine says: an HTTP status, a media type, and the body in pieces as they are made."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    def pieces(self) -> AsyncIterator[bytes]: ...


class Engine(Protocol):
    """One loaded model."""

    def open(self, call: Call) -> AbstractAsyncContextManager[Reply]:
        """Run `call`. Leaving the block stops the generation, wherever it is.

        Raises: EngineFailed, EngineTimedOut; from `pieces` too.
        """
        ...

    def fault(self) -> str | None:
        """Why it cannot serve right now, in a few words; None when it can."""
        ...

    async def close(self) -> None:
        """Give back everything the model holds. Calls that still run end as failed."""
        ...


class Launcher(Protocol):
    """Brings models of one kind up."""

    def need_mb(self, model: Path, settings: Settings) -> int:
        """Memory the model will take, judged from its files. Raises: BadModel."""
        ...

    async def launch(self, name: str, model: Path, settings: Settings) -> Engine:
        """Bring the model up, ready to serve. Raises: BadModel."""
        ...


class BadModel(Exception):
    """The model cannot be loaded: missing, corrupt, or refused by its engine. The text is one clear sentence."""
