"""A container's answer to a sealed call: what the gateway reads of it, and what it refuses."""

import json
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects.sealed import MEDIA_TYPE, Translator
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, NotOpened, Refusal, TooLarge
from chalicelib.settings import Settings
from sealed.frames import frame
from tests.engines.answers import chat, ending
from tests.engines.servers import Request, Server, Wire

TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")

WAITING = frame(0x11, b'{"queue_position":2,"predicted_start_ms":900}')
STARTED = frame(0x12, b'{"queue_ms":40}')
PIECES = frame(0x13, b"\0\1first") + frame(0x13, b"\0\0" + bytes(range(256)))
FINISHED = frame(0x14, b'{"prompt_tokens":7,"completion_tokens":1}')
STREAM = WAITING + STARTED + PIECES + FINISHED
EVENTS = [
    Waiting(2, 900, "i-1"),
    Started("i-1", 40),
    Delta(b"first", 1),
    Delta(bytes(range(256)), 0),
    Finished(Usage(7, 1)),
]


def translated(*pieces: bytes, buffered: bool = False) -> Iterator[Event]:
    translator = Translator(TARGET, "i-1", buffered=buffered)
    for piece in pieces:
        yield from translator.feed(piece)
    if not translator.done:
        yield from translator.end()


@given(st.lists(st.integers(0, len(STREAM))))
def test_the_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    edges = sorted({0, len(STREAM), *cuts})
    assert list(translated(*(STREAM[a:b] for a, b in pairwise(edges)))) == EVENTS


def test_a_buffered_stream_says_so_and_tells_nothing_of_a_wait_that_is_over() -> None:
    assert next(iter(translated(STREAM, buffered=True))) == Started("i-1", 40, buffered=True)


@pytest.mark.parametrize("end", range(len(STARTED + PIECES + FINISHED)))
def test_an_answer_that_is_cut_anywhere_is_a_failed_engine(end: int) -> None:
    assert isinstance(ending(translated((STARTED + PIECES + FINISHED)[:end]))[1], EngineFailed)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0\0",
        b"\xff\xff\xff\xff\0",
        frame(0x99, b""),
        frame(0x13, b"\0"),
        frame(0x12, b"no"),
        frame(0x14, b"{}"),
    ],
)
def test_what_is_no_frame_of_ours_is_a_failed_engine(garbage: bytes) -> None:
    assert isinstance(ending(translated(STARTED + garbage))[1], EngineFailed)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(noise: bytes) -> None:
    ending(translated(noise))


@pytest.mark.parametrize(
    ("status", "code", "refusal"),
    [
        (401, "not_opened", NotOpened),
        (413, "answer_too_large", TooLarge),
        (400, "invalid_request", Malformed),
        (503, "enclave_unavailable", NoCapacity),
        (504, "engine_timeout", EngineTimedOut),
        (502, "engine_failed", EngineFailed),
        (401, "unauthorized", EngineFailed),
    ],
)
def test_a_refusal_is_the_same_before_and_within_an_answer(status: int, code: str, refusal: type[Refusal]) -> None:
    said = {"status": status, "code": code, "message": "no"}
    assert type(ending(translated(STARTED + frame(0x15, json.dumps(said).encode())))[1]) is refusal

    def answer(_: Request, wire: Wire) -> None:
        body = json.dumps({"error": {"message": "no", "type": "x", "code": code}}).encode()
        head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        wire.send(head % (status, len(body)) + body)

    server = Server(answer)
    try:
        target = OpenAICompatible("gpu-1", url=f"{server.root}/v1")
        with pytest.raises(refusal):
            OpenAICompatibleEngine(Settings()).consult(target, b"question")
    finally:
        server.close()
    (asked,) = server.requests
    assert (asked.path, asked.headers["content-type"], asked.body) == ("/v1/enclave", MEDIA_TYPE, b"question")


@pytest.mark.parametrize("stream", [True, False])
def test_a_sealed_call_reaches_the_container_byte_for_byte_and_its_answer_comes_back_as_it_is(stream: bool) -> None:
    def answer(_: Request, wire: Wire) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nX-Instance-ID: i-1\r\nContent-Length: %d\r\n\r\n"
        wire.send(head % (MEDIA_TYPE.encode(), len(STREAM)) + STREAM)

    server = Server(answer)
    sealed = bytes(range(256))
    try:
        target = OpenAICompatible("gpu-1", url=f"{server.root}/v1")
        call = msgspec.structs.replace(chat(stream=stream), sealed=sealed)
        assert list(OpenAICompatibleEngine(Settings()).open(target, call)) == EVENTS
    finally:
        server.close()
    (asked,) = server.requests
    assert (asked.path, asked.headers["content-type"], asked.body) == ("/v1/chat/completions", MEDIA_TYPE, sealed)


def test_a_clear_answer_to_a_sealed_call_is_none() -> None:
    def answer(_: Request, wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    server = Server(answer)
    try:
        target = OpenAICompatible("gpu-1", url=f"{server.root}/v1")
        with pytest.raises(EngineFailed):
            OpenAICompatibleEngine(Settings()).open(target, msgspec.structs.replace(chat(), sealed=b"ticket and blob"))
    finally:
        server.close()
