"""A content as pieces that fit a store's items, each sealed by itself. Pure but for the randomness that is passed in.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. What is authenticated besides says whose piece it is and
of what: a piece of another tenant, content or field, or at another place, does not open, and none is missed or added.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.randomness import Randomness

PIECE_BYTES = 350_000
"""Of plaintext. An item of DynamoDB holds 400 KB with its names."""

NONCE_BYTES = 12
HEAD = ""
"""The name of the piece that says what the others are; it is there first, and goes last."""


class Damaged(Exception):
    """A piece is not what was kept, or not there. The text says nothing of it."""


class Taken(Exception):
    """There is a content of that id already."""


class Piece(msgspec.Struct, frozen=True):
    """One item of a store."""

    tenant: str
    content: str  # whose piece it is: the content's id, in which there is no `#`
    name: str  # `<field>#<number>`, or HEAD
    data: bytes
    expires_s: int  # seconds since the epoch


class Head(msgspec.Struct, frozen=True):
    """How many pieces each field has. Empty until all of them are there."""

    pieces: Mapping[str, int] = {}


class Pieces(Protocol):
    """All reads are strongly consistent. Every method may raise StoreUnavailable."""

    def claim(self, head: Piece, now_s: int) -> None:
        """Write it if there is none of that name, or one that has expired. Raises Taken."""

    def put(self, piece: Piece) -> None:
        """Write it, whatever is there."""

    def of(self, tenant: str, content: str) -> list[Piece]:
        """All pieces of a content, expired ones as well, by name."""

    def delete(self, piece: Piece) -> None:
        """Remove it, if it is there."""


def sealed(
    tenant: str, content: str, fields: Mapping[str, bytes], key: bytes, expires_s: int, randomness: Randomness
) -> Iterator[Piece]:
    """The pieces of a content, its head last."""
    cipher = AESGCM(key)
    counts = {field: max(1, -(-len(data) // PIECE_BYTES)) for field, data in fields.items()}
    for field, data in fields.items():
        for number in range(counts[field]):
            nonce = randomness(NONCE_BYTES)
            part = data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
            text = cipher.encrypt(nonce, part, _bound(tenant, content, field, number, counts[field]))
            yield Piece(tenant, content, f"{field}#{number:03d}", nonce + text, expires_s)
    yield Piece(tenant, content, HEAD, msgspec.json.encode(Head(counts)), expires_s)


def opened(pieces: Mapping[str, Piece], head: Head, key: bytes) -> dict[str, bytes]:
    """The fields of a content whose pieces these are, by name. Raises Damaged."""
    cipher = AESGCM(key)
    fields = {}
    try:
        for field, count in head.pieces.items():
            parts = []
            for number in range(count):
                piece = pieces[f"{field}#{number:03d}"]
                bound = _bound(piece.tenant, piece.content, field, number, count)
                parts.append(cipher.decrypt(piece.data[:NONCE_BYTES], piece.data[NONCE_BYTES:], bound))
            fields[field] = b"".join(parts)
    except (KeyError, InvalidTag, ValueError):
        raise Damaged("What was kept cannot be read any more.") from None
    return fields


def _bound(tenant: str, content: str, field: str, number: int, count: int) -> bytes:
    """What a piece is authenticated with. None of the names has a zero byte."""
    return "\0".join((tenant, content, field, str(number), str(count))).encode()
