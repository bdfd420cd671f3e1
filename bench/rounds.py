"""What one round measures of one contestant, and the medians over the rounds."""

import statistics
from dataclasses import dataclass, fields

from bench.contestants import Contestant
from bench.load import Ask, Load, ask, drive, percentile
from bench.processes import Program
from bench.upstream import CHUNKS

UNARY_S = 2.0
CROWD_S = 3.0
STREAM_S = 2.0
CROWD = 32
STREAMS = 8


@dataclass(frozen=True)
class Figures:
    """One contestant in one round. CPU is of its whole process tree; Redis and DynamoDB are not in it."""

    p50_ms: float  # one unary request at a time
    p99_ms: float
    alone_cpu_ms: float  # CPU per unary request, one at a time
    per_s: float  # unary requests per second, CROWD at a time
    cpu_ms: float  # CPU per unary request, CROWD at a time
    first_ms: float  # time to the first chunk of a paced stream, one at a time
    burst_first_ms: float  # the same where the upstream answers all chunks at once
    stream_cpu_ms: float  # CPU per paced stream of CHUNKS chunks, STREAMS at a time
    burst_cpu_ms: float  # CPU per stream that the upstream answers at once

    @property
    def chunk_cpu_us(self) -> float:
        """CPU per streamed chunk: what a paced stream costs more than a unary answer of the same tokens."""
        return (self.stream_cpu_ms - self.cpu_ms) / CHUNKS * 1_000

    @property
    def burst_chunk_cpu_us(self) -> float:
        return (self.burst_cpu_ms - self.cpu_ms) / CHUNKS * 1_000


async def measure(contestant: Contestant, program: Program | None) -> Figures:
    """One round of one contestant. `program` is None for the upstream itself, whose CPU nobody asks for."""
    unary = ask(contestant.path, contestant.key)
    burst = ask(contestant.path, contestant.key, streamed=True)
    paced = ask(contestant.path, contestant.key, streamed=True, prompt="paced")
    port = contestant.port

    async def costed(asked: Ask, concurrency: int, seconds: float) -> tuple[Load, float]:
        before = program.cpu_s() if program else 0.0
        load = await drive(port, asked, concurrency=concurrency, seconds=seconds)
        after = program.cpu_s() if program else 0.0
        return load, (after - before) * 1_000 / load.count

    alone, alone_cpu = await costed(unary, 1, UNARY_S)
    crowd, crowd_cpu = await costed(unary, CROWD, CROWD_S)
    first, _ = await costed(paced, 1, STREAM_S)
    burst_first, _ = await costed(burst, 1, STREAM_S / 2)
    _, stream_cpu = await costed(paced, STREAMS, STREAM_S)
    _, burst_cpu = await costed(burst, STREAMS, STREAM_S)
    return Figures(
        p50_ms=percentile(alone.total, 0.50),
        p99_ms=percentile(alone.total, 0.99),
        alone_cpu_ms=alone_cpu,
        per_s=crowd.per_s,
        cpu_ms=crowd_cpu,
        first_ms=percentile(first.first, 0.50),
        burst_first_ms=percentile(burst_first.first, 0.50),
        stream_cpu_ms=stream_cpu,
        burst_cpu_ms=burst_cpu,
    )


def medians(rounds: list[Figures]) -> Figures:
    return Figures(**{f.name: statistics.median(getattr(r, f.name) for r in rounds) for f in fields(Figures)})
