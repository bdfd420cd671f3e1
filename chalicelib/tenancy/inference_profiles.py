"""Through which inference profiles Bedrock's models were reached, for all sandboxes to know.

A hint that saves calls, and nothing that anything depends on: a store that fails remembers nothing, and says nothing.
"""

import contextlib

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.refusal import StoreUnavailable


class _Reached(msgspec.Struct, frozen=True):
    profile: str


class InferenceProfiles:
    """A document for each place and model."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def recall(self, place: str, model: str) -> str | None:
        """The profile, or None where none is remembered."""
        with contextlib.suppress(StoreUnavailable):
            held = self._documents.get(PLATFORM, _name(place, model))
            return msgspec.json.decode(held.text, type=_Reached).profile if held else None
        return None

    def remember(self, place: str, model: str, profile: str) -> None:
        """Whoever comes last is right. A race is lost to another sandbox, which has found the same."""
        with contextlib.suppress(StoreUnavailable, Changed):
            name = _name(place, model)
            held = self._documents.get(PLATFORM, name)
            text = msgspec.json.encode(_Reached(profile)).decode()
            self._documents.put(Document(PLATFORM, name, text, held.version if held else 0))


def _name(place: str, model: str) -> str:
    return f"inference-profile#{place}#{model}"
