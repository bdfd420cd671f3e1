"""What of a request is no text, in every dialect; and how large an image is, by its head."""

import base64
from typing import Any

import msgspec
import pytest

from chalicelib.dialects.media import Medium, found


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\xf7\0\0"


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = b"\xff\xc2\0\x11\x08" + height.to_bytes(2) + width.to_bytes(2) + b"\x03\x01\x22\0"
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + before + frame


def riff(chunk: bytes) -> bytes:
    return b"RIFF" + len(chunk).to_bytes(4, "little") + b"WEBP" + chunk.ljust(18, b"\0")


def lossy(width: int, height: int) -> bytes:
    sides = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return riff(b"VP8 \x10\0\0\0\x30\x01\0\x9d\x01\x2a" + sides)


def lossless(width: int, height: int) -> bytes:
    return riff(b"VP8L\x10\0\0\0\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little"))


def extended(width: int, height: int) -> bytes:
    return riff(b"VP8X\x0a\0\0\0\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def of(content: Any, member: str = "messages") -> tuple[Medium, ...]:
    """The media of a message with that content."""
    return found({member: msgspec.Raw(msgspec.json.encode([{"role": "user", "content": content}]))})


IMAGE = base64_of(png(640, 480) + b"\0")
URL = f"data:image/png;base64,{IMAGE}"
SOUND = base64_of(b"RIFF" + b"x" * 296)
PDF = f"data:application/pdf;base64,{SOUND}"
PIXELS = 640 * 480


@pytest.mark.parametrize(
    ("part", "kind", "pixels", "size"),
    [
        ({"type": "image_url", "image_url": {"url": URL, "detail": "high"}}, "image", PIXELS, 30),
        ({"type": "image_url", "image_url": URL}, "image", PIXELS, 30),
        ({"image_url": {"url": URL}}, "image", PIXELS, 30),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "image", None, None),
        ({"type": "input_image", "image_url": URL}, "image", PIXELS, 30),
        ({"type": "image", "source": {"type": "base64", "data": IMAGE}}, "image", PIXELS, 30),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, "image", None, None),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "image", None, None),
        ({"image": {"format": "png", "source": {"bytes": IMAGE}}}, "image", PIXELS, 30),
        ({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}}, "image", None, None),
        ({"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}, "file", None, 300),
        ({"type": "audio_url", "audio_url": {"url": "https://example.com/a.wav"}}, "file", None, None),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, "file", None, None),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}, "file", None, 300),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file", None, None),
        ({"type": "input_file", "file_data": PDF}, "file", None, 300),
        ({"type": "input_file", "file_id": "file-1"}, "file", None, None),
        ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, "file", None, None),
        ({"type": "document", "source": {"type": "base64", "data": SOUND}}, "file", None, 300),
        ({"document": {"format": "pdf", "name": "a", "source": {"bytes": SOUND}}}, "file", None, 300),
        ({"video": {"format": "mp4", "source": {"bytes": SOUND}}}, "file", None, 300),
        ({"type": "file", "file": {"file_id": "file-1", "file_data": None}}, "file", None, None),
        ({"type": "image", "source": {"type": "url", "url": "https://a.b/c.png", "data": None}}, "image", None, None),
    ],
)  # fmt: skip
def test_a_medium_is_found_in_whichever_words(part: Any, kind: str, pixels: int | None, size: int | None) -> None:
    beside = {"type": "text", "text": "What is it?"}
    results = {"type": "tool_result", "tool_use_id": "t", "content": [part, beside]}
    converses = {"toolResult": {"toolUseId": "t", "content": [part, beside], "status": "success"}}
    for content in ([beside, part], [results], [converses]):
        (medium,) = of(content)
        assert (medium.kind, medium.pixels, medium.size_bytes) == (kind, pixels, size)
        written = [value for name, value in part.items() if name != "type"]
        assert medium.written_bytes == sum(len(msgspec.json.encode(value)) for value in written)


