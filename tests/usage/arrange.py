"""Ledgers of made-up months, and what a plain recount of them says."""

from collections import defaultdict
from collections.abc import Iterable
from typing import get_args

import msgspec
from hypothesis import strategies as st

from chalicelib.ledger import Entry, Units, lease_id_of
from chalicelib.ledger.chain import start_ms
from chalicelib.ledger.entry import Audited
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.usage import Roller, Rollups
from chalicelib.usage.group import Dimension
from chalicelib.usage.rollup import Part
from chalicelib.usage.times import DAY_MS, HOUR_MS, Span, start

T0 = start_ms("2026-11-18")
TENANT = "acme"
SPANS: tuple[Span, ...] = ("hour", "day")
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

Sums = tuple[int, int, int, int, int]
"""requests, refusals, tokens in, tokens out, micro-dollars"""


def made(at_ms: int, number: int = 0, **members: object) -> Entry:
    entry = Entry(
        tenant=TENANT,
        lease_id=lease_id_of(at_ms, number),
        request_id=f"r{number}",
        outcome="completed",
        reason="",
        used=Units(requests=1, tokens=12, micro_usd=7),
        charged=Units(requests=1, tokens=12, micro_usd=7),
        admitted_ms=at_ms,
        settled_ms=at_ms + 250,
        region="us-east-1",
        subject="key:k1",
        pool="model-a",
        operation="chat.completions",
        tokens_in=10,
        tokens_out=2,
        key="k1",
    )
    return msgspec.structs.replace(entry, **members)


@st.composite
def entries(draw: st.DrawFn, days: int = 3, most: int = 40) -> list[Entry]:
    """Of a few days, many of them beside an edge."""
    edges = st.one_of(st.integers(0, days * 24).map(lambda hour: hour * HOUR_MS), st.integers(0, days).map(_days))
    offsets = st.one_of(st.sampled_from((-1, 0, 1)), st.integers(-HOUR_MS, HOUR_MS))
    found = []
    for number in range(draw(st.integers(0, most))):
        at_ms = T0 + min(max(0, draw(edges) + draw(offsets)), days * DAY_MS - 1)
        reason = draw(st.sampled_from(("", "", "EngineFailed", "client_left")))
        charged = Units(requests=1, micro_usd=draw(st.integers(0, 10**12)))
        found.append(
            made(
                at_ms,
                number,
                outcome="failed" if reason else "completed",
                reason=reason,
                charged=charged,
                settled_ms=at_ms + draw(st.integers(0, 900_000)),
                pool=draw(st.sampled_from(("model-a", "model-b"))),
                key=draw(st.sampled_from(("k1", "k2", ""))),
                subject="key:k1",
                member=draw(st.sampled_from(("", "ada"))),
                operation=draw(st.sampled_from(("chat.completions", "embeddings"))),
                tokens_in=draw(st.one_of(st.none(), st.integers(0, 10**6))),
                tokens_out=draw(st.integers(0, 10**6)),
                audited=draw(st.sampled_from((None, Audited(model_id="claude", tokens_in=3)))),
            )
        )
    return found


def _days(many: int) -> int:
    return many * DAY_MS


def values_of(entry: Entry, dimensions: tuple[Dimension, ...]) -> tuple[str, ...]:
    """As the documentation says them."""
    model = entry.audited.model_id if entry.audited else entry.pool
    told = {
        "pool": entry.pool,
        "model": model,
        "key": entry.key or "k1",
        "member": entry.member,
        "operation": entry.operation,
        "refusal": entry.reason,
    }
    return tuple(told[each] for each in dimensions)


def recounted(
    found: Iterable[Entry], span: Span, dimensions: tuple[Dimension, ...]
) -> dict[tuple[int, tuple[str, ...]], Sums]:
    """Entry by entry, as nobody would do it with many."""
    sums: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(lambda: [0] * 5)
    for entry in found:
        row = sums[start(entry.admitted_ms, span), values_of(entry, dimensions)]
        tokens_in = entry.tokens_in
        if tokens_in is None:
            tokens_in = entry.audited.tokens_in if entry.audited else 0
        for place, more in enumerate(
            (1, int(entry.outcome != "completed"), tokens_in, entry.tokens_out or 0, entry.charged.micro_usd)
        ):
            row[place] += more
    return {where: (row[0], row[1], row[2], row[3], row[4]) for where, row in sums.items()}


def roller(ledger: MemoryLedger, rollups: Rollups) -> Roller:
    return Roller(ledger, ledger, rollups)


def kept(rollups: Rollups) -> list[Part]:
    """Every byte of a tenant's roll-ups."""
    return [part for span in SPANS for part in rollups.read(TENANT, span, 0, T0 + 1_000 * DAY_MS)]
