"""Images: what they are by their own bytes, and what they cost."""

import struct
from collections.abc import Iterator

from emulators.bedrock.refusal import invalid

PIXELS_PER_TOKEN = 750
"""https://docs.claude.com/en/docs/build-with-claude/vision: tokens = (width px * height px) / 750"""

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def tokens(data: bytes, declared: str, where: str) -> int:
    """What an image costs. `declared` is its format as the caller says: png, jpeg, gif or webp.

    Raises Refused, naming `where` it is in the request: it is none, or one of another format.
    """
    found = _format(data)
    if found is None:
        raise invalid(f"The model returned the following errors: {where}: Could not process image")
    if found != declared:
        raise invalid(
            f"The model returned the following errors: {where}: The image was specified using the image/{declared} "
            f"media type, but the image appears to be a image/{found} image"
        )
    try:
        width, height = _SIZES[found](data)
    except (struct.error, StopIteration):
        raise invalid(f"The model returned the following errors: {where}: Could not process image") from None
    return -(-width * height // PIXELS_PER_TOKEN)


def _format(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    height, width = next(
        struct.unpack_from(">HH", data, at + 5) for marker, at in _segments(data) if marker in _START_OF_FRAME
    )
    return width, height


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    while at + 4 <= len(data):
        _, marker, length = struct.unpack_from(">BBH", data, at)
        yield marker, at
        at += 2 + length


def _webp(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


_SIZES = {"png": _png, "gif": _gif, "jpeg": _jpeg, "webp": _webp}