@pytest.mark.parametrize(
    "content",
    [
        "a text",
        None,
        [],
        [{"type": "text", "text": URL}],
        [{"type": "text", "text": "x", "image_url": URL}],
        [{"type": "tool_use", "id": "t", "name": "f", "input": {"image_url": URL}}],
        [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "long" * 99}}],
        [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": URL}]}}],
        [{"type": "document", "source": {"type": "text", "data": "long" * 99, "url": 7}}],
        [{"document": {"format": "txt", "name": "a", "source": {"text": "long" * 99}}}],
        [{"document": {"format": "txt", "name": "a", "source": {"content": [{"text": "long" * 99}]}}}],
        [{"document": {"format": "txt", "name": "a", "source": 7}}],
        [{"type": "search_result", "source": "https://a.b", "content": [{"type": "text", "text": "long" * 99}]}],
        [{"type": "search_result", "source": "long" * 99, "content": []}],
        ["text", 7],
        {"type": "image_url", "image_url": URL},
    ],
)
def test_what_is_text_weighs_as_text(content: Any) -> None:
    assert of(content) == ()


def test_what_the_model_is_told_of_a_document_is_text() -> None:
    document = {"format": "pdf", "name": "a", "source": {"bytes": SOUND}}
    (plain,) = of([{"document": document}])
    (told,) = of([{"document": {**document, "context": "long" * 99}}])
    assert told.size_bytes == plain.size_bytes
    assert told.written_bytes - plain.written_bytes == len(',"context":')


def test_a_document_of_content_has_the_images_in_it() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}
    assert [
        medium.pixels for medium in of([{"type": "document", "source": {"type": "content", "content": [image]}}])
    ] == [PIXELS]


def test_an_image_may_be_the_output_of_a_tool_in_a_responses_input() -> None:
    item = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": URL}]}
    (medium,) = found({"input": msgspec.Raw(msgspec.json.encode([item]))})
    assert medium.pixels == PIXELS


@pytest.mark.parametrize("as_text", [True, False])
def test_an_image_may_be_in_a_models_own_body(as_text: bool) -> None:
    body: Any = {"messages": [{"role": "user", "content": [{"image": {"source": {"bytes": IMAGE}}}]}]}
    if as_text:
        body = msgspec.json.encode(body).decode()
    (medium,) = found({"body": msgspec.Raw(msgspec.json.encode(body))})
    assert medium.pixels == PIXELS


@pytest.mark.parametrize("body", [b"7", b'"7"', b'"{"', b"[]", b'{"messages":7}', b'"\\ud800"', b'{"prompt":"x"}'])
def test_a_body_of_any_other_form_is_text(body: bytes) -> None:
    assert found({"body": msgspec.Raw(body)}) == ()


@pytest.mark.parametrize("head", [png, gif, jpeg, lossy, lossless, extended])
def test_the_size_of_an_image_is_in_its_head(head: Any) -> None:
    for width, height in ((1, 1), (640, 480), (16_383, 3)):
        url = f"data:image/x;base64,{base64_of(head(width, height) + b'pixels' * 9)}"
        (medium,) = of([{"type": "image_url", "image_url": {"url": url}}])
        assert medium.pixels == width * height


def test_the_size_of_a_photograph_is_behind_what_the_camera_wrote() -> None:
    exif = b"\xff\xe1" + (40_002).to_bytes(2) + b"e" * 40_000 + b"\xff\xc4\0\x04xx"
    url = f"data:image/jpeg;base64,{base64_of(jpeg(4_000, 3_000, exif))}"
    assert of([{"type": "image_url", "image_url": {"url": url}}])[0].pixels == 12_000_000


@pytest.mark.parametrize(
    "data",
    [
        *("", "A", "????", "é", base64_of(b"<svg/>"), base64_of(b"\xff\xd8"), base64_of(b"\xff\xd8\xff\xe0\0\0" * 9)),
        *(base64_of(head(9, 9)[:8]) for head in (png, gif, jpeg, lossy)),
    ],
)
def test_an_image_that_does_not_say_its_size_has_none(data: str) -> None:
    (medium,) = of([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}])
    assert medium.pixels is None
