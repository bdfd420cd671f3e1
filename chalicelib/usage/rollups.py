"""The seam behind which roll-ups are kept."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from chalicelib.usage.rollup import Part
from chalicelib.usage.times import Span


class NoUsageTable(Exception):
    """The deployment has no table for roll-ups yet. The text is for operators."""

    def __init__(self, table: str) -> None:
        super().__init__(f"There is no table {table}: deploy infra/tables.yaml of this release first.")


class Mark(msgspec.Struct, frozen=True):
    """How far the schedule has come, for all tenants."""

    closed_ms: int = 0  # every hour that ended by then is closed
    late_ms: int = 0  # every mark of a late entry that was written by then is obeyed


class Rollups(Protocol):
    """Parts of roll-ups. Every method may raise StoreUnavailable, NoUsageTable."""

    def put(self, part: Part) -> None:
        """Write the part, unless one is there that counted more entries of the same bucket."""

    def last(self, tenant: str, span: Span) -> Part | None:
        """The last part of the latest bucket, strongly consistent."""

    def read(self, tenant: str, span: Span, since_ms: int, until_ms: int) -> Iterator[Part]:
        """The parts of buckets that start in [since, until), in order, strongly consistent; read as they are wanted."""

    def mark(self) -> Mark:
        """How far the schedule has come."""

    def put_mark(self, mark: Mark) -> None:
        """It has come further."""


class Closed(NamedTuple):
    """Up to when a tenant's usage is all in roll-ups. 0: there are none."""

    until_ms: int
    days_ms: int  # the same, of roll-ups of days alone


def closed_of(rollups: Rollups, tenant: str) -> Closed:
    days_ms = closed_by(rollups.last(tenant, "day"))
    return Closed(max(closed_by(rollups.last(tenant, "hour")), days_ms), days_ms)


def closed_by(last: Part | None) -> int:
    """Up to when buckets are closed whose last part this is."""
    if last is None:
        return 0
    return last.end_ms if last.number == last.parts - 1 else last.start_ms  # its writer was killed between two parts
