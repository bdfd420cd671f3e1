"""CBOR (RFC 8949) as an attestation document may use it: nothing that could be read in two ways."""

import io
from typing import Any, NoReturn

import cbor2

from .refusal import DocumentRefused

# A document nests an array, its payload a map in a map. Nothing needs more.
_MOST_DEPTH = 4


def loads(data: bytes, *, most_bytes: int) -> Any:
    """The one item that `data` holds. Indefinite lengths are fine, duplicate keys, tags and what follows are not.

    Raises: DocumentRefused.
    """
    if len(data) > most_bytes:
        raise DocumentRefused(f"The document is larger than {most_bytes} bytes.")
    source = io.BytesIO(data)
    try:
        item = cbor2.CBORDecoder(
            source, max_depth=_MOST_DEPTH, allow_duplicate_keys=False, semantic_decoders=_NoTags()
        ).decode()
    except cbor2.CBORDecodeError as error:
        # Cut, because cbor2 quotes what it read.
        raise DocumentRefused(f"The document is not plain CBOR: {error!s:.120}.") from error
    if source.tell() != len(data):
        raise DocumentRefused("Bytes follow the document.")
    return item


class _NoTags(dict[int, Any]):
    """An own reading of every tag, which is to refuse it: cbor2 would make dates, sets and references of them."""

    def __missing__(self, tag: int) -> NoReturn:
        raise ValueError(f"tag {tag}")
