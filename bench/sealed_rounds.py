"""What one round measures of one mode with one kind of request, through the whole system."""

import gc
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from bench import tenant
from bench.load import Ask, BadAnswer, connect, percentile, post
from bench.sealed_modes import Mode, Open
from bench.sealed_system import System
from bench.upstream import MODEL
from bench.wire import HEAD_END, dechunked, header

PATH = f"/tenants/{tenant.NAME}/v1/chat/completions"
TOKENS = 50
MOST_TOKENS = 1_000


@dataclass(frozen=True)
class Shape:
    """One kind of request, and how many of them are sent in a round, one at a time."""

    name: str
    body_bytes: int
    count: int
    tokens: int = TOKENS
    delay_ms: int = 0
    stream: bool = False


@dataclass(frozen=True)
class Figures:
    """One mode in one round, for each request. The client seals before and opens after: neither is in a latency."""

    p50_ms: float
    first_ms: float  # to the first chunk of a stream; of others, as the total
    client_ms: float  # sealing and opening, KMS's answers included
    gateway_ms: float  # CPU, as all that follow
    container_ms: float
    enclave_ms: float
    kms_ms: float
    kms_calls: float  # by the enclave


@dataclass(frozen=True)
class _Made:
    asked: Ask
    opened: Open
    sealing_ns: int


async def measure(system: System, mode: Mode, shape: Shape) -> Figures:
    """Raises: BadAnswer, OSError, TimeoutError, and what the mode refuses with."""
    requests = [_made(system, mode, shape) for _ in range(shape.count)]
    answers: list[bytes] = []
    total: list[int] = []
    first: list[int] = []
    conversation = await connect(system.port)
    gc.collect()
    gc.disable()
    calls, cpu = system.kms_calls(), _cpu(system)
    try:
        for each in requests:
            sent = time.perf_counter_ns()
            answers.append(await conversation.ask(each.asked))
            total.append(time.perf_counter_ns() - sent)
            first.append(conversation.first_ns - sent if shape.stream else total[-1])
    finally:
        gc.enable()
        conversation.close()
    used = {name: (ns - cpu[name]) / shape.count / 1e6 for name, ns in _cpu(system).items()}
    calls = system.kms_calls() - calls
    answered = zip(requests, answers, strict=True)
    client = [each.sealing_ns + _opening_ns(each, answer, shape) for each, answer in answered]
    return Figures(
        p50_ms=percentile(total, 0.50),
        first_ms=percentile(first, 0.50),
        client_ms=percentile(client, 0.50) if mode.name else 0.0,
        gateway_ms=used["gateway"],
        container_ms=used["container"],
        enclave_ms=used["enclave"],
        kms_ms=used["KMS"],
        kms_calls=calls / shape.count,
    )


def medians(rounds: Sequence[Figures]) -> Figures:
    return Figures(**{f.name: statistics.median(getattr(each, f.name) for each in rounds) for f in fields(Figures)})


def body(shape: Shape) -> bytes:
    """The request's JSON, of the shape's length where it is not longer by itself."""
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": ""}],
        "max_tokens": MOST_TOKENS,
        "script": {"tokens": shape.tokens, "delay_ms": shape.delay_ms},
        **({"stream": True, "stream_options": {"include_usage": True}} if shape.stream else {}),
    }
    asked["messages"] = [{"role": "user", "content": "x" * (shape.body_bytes - len(json.dumps(asked)))}]
    return json.dumps(asked).encode()


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
    return _Made(Ask(post(PATH, system.key, content, headers), shape.stream, mark), opened, sealing_ns)


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


def _cpu(system: System) -> Mapping[str, int]:
    return {name: program.own_cpu_ns() for name, program in system.programs.items()}
