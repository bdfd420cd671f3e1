"""What reads an answer of which a transport has taken the events apart already."""

from collections.abc import Iterator
from typing import Protocol

from chalicelib.call import Event


class Reader(Protocol):
    """One streamed answer, from Bedrock's events to ours."""

    done: bool  # `Finished` was told; what follows is of no interest

    def read(self, kind: str, payload: bytes) -> Iterator[Event]:
        """The events that one of Bedrock's makes; `kind` is its name. Raises EngineFailed for garbage."""

    def end(self) -> Iterator[Event]:
        """The stream is over. Raises EngineFailed if the answer is not."""
