"""What an entry is counted under."""

from typing import Literal, NamedTuple

from chalicelib.ledger import Entry

Dimension = Literal["pool", "model", "key", "member", "operation", "refusal"]


class Group(NamedTuple):
    """One value of each dimension; empty where there is none, as the member of a key that is the tenant's own."""

    pool: str
    model: str  # Bedrock's, where the call was audited; else the pool
    key: str  # its id
    member: str  # their subject
    operation: str
    refusal: str  # why it did not complete; empty where it did


def group_of(entry: Entry) -> Group:
    kind, _, named = entry.subject.partition(":")
    return Group(
        pool=entry.pool,
        model=(entry.audited.model_id if entry.audited else "") or entry.pool,
        # Entries from before they told have it in their subject alone.
        key=entry.key or (named if kind == "key" else ""),
        member=entry.member or (named if kind == "member" else ""),
        operation=entry.operation,
        refusal="" if entry.outcome == "completed" else entry.reason or entry.outcome,
    )
