"""Places in S3 that a request to Bedrock names. Pure.

Bedrock reads them with the permissions of whoever signs, and that is the service, not its caller. Models and operations
have them in whichever place, and always by this name (Converse, Nova, Pegasus, Marengo).
"""

from collections.abc import Collection
from typing import Any

import msgspec

from chalicelib.refusal import Malformed

_BUCKET = "s3Location"


def must_name_none(body: bytes, free: Collection[str] = ()) -> None:
    """`free`: members that nobody but the caller and the model read; what a tool is called with is so anyway.

    Raises: Malformed; msgspec.DecodeError, UnicodeDecodeError, RecursionError.
    """
    # Decoding megabytes of an image is worth avoiding; a name may be written with escapes, too.
    if (_BUCKET.encode() in body or b"\\u" in body) and _named(msgspec.json.decode(body), free):
        raise Malformed(
            f"`{_BUCKET}` would be read with the permissions of the service, not with yours. Send the bytes.",
            field=_BUCKET,
        )


def _named(value: Any, free: Collection[str]) -> bool:
    if isinstance(value, list):
        return any(_named(each, free) for each in value)
    if not isinstance(value, dict):
        return False
    called = ("input",) if "name" in value else ()
    return _BUCKET in value or any(
        _named(each, free) for name, each in value.items() if name not in free and name not in called
    )
