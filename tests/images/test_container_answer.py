"""What leaves the container is the same however the engine's bytes were cut on their way."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answer import Answer
from serving.envelope import ClearEnvelope
from serving.refusal import EngineFailed, EngineRefused, Refusal

TOKENS = [
    {"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("é", 'data: {"error"', '"usage": {', "\n\n")
]
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
FAILURE = {"error": {"message": "it died", "type": "InternalServerError", "code": 500}}


@dataclass
class Cut:
    """A reply whose bytes come in the given pieces."""

    data: bytes
    cuts: list[int]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"

    async def pieces(self) -> AsyncIterator[bytes]:
        marks = [0, *sorted(cut % (len(self.data) + 1) for cut in self.cuts), len(self.data)]
        for begin, end in itertools.pairwise(marks):
            yield self.data[begin:end]


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def streamed(reply: Cut) -> tuple[Answer, bytes, Refusal | None]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> tuple[Answer, Refusal | None]:
        answer = Answer(send, "i-1", ClearEnvelope())
        try:
            await answer.stream(reply)
        except Refusal as refusal:
            await answer.refuse(refusal)
            return answer, refusal
        return answer, None

    answer, refusal = asyncio.run(run())
    assert sent[0]["type"] == "http.response.start"
    bodies = sent[1:]
    assert [each["more_body"] for each in bodies] == [True] * (len(bodies) - 1) + [False]
    if sent[0]["status"] == 200:
        assert all(each["body"].endswith(b"\n\n") for each in bodies if each["body"]), "whole events only"
    return answer, b"".join(each["body"] for each in bodies), refusal


CUTS = st.lists(st.integers(0, 2000), max_size=30)


@given(CUTS)
def test_a_stream_is_passed_on_byte_for_byte_and_its_tokens_counted(cuts: list[int]) -> None:
    data = b": a comment of the engine\n\n" + sse(*TOKENS, USAGE) + b"data: [DONE]\n\n"
    answer, out, refusal = streamed(Cut(data, cuts))
    assert out == b": started queue_ms=0\n\n" + data
    assert (answer.status, answer.tokens, refusal) == (200, 4, None)


@given(CUTS)
def test_an_engine_that_reports_a_failure_ends_the_stream_with_it_and_without_done(cuts: list[int]) -> None:
    data = sse(*TOKENS, FAILURE, *TOKENS) + b"data: [DONE]\n\n"
    _, out, refusal = streamed(Cut(data, cuts))
    assert isinstance(refusal, EngineRefused)
    assert refusal.status == 502
    told = {"message": "it died", "type": "InternalServerError", "code": "InternalServerError"}
    *passed, last = out.removeprefix(b": started queue_ms=0\n\n").removesuffix(b"\n\n").split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: ")) == {"error": told}
    assert b"".join(each + b"\n\n" for each in passed) == sse(*TOKENS)


@given(CUTS, st.integers(0))
def test_a_stream_without_its_end_is_a_failed_engine(cuts: list[int], length: int) -> None:
    complete = sse(*TOKENS) + b"data: [DONE]\n\n"
    data = complete[: length % len(complete)]
    answer, out, refusal = streamed(Cut(data, cuts))
    assert isinstance(refusal, EngineFailed)
    assert b"[DONE]" not in out
    assert json.loads(out.rpartition(b"data: ")[2])["error"]["code"] == "engine_failed"
    assert answer.tokens <= 4


@pytest.mark.parametrize(
    ("status", "body", "passed_on"),
    [
        (500, b'{"error":{"message":"Unknown format: x","type":"server_error","code":500}}', 400),
        (501, b'{"error":{"message":"This server does not support it","type":"not_supported_error"}}', 400),
        (500, b'{"error":{"message":"Compute error.","type":"server_error","code":500}}', 502),
        (500, b'{"error":{"message":"x","type":"InternalServerError","code":500}}', 502),
        (404, b'{"error":{"message":"x","type":"NotFoundError","code":404}}', 404),
        (200, b'{"error":{"message":"not a stream","type":"y"}}', 502),
        (500, b"<html>", 502),
        (200, b"\xff" * 100, 502),
        (503, b"[" * 60_000, 502),
    ],
)
def test_whose_fault_an_engines_refusal_is(status: int, body: bytes, passed_on: int) -> None:
    answer, out, refusal = streamed(Cut(body, [], status, "application/json"))
    assert refusal is not None
    assert answer.status == passed_on
    assert set(json.loads(out)["error"]) == {"message", "type", "code"}
