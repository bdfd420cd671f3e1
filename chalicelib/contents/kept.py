"""What is kept of a tenant, put together from its pieces and its key."""

import re
from collections.abc import Mapping

import msgspec

from chalicelib.clock import Clock
from chalicelib.contents.data_keys import DataKeys, NoKey
from chalicelib.contents.pieces import HEAD, Damaged, Head, Piece, Pieces, Taken, opened, sealed
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict, StoreUnavailable

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}_[A-Za-z0-9._:-]{1,64}")


class Contents:
    """Thread-safe. What it keeps is gone once its time is over, though the store may forget it later."""

    def __init__(self, pieces: Pieces, keys: DataKeys, clock: Clock, randomness: Randomness) -> None:
        self._pieces = pieces
        self._keys = keys
        self._clock = clock
        self._randomness = randomness

    def claim(self, tenant: str, content: str, expires_ms: int) -> None:
        """Let the id be this content's, of which there is nothing to read yet.

        Raises: Conflict; StoreUnavailable, also where there is no key to keep it under.
        """
        try:
            self._keys.of(tenant)  # before anything is answered that could not be kept
            self._pieces.claim(_head(tenant, content, expires_ms), self._clock() // 1_000)
        except Taken:
            raise _taken(content) from None
        except NoKey as error:
            raise StoreUnavailable(str(error)) from error

    def must_be_free(self, tenant: str, content: str) -> None:
        """See whether it could be claimed now. Raises: Conflict; StoreUnavailable."""
        head, _ = self._found(tenant, content)
        if head is not None:
            raise _taken(content)

    def keep(self, tenant: str, content: str, fields: Mapping[str, bytes], expires_ms: int) -> None:
        """Keep the content whose id was claimed. Raises: StoreUnavailable."""
        try:
            key = self._keys.of(tenant)
        except NoKey as error:
            raise StoreUnavailable(str(error)) from error
        for piece in sealed(tenant, content, fields, key, expires_ms // 1_000, self._randomness):
            self._pieces.put(piece)

    def read(self, tenant: str, content: str) -> dict[str, bytes] | None:
        """Its fields; None where nothing is kept under that id. Raises: StoreUnavailable."""
        head, pieces = self._found(tenant, content)
        if head is None or not head.pieces:
            return None
        try:
            return opened(pieces, head, self._keys.of(tenant))
        except Damaged:
            return None  # half deleted
        except NoKey as error:
            raise StoreUnavailable(str(error)) from error

    def forget(self, tenant: str, content: str) -> bool:
        """Remove every piece of it; whether there was one. Its head goes last: who repeats it completes it.

        Raises: StoreUnavailable.
        """
        head, pieces = self._found(tenant, content)
        for piece in sorted(pieces.values(), key=lambda piece: piece.name == HEAD):
            self._pieces.delete(piece)
        return head is not None

    def _found(self, tenant: str, content: str) -> tuple[Head | None, dict[str, Piece]]:
        if not _ID.fullmatch(content):
            return None, {}
        pieces = {piece.name: piece for piece in self._pieces.of(tenant, content)}
        head = pieces.get(HEAD)
        if head is None or head.expires_s * 1_000 <= self._clock():
            return None, pieces
        return msgspec.json.decode(head.data, type=Head), pieces


def _taken(content: str) -> Conflict:
    return Conflict(f"There is a {content} already: send another X-Request-ID, or none.")


def _head(tenant: str, content: str, expires_ms: int) -> Piece:
    return Piece(tenant, content, HEAD, msgspec.json.encode(Head()), expires_ms // 1_000)
