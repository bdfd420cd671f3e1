"""The figures of `bench.sealed` as tables, and the goals beside what was measured."""

import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.sealed_channel import Alone
from bench.sealed_rounds import Figures, Shape, medians
from bench.table import Row, print_table
from bench.upstream import PACE_S

CHUNKS = 500
CROWD = 16
BODY_BYTES = 1_024

SMALL = Shape("A request of 1 KB", BODY_BYTES, turns=20, in_a_row=3)
LARGE = Shape("A request of 100 KB", 100 * 1_024, turns=10, in_a_row=3)
STREAM = Shape(
    f"A stream of {CHUNKS} chunks, as fast as they go", BODY_BYTES, turns=3, in_a_row=1, tokens=CHUNKS, stream=True
)
PACED = Shape(
    "The first chunk of a stream (paced by 2 ms)",
    BODY_BYTES,
    turns=4,
    in_a_row=3,
    tokens=10,
    delay_ms=2,
    stream=True,
)
SHAPES = (SMALL, LARGE, STREAM, PACED)

CLEAR = "unsealed"
HPKE = ("hpke X25519", "hpke X-Wing")

_LATENCY = (
    Row("total_ms", "latency p50", "ms"),
    Row("added_total_ms", "added latency p50", "ms"),
    Row("client_ms", "beside it: the client seals and opens", "ms"),
)
_COSTS = (
    Row("gateway_ms", "CPU of the gateway", "ms"),
    Row("container_ms", "CPU of the container", "ms"),
    Row("enclave_ms", "CPU of the enclave", "ms"),
    Row("kms_ms", "CPU of the local KMS that the enclave calls", "ms"),
    Row("kms_calls", "calls of KMS by the enclave", ""),
)
_CHUNKS = (
    Row("gateway_chunk_us", "CPU of the gateway per chunk", "us"),
    Row("container_chunk_us", "CPU of the container per chunk", "us"),
    Row("enclave_chunk_us", "CPU of the enclave per chunk", "us"),
)
_FIRST = (
    Row("first_ms", "time to the first chunk p50", "ms"),
    Row("added_first_ms", "added time to the first chunk p50", "ms"),
)
ROWS = {SMALL: _LATENCY + _COSTS, LARGE: _LATENCY + _COSTS, STREAM: _LATENCY + _COSTS + _CHUNKS, PACED: _FIRST}
ALONE = "The enclave alone"
ALONE_ROWS = (
    Row("per_s", "requests/s, 1 at a time", "1/s"),
    Row("crowd_per_s", f"requests/s, {CROWD} at a time", "1/s"),
    Row("cpu_us", "CPU per request, 1 at a time", "us"),
    Row("crowd_cpu_us", f"CPU per request, {CROWD} at a time", "us"),
    Row("chunk_cpu_us", "CPU per chunk of a stream, as fast as they go", "us"),
    Row("paced_chunk_cpu_us", f"CPU per chunk of a stream, paced by {PACE_S * 1_000:.0f} ms", "us"),
)


@dataclass(frozen=True)
class Seen:
    """What was measured, by round, for each kind of request and each mode."""

    through: dict[tuple[Shape, str], list[Figures]] = field(default_factory=lambda: defaultdict(list))
    alone: dict[str, list[Alone]] = field(default_factory=lambda: defaultdict(list))

    def figure(self, shape: Shape, mode: str, name: str) -> float:
        """A median over the rounds. `added_…`: to the same round in the clear; `…_chunk_us`: what a stream costs more
        than a small request, for each of its chunks."""
        rounds = self.through[shape, mode]
        if name.startswith("added_"):
            name = name.removeprefix("added_")
            pairs = zip(rounds, self.through[shape, CLEAR], strict=True)
            over: list[float] = [getattr(mine, name) - getattr(clear, name) for mine, clear in pairs]
            return statistics.median(over)
        if name.endswith("_chunk_us"):
            name = name.replace("_chunk_us", "_ms")
            return (self.figure(shape, mode, name) - self.figure(SMALL, mode, name)) / shape.tokens * 1_000
        figure: float = getattr(medians(rounds), name)
        return figure

    def alone_figure(self, mode: str, name: str) -> float:
        found: list[float] = [getattr(each, name) for each in self.alone[mode]]
        return statistics.median(found)

    def tables(self) -> dict[str, dict[str, dict[str, float]]]:
        """Title -> mode -> row -> figure."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for shape, mode in self.through:
            figures = {row.key: self.figure(shape, mode, row.key) for row in ROWS[shape]}
            found.setdefault(shape.name, {})[mode] = figures
        alone = {mode: {row.key: self.alone_figure(mode, row.key) for row in ALONE_ROWS} for mode in self.alone}
        return found | {ALONE: alone}


@dataclass(frozen=True)
class Goal:
    text: str
    measured: float
    unit: str
    met: bool


def goals(seen: Seen) -> Iterator[Goal]:
    """Where hpke is meant, with the worse of its two suites."""
    for shape, size in ((SMALL, "1 KB"), (LARGE, "100 KB")):
        added_ms = max(seen.figure(shape, mode, "added_total_ms") for mode in HPKE)
        yield Goal(f"hpke adds under 2 ms to the median latency of {size}", added_ms, "ms", added_ms < 2)
    calls = max(seen.figure(SMALL, mode, "kms_calls") for mode in HPKE)
    yield Goal("hpke makes no call of KMS on the warm path", calls, "calls", calls == 0)
    calls = seen.figure(SMALL, "esdk", "kms_calls")
    yield Goal("esdk makes at most 2 calls of KMS", calls, "calls", calls <= 2)
    for name, crowd in (("per_s", 1), ("crowd_per_s", CROWD)):
        per_s = min(seen.alone_figure(mode, name) for mode in HPKE)
        yield Goal(f"hpke: one enclave answers 300 requests/s, {crowd} at a time", per_s, "1/s", per_s >= 300)
    for kind, sealers in (("hpke", HPKE), ("esdk", ("esdk",))):
        for name, pace in (("chunk_cpu_us", "as fast as they go"), ("paced_chunk_cpu_us", "paced")):
            chunk_us = max(seen.alone_figure(mode, name) for mode in sealers)
            yield Goal(f"{kind}: a chunk is sealed in under 60 us of CPU, {pace}", chunk_us, "us", chunk_us < 60)


def print_report(seen: Seen) -> None:
    """Markdown, as docs/performance.md quotes it."""
    print("| goal | measured | |\n| --- | ---: | --- |")
    for goal in goals(seen):
        print(f"| {goal.text} | {goal.measured:,.2f} {goal.unit} | {'met' if goal.met else '**missed**'} |")
    tables = seen.tables()
    for shape, rows in ROWS.items():
        print(f"\n### {shape.name}\n")
        print_table(rows, tables[shape.name], ours="")
    print(f"\n### {ALONE}\n")
    print_table(ALONE_ROWS, tables[ALONE], ours="")
