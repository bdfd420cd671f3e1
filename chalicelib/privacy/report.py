"""What is told of an erasure: what is gone, what stays and why, what is to be done, and how that was seen. Pure."""

from collections.abc import Sequence

import msgspec

from chalicelib.privacy.records import Erasure, ScannedTable, State, Stays

RECOVERABLE_MS = 35 * 86_400_000
"""For how long the tables' point-in-time recovery can bring back what was deleted, at most (infra/tables.yaml)."""

ELSEWHERE = (
    "Log lines name the tenant's id and hold no prompt, answer or person; they go with the log retention of the stage.",
    "The operator's own events say what operators changed of the tenant, by its id; they are kept for 400 days.",
    "Accounts of people at their issuer are that issuer's. Of a user pool, its operator deletes them.",
)


class Erased(msgspec.Struct, frozen=True):
    """How many of a kind are gone; of requests and events, their text is."""

    what: str
    count: int


class Report(msgspec.Struct, frozen=True):
    """An erasure, as it stands. `scanned`: every table, from end to end; in the last pass nothing else was found.

    `recoverable_until_ms`: until then a backup could bring it back, and no longer; null while it is not done.
    """

    job: str
    tenant: str
    state: State
    asked_ms: int
    finished_ms: int | None
    deleted: list[Erased]
    kept: tuple[Stays, ...]
    pending: list[str]
    scanned: tuple[ScannedTable, ...]
    recoverable_until_ms: int | None
    elsewhere: Sequence[str]


def report(erasure: Erasure) -> Report:
    finished_ms = erasure.finished_ms
    return Report(
        job=erasure.job,
        tenant=erasure.tenant,
        state=erasure.state,
        asked_ms=erasure.asked_ms,
        finished_ms=finished_ms,
        deleted=[Erased(what, count) for what, count in sorted(erasure.deleted.items())],
        kept=erasure.stays,
        pending=list(_pending(erasure)),
        scanned=erasure.tables,
        recoverable_until_ms=None if finished_ms is None else finished_ms + RECOVERABLE_MS,
        elsewhere=ELSEWHERE,
    )


def _pending(erasure: Erasure) -> Sequence[str]:
    if erasure.unknown:
        return [
            "There are items of a kind that this release does not know; the service's operator must update it: "
            + "; ".join(erasure.unknown)
        ]
    match erasure.state:
        case "waiting":
            return ["Requests that were let in before are ending: some minutes."]
        case "erasing":
            return ["What was kept, what was used and who belonged to it is being erased."]
        case "proving":
            return ["Every table is looked through, for whatever else there may be."]
        case "done":
            return []
