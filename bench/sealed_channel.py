"""The enclave alone, as a container has it: TLS connections over which requests are opened and answers sealed.

Blocking sockets in threads: the cheapest client there is, and most of what it does is done without Python's lock.
"""

import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from bench import tenant
from bench.load import BadAnswer
from bench.sealed_modes import Mode, Open
from bench.sealed_system import System
from bench.upstream import MODEL, PACE_S
from sealed import ticket
from sealed.frames import Reader, frame
from sealed.hpke import KeyConfiguration
from sealed.ticket import Claims

HELLO, OPEN, SEAL, ASK = 0x01, 0x02, 0x03, 0x05
ANSWER = 0x80  # is added to the question's type
NOT_FINAL, FINAL = b"\x00", b"\x01"
TICKET_MS = 300_000
EPOCH_MS = 3_600_000
READ_BYTES = 65_536
GIVE_UP_S = 30.0

EVENTS = 500
PACED_EVENTS = 100
EVENT = b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","choices":[{"delta":{"content":" word"}}]}\n\n'
WHOLE = b'{"choices":[{"message":{"role":"assistant","content":"%s"}}]}' % (b"word " * 50)


@dataclass(frozen=True)
class Alone:
    """The enclave by itself, in one round of one mode. CPU is that of its process."""

    per_s: float  # requests, opened and answered, one at a time
    crowd_per_s: float  # as many at a time as a crowd has
    cpu_us: float  # per request, one at a time
    crowd_cpu_us: float
    chunk_cpu_us: float  # per chunk of a stream, as fast as they go
    paced_chunk_cpu_us: float  # per chunk, PACE_S apart


@dataclass(frozen=True)
class _Made:
    """A sealed request behind its ticket, and what opens its answer."""

    payload: bytes
    opened: Open


class Line:
    """One connection. Used by one thread."""

    def __init__(self, system: System) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # a container goes by the document; here is only one enclave
        context.load_cert_chain(system.files.container)
        wire = socket.socket(socket.AF_UNIX)
        wire.settimeout(GIVE_UP_S)
        wire.connect(str(system.files.socket))
        self._tls = context.wrap_socket(wire)
        self._frames = Reader()
        self.ask(HELLO, os.urandom(32))

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tls.close()

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The answer's payload. Raises: BadAnswer, OSError."""
        self._tls.sendall(frame(kind, payload))
        while data := self._tls.recv(READ_BYTES):
            for answered, said in self._frames.feed(data):
                if answered != kind | ANSWER:
                    raise BadAnswer(said.decode(errors="replace"))
                return said
        raise BadAnswer("the enclave closed the connection")


def measure_alone(system: System, mode: Mode, body: bytes, *, requests: int, crowd: int, streams: int) -> Alone:
    """`requests` one at a time, twice as many by a crowd, then `streams` of each kind. Raises: BadAnswer, OSError."""
    per_s, cpu_us = _exchanges(system, [_made(system, mode, body) for _ in range(requests)], 1)
    crowd_per_s, crowd_cpu_us = _exchanges(system, [_made(system, mode, body) for _ in range(2 * requests)], crowd)
    fast, paced = ([_made(system, mode, body, stream=True) for _ in range(streams)] for _ in range(2))
    return Alone(
        per_s=per_s,
        crowd_per_s=crowd_per_s,
        cpu_us=cpu_us,
        crowd_cpu_us=crowd_cpu_us,
        chunk_cpu_us=_chunk_cpu_us(system, fast, EVENTS, 0.0),
        paced_chunk_cpu_us=_chunk_cpu_us(system, paced, PACED_EVENTS, PACE_S),
    )


def new_key_configuration(system: System) -> KeyConfiguration:
    """The keys of a new epoch, for mode hpke. Raises: BadAnswer, OSError."""
    epoch: dict[str, Any] = {"epoch": f"e-{os.urandom(8).hex()}", "expires_ms": _now_ms() + EPOCH_MS}
    with Line(system) as line:

        def told(use: str, body: object) -> Any:
            return msgspec.json.decode(line.ask(ASK, _permitted(system, msgspec.json.encode(body), use=use)))

        epoch |= told("epoch", epoch)
        attested = told("attest", {"nonce": "", "configuration": epoch})
    return KeyConfiguration.parse(msgspec.json.encode(attested["configuration"]))


def _made(system: System, mode: Mode, body: bytes, *, stream: bool = False) -> _Made:
    request_id = f"r-{os.urandom(8).hex()}"
    blob, opened = mode.seal(request_id, body)
    claims = {"mode": mode.name, "key_arn": mode.key_arn, "request_id": request_id, "stream": stream}
    return _Made(_permitted(system, blob, use="run", **claims), opened)


def _permitted(system: System, body: bytes, **claims: Any) -> bytes:
    """What a container passes on: the gateway's ticket for this body, and the body."""
    nothing = Claims("run", tenant.NAME, "", "", "", MODEL, "chat.completions", "openai", False, EVENTS, "", 0)
    bound = {"body_sha256": hashlib.sha256(body).hexdigest(), "expires_ms": _now_ms() + TICKET_MS}
    said = msgspec.structs.replace(nothing, **claims, **bound)
    signed = ticket.sign(said, system.ticket_key)
    return len(signed).to_bytes(2) + signed + body


def _exchanges(system: System, requests: Sequence[_Made], concurrency: int) -> tuple[float, float]:
    """Requests/s and CPU per request, over `concurrency` connections. The answers are opened, and checked, later."""
    enclave = system.programs["enclave"]
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(system)) for _ in range(concurrency)]
        threads = stack.enter_context(ThreadPoolExecutor(concurrency))
        ready = threading.Barrier(concurrency + 1)

        def work(at: int) -> list[bytes]:
            ready.wait()
            answers = []
            for each in requests[at::concurrency]:
                lines[at].ask(OPEN, each.payload)
                answers.append(lines[at].ask(SEAL, FINAL + WHOLE))
            return answers

        working = [threads.submit(work, at) for at in range(concurrency)]
        spent_ns, began = enclave.own_cpu_ns(), time.perf_counter()
        ready.wait()
        answers = [worker.result() for worker in working]
        seconds, spent_ns = time.perf_counter() - began, enclave.own_cpu_ns() - spent_ns
    for at, given in enumerate(answers):
        for each, answer in zip(requests[at::concurrency], given, strict=True):
            if each.opened(answer) != WHOLE:
                raise BadAnswer("what was opened is not what was sealed")
    return len(requests) / seconds, spent_ns / len(requests) / 1_000


def _chunk_cpu_us(system: System, requests: Sequence[_Made], events: int, pace_s: float) -> float:
    """Streams of so many events, each sealed by itself, one stream after the other; opening them is not in the cost."""
    enclave = system.programs["enclave"]
    spent_ns = 0
    with Line(system) as line:
        for each in requests:
            line.ask(OPEN, each.payload)
            pieces = [line.ask(SEAL, NOT_FINAL + EVENT)]  # which may have to wait for a key
            spent_ns -= enclave.own_cpu_ns()
            for _ in range(events):
                if pace_s:  # even to sleep for no time takes 50 us
                    time.sleep(pace_s)
                pieces.append(line.ask(SEAL, NOT_FINAL + EVENT))
            spent_ns += enclave.own_cpu_ns()
            pieces.append(line.ask(SEAL, FINAL))
            if each.opened(b"".join(pieces)).count(EVENT) != events + 1:
                raise BadAnswer("what was opened is not what was sealed")
    return spent_ns / events / len(requests) / 1_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
