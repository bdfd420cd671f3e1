"""What one round measures of one kind of request in every mode, through the whole system.

The modes take turns every few requests: often enough that whatever else the machine does, it does to all of them
alike, and not so often that each finds its processes cold.
"""

import asyncio
import gc
import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from bench import tenant
from bench.load import BadAnswer, Conversation, Request, connect, post
from bench.sealed_modes import Mode, Open
from bench.sealed_system import System
from bench.upstream import MODEL
from bench.wire import HEAD_END, dechunked, header

PATH = f"/tenants/{tenant.NAME}/v1/chat/completions"
TOKENS = 50
MOST_TOKENS = 1_000
PAUSE_S = 0.002  # after a turn: what a process does then still belongs to it


@dataclass(frozen=True)
class Shape:
    """One kind of request; how many turns each mode has in a round, and how many requests it sends in each."""

    name: str
    body_bytes: int
    turns: int
    in_a_row: int
    tokens: int = TOKENS
    delay_ms: int = 0
    stream: bool = False


@dataclass(frozen=True)
class Figures:
    """Of one request. The client seals before and opens after: neither is in a latency."""

    total_ms: float
    first_ms: float  # to the first chunk of a stream; of others, as the total
    client_ms: float  # sealing and opening, KMS's answers included
    gateway_ms: float  # CPU, as all that follow
    container_ms: float
    enclave_ms: float
    kms_ms: float
    kms_calls: float  # by the enclave


@dataclass(frozen=True)
class _Made:
    asked: Request
    opened: Open
    sealing_ns: int


@dataclass(frozen=True)
class _Answered:
    body: bytes
    total_ns: int
    first_ns: int
    cpu_ns: Mapping[str, float]  # this and the next: its share of its turn's
    kms_calls: float


async def measure(system: System, modes: Sequence[Mode], shape: Shape) -> dict[str, Figures]:
    """By mode, the median of each figure.

    Raises: BadAnswer, OSError, TimeoutError, and what a mode refuses with.
    """
    turns = [
        (mode, [_made(system, mode, shape) for _ in range(shape.in_a_row)])
        for turn in range(shape.turns)
        for mode in random.Random(turn).sample(modes, len(modes))  # nobody always follows the same neighbour
    ]
    answers: list[list[_Answered]] = []
    conversation = await connect(system.port)
    system.kms_calls()  # the client's own, to seal
    gc.collect()
    gc.disable()
    try:
        for _, requests in turns:
            answers.append(await _turn(system, conversation, requests))
    finally:
        gc.enable()
        conversation.close()
    found: dict[str, list[Figures]] = defaultdict(list)
    for (mode, requests), answered in zip(turns, answers, strict=True):
        for made, answer in zip(requests, answered, strict=True):
            opening_ns = _opening_ns(made, answer.body, shape)
            found[mode.title].append(_figures(answer, made.sealing_ns + opening_ns if mode.name else 0))
    return {mode.title: medians(found[mode.title]) for mode in modes}


def medians(several: Sequence[Figures]) -> Figures:
    return Figures(**{f.name: statistics.median(getattr(each, f.name) for each in several) for f in fields(Figures)})


def body(shape: Shape) -> bytes:
    """The request's JSON, as long as the shape says."""

    def asked(prompt: str) -> bytes:
        return json.dumps(
            {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": MOST_TOKENS,
                "script": {"tokens": shape.tokens, "delay_ms": shape.delay_ms},
                **({"stream": True, "stream_options": {"include_usage": True}} if shape.stream else {}),
            }
        ).encode()

    return asked("x" * (shape.body_bytes - len(asked(""))))


def _made(system: System, mode: Mode, shape: Shape) -> _Made:
    request_id = f"r-{os.urandom(8).hex()}"
    plaintext = body(shape)
    began = time.perf_counter_ns()
    content, opened = mode.seal(request_id, plaintext)
    sealing_ns = time.perf_counter_ns() - began
    headers = dict(mode.headers) | {"x-request-id": request_id}
    if mode.name:
        headers |= {"x-max-tokens": str(MOST_TOKENS), "x-seal-stream": json.dumps(shape.stream)}
    mark = b"" if mode.name else b"data:"
    return _Made(Request(post(PATH, system.key, content, headers), shape.stream, mark), opened, sealing_ns)


async def _turn(system: System, conversation: Conversation, requests: Sequence[_Made]) -> list[_Answered]:
    before = {name: program.own_cpu_ns() for name, program in system.programs.items()}
    seen = []
    for made in requests:
        sent = time.perf_counter_ns()
        body = await conversation.ask(made.asked)
        total_ns = time.perf_counter_ns() - sent
        seen.append((body, total_ns, conversation.first_ns - sent if made.asked.streamed else total_ns))
    await asyncio.sleep(PAUSE_S)
    cpu_ns = {name: (each.own_cpu_ns() - before[name]) / len(requests) for name, each in system.programs.items()}
    kms_calls = system.kms_calls() / len(requests)
    return [_Answered(*each, cpu_ns, kms_calls) for each in seen]


def _opening_ns(made: _Made, answer: bytes, shape: Shape) -> int:
    """How long opening took. Raises BadAnswer unless it is the whole of what the engine was told to say."""
    head, _, content = answer.partition(HEAD_END)
    if not head.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(answer[:1500].decode(errors="replace"))
    if header(head + b"\r\n", b"content-length") is None:
        content = dechunked(content[: -len(b"0\r\n\r\n")])
    began = time.perf_counter_ns()
    opened = made.opened(content)
    took = time.perf_counter_ns() - began
    if b"w%d " % (shape.tokens - 1) not in opened or b'"usage"' not in opened:
        raise BadAnswer(opened[:1500].decode(errors="replace"))
    return took


def _figures(answered: _Answered, client_ns: int) -> Figures:
    return Figures(
        total_ms=answered.total_ns / 1e6,
        first_ms=answered.first_ns / 1e6,
        client_ms=client_ns / 1e6,
        gateway_ms=answered.cpu_ns["gateway"] / 1e6,
        container_ms=answered.cpu_ns["container"] / 1e6,
        enclave_ms=answered.cpu_ns["enclave"] / 1e6,
        kms_ms=answered.cpu_ns["KMS"] / 1e6,
        kms_calls=answered.kms_calls,
    )
