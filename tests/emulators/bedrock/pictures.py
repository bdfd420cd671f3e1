"""Images, as small as their formats allow: headers that say a size, and nothing to see."""

import struct


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width: int, height: int) -> bytes:
    about = struct.pack(">BBH", 0xFF, 0xE0, 16) + bytes(14)
    frame = struct.pack(">BBHBHH", 0xFF, 0xC0, 17, 8, height, width)
    return b"\xff\xd8" + about + frame


def webp(width: int, height: int) -> bytes:
    """Lossy."""
    return b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", width, height)


def webp_lossless(width: int, height: int) -> bytes:
    return b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + struct.pack("<I", (width - 1) | (height - 1) << 14)


def webp_extended(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + sizes
