"""The data key of each tenant: made and wrapped by a key service, unwrapped for a while in memory, stored wrapped only.

Whoever has the tables has no content. Whoever may use the service's key for a tenant as well has that tenant's.
"""

import base64
from collections.abc import Mapping
from threading import Lock
from typing import Protocol

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Changed, Document, Documents

DOCUMENT = "data-key"
KEY_BYTES = 32
HELD_MS = 300_000
"""How long a sandbox goes on with a key that KMS no longer lets it use."""
MOST_HELD = 256


class NoKey(Exception):
    """The key service did not give a key; the text says why, and nothing of the key."""


class Wrapped(msgspec.Struct, frozen=True):
    """A data key as it is stored."""

    key: str  # which of the service's it is wrapped by
    text: str  # base64


class KeyService(Protocol):
    """Makes data keys, and unwraps them for the tenant whose they are. Safe to use from many threads."""

    def make(self, tenant: str) -> tuple[bytes, Wrapped]:
        """A new data key, and the same wrapped. Raises NoKey."""

    def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        """Raises NoKey."""


class DataKeys:
    """Thread-safe."""

    def __init__(self, documents: Documents, service: KeyService, clock: Clock) -> None:
        self._documents = documents
        self._service = service
        self._clock = clock
        self._held: dict[str, tuple[bytes, int]] = {}
        self._lock = Lock()

    def of(self, tenant: str) -> bytes:
        """The tenant's data key, made if there is none. Raises NoKey, StoreUnavailable."""
        now_ms = self._clock()
        held = self._held.get(tenant)
        if held is not None and now_ms < held[1]:
            return held[0]
        key = self._read(tenant) or self._made(tenant)
        with self._lock:
            while len(self._held) >= MOST_HELD:
                self._held.pop(next(iter(self._held)))
            self._held[tenant] = (key, now_ms + HELD_MS)
        return key

    def _read(self, tenant: str) -> bytes | None:
        document = self._documents.get(tenant, DOCUMENT)
        if document is None:
            return None
        return self._service.unwrap(tenant, msgspec.json.decode(document.text, type=Wrapped))

    def _made(self, tenant: str) -> bytes:
        key, wrapped = self._service.make(tenant)
        try:
            self._documents.put(Document(tenant, DOCUMENT, msgspec.json.encode(wrapped).decode()))
        except Changed:  # another sandbox was first: theirs counts
            return self._read(tenant) or self._made(tenant)
        return key


def context_of(tenant: str) -> Mapping[str, str]:
    """What KMS is told a data key is for: it unwraps it for nothing else, and CloudTrail shows it."""
    return {"tenant_id": tenant, "purpose": "cloister-contents"}


def text_of(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


def blob_of(text: str) -> bytes:
    return base64.b64decode(text)
