"""What an engine's answer may look like on its way through the private socket."""

import asyncio
from pathlib import Path

import pytest

from serving.engines.loopback import MAX_HEAD_BYTES, exchange
from serving.refusal import Refusal

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


def received(socket: Path, answer: bytes) -> bytes:
    """The body of an answer that an engine writes in one piece."""

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def read() -> bytes:
        async with (
            await asyncio.start_unix_server(engine, socket),
            exchange(socket, "POST", "/x", b"", silence_s=5) as wire,
        ):
            return b"".join([piece async for piece in wire.pieces()])

    return asyncio.run(read())


def test_a_head_may_come_together_with_much_of_its_body(tmp_path: Path) -> None:
    body = b"x" * (40 * MAX_HEAD_BYTES)
    assert received(tmp_path / "engine", HEAD % len(body) + body) == body


def test_a_head_without_end_is_not_read_for_ever(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        received(tmp_path / "engine", b"HTTP/1.1 200 OK\r\nx: " + b"x" * (2 * MAX_HEAD_BYTES))
