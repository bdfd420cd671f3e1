"""What one round measures of one contestant, or of two that take turns, and the medians over the rounds."""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from bench.contestants import Contestant
from bench.load import Conversation, Load, ask, connect, drive, percentile, take_turn, uncollected
from bench.processes import Program
from bench.upstream import CHUNKS

CROWD = 32
STREAMS = 8
PAUSE_S = 0.002  # after a turn: what a process does then still belongs to it


@dataclass(frozen=True)
class Kind:
    """One kind of load. Measured by itself it lasts `seconds`; with another, each takes `turns` turns, of `in_a_row`
    requests on each connection, whatever the machine takes for them."""

    crowd: int  # requests at a time
    seconds: float
    turns: int
    in_a_row: int
    streamed: bool = False
    paced: bool = False


ALONE = Kind(1, 2.0, turns=40, in_a_row=10)
CROWDED = Kind(CROWD, 3.0, turns=16, in_a_row=2)
FIRST = Kind(1, 2.0, turns=8, in_a_row=1, streamed=True, paced=True)
BURST_FIRST = Kind(1, 1.0, turns=8, in_a_row=5, streamed=True)
PACED = Kind(STREAMS, 2.0, turns=8, in_a_row=1, streamed=True, paced=True)
BURST = Kind(STREAMS, 2.0, turns=10, in_a_row=2, streamed=True)
KINDS = (ALONE, CROWDED, FIRST, BURST_FIRST, PACED, BURST)


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


@dataclass
class _Spent:
    """What one kind of load saw of one contestant, and what it cost it."""

    load: Load = field(default_factory=Load)
    cpu_s: float = 0.0

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s * 1_000 / self.load.count


async def measure(contestant: Contestant, program: Program | None) -> Figures:
    """One round of one contestant. `program` is None for the upstream itself, whose CPU nobody asks for."""

    async def spent(kind: Kind) -> _Spent:
        asked = ask(contestant.path, contestant.key, paced=kind.paced, streamed=kind.streamed)
        before = program.cpu_s() if program else 0.0
        load = await drive(contestant.port, asked, concurrency=kind.crowd, seconds=kind.seconds)
        after = program.cpu_s() if program else 0.0
        return _Spent(load, after - before)

    return _figures({kind: await spent(kind) for kind in KINDS})


async def measure_in_turns(running: Sequence[tuple[Contestant, Program]]) -> list[Figures]:
    """One round of contestants that take turns: short ones, so that whatever else the machine does, it does to all of
    them alike. Who begins changes with each turn. The first turns are not counted."""
    spent = [await _in_turns(running, kind) for kind in KINDS]
    return [_figures({kind: each[at] for kind, each in zip(KINDS, spent, strict=True)}) for at in range(len(running))]


async def _in_turns(running: Sequence[tuple[Contestant, Program]], kind: Kind) -> list[_Spent]:
    everyone = [_Taking(contestant, program, kind) for contestant, program in running]
    try:
        for each in everyone:
            await each.connect()
            await each.turn()
            each.spent = _Spent()
        with uncollected():
            for turn in range(kind.turns):
                for each in everyone if turn % 2 == 0 else reversed(everyone):
                    await each.turn()
    finally:
        for each in everyone:
            each.leave()
    return [each.spent for each in everyone]


class _Taking:
    """One of those who take turns, on connections that stay open between them."""

    def __init__(self, contestant: Contestant, program: Program, kind: Kind) -> None:
        self._port, self._program, self._kind = contestant.port, program, kind
        self._asked = ask(contestant.path, contestant.key, paced=kind.paced, streamed=kind.streamed)
        self._conversations: list[Conversation] = []
        self.spent = _Spent()

    async def connect(self) -> None:
        for _ in range(self._kind.crowd):
            self._conversations.append(await connect(self._port))

    async def turn(self) -> None:
        before_s = self._program.cpu_s()
        await take_turn(self._conversations, self._asked, in_a_row=self._kind.in_a_row, load=self.spent.load)
        await asyncio.sleep(PAUSE_S)
        self.spent.cpu_s += self._program.cpu_s() - before_s

    def leave(self) -> None:
        for conversation in self._conversations:
            conversation.close()


def _figures(spent: Mapping[Kind, _Spent]) -> Figures:
    return Figures(
        p50_ms=percentile(spent[ALONE].load.total, 0.50),
        p99_ms=percentile(spent[ALONE].load.total, 0.99),
        alone_cpu_ms=spent[ALONE].cpu_ms,
        per_s=spent[CROWDED].load.per_s,
        cpu_ms=spent[CROWDED].cpu_ms,
        first_ms=percentile(spent[FIRST].load.first, 0.50),
        burst_first_ms=percentile(spent[BURST_FIRST].load.first, 0.50),
        stream_cpu_ms=spent[PACED].cpu_ms,
        burst_cpu_ms=spent[BURST].cpu_ms,
    )


def medians(rounds: list[Figures]) -> Figures:
    return Figures(**{f.name: statistics.median(getattr(r, f.name) for r in rounds) for f in fields(Figures)})
