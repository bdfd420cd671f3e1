"""Engines: one protocol, one file for each kind of target. Engines know nothing of tenants or limits."""

from typing import Protocol

import msgspec

from chalicelib.call import Call, Stream
from chalicelib.pool import Target


class Capacity(msgspec.Struct, frozen=True):
    """What a target says of itself."""

    total: int  # requests it can run side by side
    in_flight: int
    queue_depth: int  # requests waiting for a place
    instance: str = ""  # who said so, where it says; two targets may be one instance


class Engine(Protocol):
    """The code that talks to one kind of target. Safe to use from many threads."""

    def open(self, target: Target, call: Call) -> Stream:
        """Send the call and return once the target has begun to answer (status and headers are in).

        Raises:
            Malformed, TooLarge: the target says the request is wrong; another target would say so too.
            NoCapacity: the target is full or throttles; another may have room.
            EngineFailed, EngineTimedOut: the target broke before its first byte.
        """

    def consult(self, target: Target, question: bytes) -> bytes:
        """Ask the enclave behind the target; `question` is a ticket and what it permits to ask.

        Raises: NotOpened, TooLarge: the enclave's word. NoCapacity, EngineFailed, EngineTimedOut: no enclave told.
        """

    def probe(self, target: Target) -> Capacity:
        """Ask the target, within a short deadline, how it is. Raises EngineFailed or EngineTimedOut."""
