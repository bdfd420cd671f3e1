"""Images, audio and files in a request: they weigh by what they are, not by the bytes in which they come. Pure.

A picture of 800 kB is a thousand tokens, and one of which only the address was sent is as many. They stand in the
content of messages, in OpenAI's, Anthropic's and Converse's words, also within the results of tools.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

_ABSENT = msgspec.Raw()
_HEAD_CHARACTERS = 128 * 1024  # of an image in base64, within which its size has to be said
_DEPTH = 8  # results of tools hold content, and that holds no further results


class Medium(msgspec.Struct, frozen=True):
    """Something in a request that is no text."""

    kind: Literal["image", "file"]
    written_bytes: int  # of the request, which are none of its text
    size_bytes: int | None = None  # of itself; None where only its address or its id was sent
    pixels: int | None = None  # of an image, where they can be known


class _Node(msgspec.Struct):
    """A message, or a part of its content."""

    type: str = ""
    content: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT  # of a tool, in a Response's input
    tool_result: msgspec.Raw = msgspec.field(default=_ABSENT, name="toolResult")  # Converse, Nova
    image_url: msgspec.Raw = _ABSENT
    image: msgspec.Raw = _ABSENT  # Converse, Nova
    source: msgspec.Raw = _ABSENT  # Anthropic
    input_audio: msgspec.Raw = _ABSENT
    audio_url: msgspec.Raw = _ABSENT
    video_url: msgspec.Raw = _ABSENT
    video: msgspec.Raw = _ABSENT
    document: msgspec.Raw = _ABSENT
    file: msgspec.Raw = _ABSENT
    file_data: msgspec.Raw = _ABSENT
    file_id: msgspec.Raw = _ABSENT
    file_url: msgspec.Raw = _ABSENT


class _Source(msgspec.Struct):
    """Where the bytes of a medium are, in whichever words. Some clients write what they do not say as null."""

    type: str | None = ""
    content: msgspec.Raw = _ABSENT
    text: msgspec.Raw = _ABSENT
    context: msgspec.Raw = _ABSENT  # what the model is told of a document
    url: str | None = ""
    data: str | None = ""
    bytes: str | None = ""
    file_data: str | None = ""
    source: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct):
    messages: msgspec.Raw = _ABSENT


_nodes = msgspec.json.Decoder(list[_Node])
_source = msgspec.json.Decoder(_Source | str)
_FILES = ("input_audio", "audio_url", "video_url", "video", "document", "file", "file_data", "file_id", "file_url")


def found(fields: Mapping[str, msgspec.Raw]) -> tuple[Medium, ...]:
    """The media of a request, by its members. What is not written as content is text, and weighs as that."""
    held = [fields[name] for name in ("messages", "input") if name in fields]
    if "body" in fields:
        held.append(_messages(bytes(fields["body"])))
    return tuple(medium for raw in held for medium in _media(bytes(raw), _DEPTH))


def _messages(body: bytes) -> msgspec.Raw:
    """Of a model's own body, which may be a text that holds it."""
    try:
        if body[:1] == b'"':
            body = msgspec.json.decode(body, type=str).encode()
        return msgspec.json.decode(body, type=_Body).messages
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _ABSENT


def _media(content: bytes, depth: int) -> Iterator[Medium]:
    if content[:1] != b"[" or not depth:
        return
    try:
        nodes = _nodes.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for node in nodes:
        if node.type == "text":
            continue
        for image in (node.image_url, node.image):
            if image is not _ABSENT:
                yield from _medium("image", image)
        if node.source is not _ABSENT:
            yield from _sourced(node, depth)
        for name in _FILES:
            if (file := getattr(node, name)) is not _ABSENT:
                yield from _medium("file", file)
        for inner in (node.content, node.output, _content(node.tool_result)):
            yield from _media(bytes(inner), depth - 1)


def _sourced(node: _Node, depth: int) -> Iterator[Medium]:
    """Anthropic's image or document, which may as well be a text, or content of its own; or where a text is from."""
    source = _read(bytes(node.source))
    if not isinstance(source, _Source) or source.type == "text":
        return
    if source.type == "content":
        yield from _media(bytes(source.content), depth - 1)
    else:
        yield from _medium("image" if node.type == "image" else "file", node.source)


def _content(holder: msgspec.Raw) -> msgspec.Raw:
    read = _ABSENT if holder is _ABSENT else _read(bytes(holder))
    return read.content if isinstance(read, _Source) else _ABSENT


def _medium(kind: Literal["image", "file"], raw: msgspec.Raw) -> Iterator[Medium]:
    """None where it cannot be read, or is a text by another name: that weighs as what it is."""
    holder = source = _read(bytes(raw))
    if isinstance(holder, _Source) and holder.source is not _ABSENT:  # Converse's: `{"format": ..., "source": ...}`
        source = _read(bytes(holder.source))
    if source is None or (isinstance(source, _Source) and (source.text, source.content) != (_ABSENT, _ABSENT)):
        return
    written = len(raw) - (len(holder.context) if isinstance(holder, _Source) else 0)
    data = _data(source)
    if not data:
        yield Medium(kind, written)
    else:
        yield Medium(kind, written, len(data) * 3 // 4, _pixels(data) if kind == "image" else None)


def _data(source: _Source | str) -> str:
    """The base64 of a medium; empty where it is somewhere else, or is none."""
    if not isinstance(source, _Source):
        return _of_url(source)
    return source.data or source.bytes or _of_url(source.file_data or "") or _of_url(source.url or "")


def _read(raw: bytes) -> _Source | str | None:
    try:
        source: _Source | str = _source.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return source


def _of_url(text: str) -> str:
    """The base64 within a `data:` URL."""
    head, comma, data = text.partition(",")
    return data if comma and head.startswith("data:") and head.endswith(";base64") else ""


def _pixels(data: str) -> int | None:
    """Width times height, as the head of a PNG, GIF, JPEG or WebP says them."""
    begin = data[:_HEAD_CHARACTERS]
    try:
        head = base64.b64decode(begin[: len(begin) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    sides = _png(head) or _gif(head) or _webp(head) or _jpeg(head)
    return sides[0] * sides[1] if sides else None


def _png(head: bytes) -> tuple[int, int] | None:
    """https://www.w3.org/TR/png-3/#11IHDR"""
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or len(head) < 24:
        return None
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def _gif(head: bytes) -> tuple[int, int] | None:
    if head[:6] not in (b"GIF87a", b"GIF89a") or len(head) < 10:
        return None
    return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")


def _webp(head: bytes) -> tuple[int, int] | None:
    """https://developers.google.com/speed/webp/docs/riff_container"""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """The first start of a frame (ITU-T T.81, B.2.2): SOF0 to SOF15 without DHT, JPG and DAC."""
    if not head.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None
