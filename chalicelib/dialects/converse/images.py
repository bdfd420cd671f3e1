"""An image of a chat as Converse takes it. Pure."""

import base64
import binascii
from typing import Any

from chalicelib.refusal import Malformed

_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}


def image(url: str) -> dict[str, Any]:
    """Raises: Malformed."""
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise Malformed("Send images within the request, as `data:image/png;base64,...`.", field="messages")
    if media_type not in _FORMATS:
        raise Malformed(f"An image has to be one of {', '.join(_FORMATS)}.", field="messages")
    try:
        read = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("An image is not valid base64.", field="messages") from None
    if not read:
        raise Malformed("An image is empty.", field="messages")
    return {"format": _FORMATS[media_type], "source": {"bytes": read}}
