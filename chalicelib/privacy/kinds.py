"""What becomes of every kind of item when its tenant's data is erased. Pure.

`pk` and `sk` are written as the table of `chalicelib.tables` writes them; a test holds the two together.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

import msgspec

from chalicelib.documents import PLATFORM

Fate = Literal["erase", "bury", "keep", "not_a_tenants"]
"""`bury`: a tombstone stays in its place, for the hash chain. `not_a_tenants`: it never says whose anything is."""

_ANYBODY = "[a-z0-9-]{1,40}"
_LEASE = "[0-9a-z]{20}"
_REGION = "[a-z]{2}(-[a-z0-9]+)+"
_ACCOUNT = "that there was a tenant of this id, which no other is given; of its settings the operator's limits alone"
_METERS = "counts of limits, by which requests that come late are refused; they say nothing of any request"
_HEADS = "hashes and signatures of days, which prove that nobody changed the ledger; no text is in them"
_RECORDS = "this erasure, so that it is repeated where a table is ever restored from before it"
_TOMBSTONES = (
    "the hash of each entry without its text, so that the chain holds; each goes when its entry would have gone"
)


class Kind(msgspec.Struct, frozen=True):
    """One kind of item, and what becomes of it."""

    table: str
    pk: str  # these two as `tables` has them
    sk: str
    called: str  # in reports
    fate: Fate
    partition: str  # these two: patterns of the keys; {tenant} is whose it is
    sort: str = ""
    why: str = ""  # it stays
    says_whose: bool = False  # its document does, and its keys do not


KINDS: Sequence[Kind] = (
    Kind("tenancy", "tenant", "`tenant`", "the tenant", "keep", "{tenant}", "tenant", _ACCOUNT),
    Kind("tenancy", "tenant", "`key#<key id>`", "API keys", "erase", "{tenant}", "key#.+"),
    Kind("tenancy", "tenant", "`member#<subject>`", "members", "erase", "{tenant}", "member#.+"),
    Kind("tenancy", "tenant", "`session#<id>`", "sessions", "erase", "{tenant}", "session#.+"),
    Kind("tenancy", "tenant", "`person#<digest>`", "ways to members", "erase", "{tenant}", "person#[^#]+"),
    Kind("tenancy", "tenant", "`kms-challenge#<id>`", "proofs of KMS keys", "erase", "{tenant}", "kms-challenge#.+"),
    Kind("tenancy", "tenant", "`guardrails`", "guardrails", "erase", "{tenant}", "guardrails"),
    Kind("tenancy", "tenant", "`data-key`", "the data key of contents", "erase", "{tenant}", "data-key"),
    Kind("tenancy", "tenant", "`review#<tenant>#<rule>`", "reviews", "erase", "{tenant}", "review#.+"),
    Kind("tenancy", "`~platform`", "`pool#<name>`", "", "not_a_tenants", PLATFORM, "pool#.+"),
    Kind("tenancy", "`~platform`", "`kms-key#<id>#<ARN>`", "KMS keys", "erase", PLATFORM, "kms-key#.+", "", True),
    Kind("tenancy", "`~platform`", "`principal#<ARN>`", "IAM principals", "erase", PLATFORM, "principal#.+", "", True),
    Kind(
        "tenancy", "`~platform`", "`person#<digest>#<tenant>`", "ways to members", "erase", PLATFORM,
        "person#[^#]+#{tenant}",
    ),
    Kind(
        "tenancy", "`~platform`", "`invitation#<digest>#<tenant>`", "invitations", "erase", PLATFORM,
        "invitation#[^#]+#{tenant}",
    ),
    Kind("tenancy", "`~platform`", "`review#<tenant>#<rule>`", "reviews", "erase", PLATFORM, "review#{tenant}#.+"),
    Kind("tenancy", "`~platform`", "`erasure#<tenant>`", "erasures", "keep", PLATFORM, "erasure#{tenant}", _RECORDS),
    Kind("tenancy", "`~platform`", "`fair-use`", "", "not_a_tenants", PLATFORM, "fair-use"),
    Kind("tenancy", "`~platform`", "`reputation#<id>#<page>`", "", "not_a_tenants", PLATFORM, "reputation#.+"),
    Kind("tenancy", "`~reports`", "a region", "", "not_a_tenants", "~reports", _REGION),
    Kind("tenancy", "`~platform`", "`key-epochs`", "", "not_a_tenants", PLATFORM, "key-epochs"),
    Kind(
        "tenancy", "`~platform`", "`inference-profile#<place>#<model>`", "", "not_a_tenants", PLATFORM,
        "inference-profile#.+",
    ),
    Kind("tenancy", "`~platform`", "`breaker#<digest of a place>`", "", "not_a_tenants", PLATFORM, "breaker#.+"),
    Kind("tenancy", "`~status`", "`components`", "", "not_a_tenants", "~status", "components"),
    Kind("tenancy", "`~status`", "`incident#<id>`", "", "not_a_tenants", "~status", "incident#.+"),
    Kind("tenancy", "`~status`", "`maintenance`", "", "not_a_tenants", "~status", "maintenance"),
    Kind("tenancy", "`~subscribers`", "`person#<digest>`", "", "not_a_tenants", "~subscribers", "person#.+"),
    Kind("tenancy", "`~subscribers`", "`asked`, `mailed`", "", "not_a_tenants", "~subscribers", "asked|mailed"),
    Kind("meters", "tenant#region", "", "meters", "keep", f"{{tenant}}#{_REGION}", "", _METERS),
    Kind("meters", "tenant#3#region", "", "meters", "keep", f"{{tenant}}#[0-9]+#{_REGION}", "", _METERS),
    Kind("meters", "tenant#book#region", "", "meters", "keep", f"{{tenant}}#book#{_REGION}", "", _METERS),
    Kind("ledger", "tenant", "lease id", "requests", "bury", "{tenant}", _LEASE, _TOMBSTONES),
    Kind("ledger", "tenant", "`idem#<digest>`", "first uses", "erase", "{tenant}", "idem#.+"),
    Kind(
        "ledger", "`<whose>#velocity`", "`<seconds>#<number>`", "windows of velocity", "erase",
        "{tenant}(#own|#key:[^#]+)?#velocity", "[0-9]+#[0-9]+",
    ),
    Kind("ledger", "tenant#events", "", "events", "bury", "{tenant}#events", _LEASE, _TOMBSTONES),
    Kind("ledger", "`~sign-ins#<digest>#<window>`", "`count`", "", "not_a_tenants", "~sign-ins#.+", "count"),
    Kind(
        "ledger", "`~late`", "`<minute>#<tenant>#<hour>`", "marks of late entries", "erase", "~late",
        "[^#]+#{tenant}#[^#]+",
    ),
    Kind("usage", "tenant", "`<hour or day>#<start>#<part>`", "usage", "erase", "{tenant}", "[^#]+#[^#]+#[^#]+"),
    Kind("usage", "`~usage`", "`mark`", "", "not_a_tenants", "~usage", "mark"),
    Kind("ledger", "`~status#<region>`", "a day", "", "not_a_tenants", f"~status#{_REGION}", "[0-9-]+"),
    Kind("contents", "tenant", "`<content>#<piece>`", "contents", "erase", "{tenant}", "[^#]+#.*"),
    Kind("heads", "tenant", "`<day>#<part>`", "signed heads", "keep", "{tenant}(#events)?", "[0-9-]+#[0-9]+", _HEADS),
)  # fmt: skip


def kind_of(table: str, tenant: str, partition: str, sort: str) -> Kind | None:
    """What kind of item of the tenant's, or of nobody's, has these keys; None: one that nobody here knows."""
    for kind in KINDS:
        if kind.table != table or not re.fullmatch(_filled(kind.partition, tenant), partition):
            continue
        if re.fullmatch(_filled(kind.sort, tenant), sort):
            return kind
    return None


def may_be_anothers(table: str, partition: str, sort: str) -> bool:
    """Whether an item of these keys, under no tenant, is of a kind that is known, whosever it is."""
    return any(
        kind.table == table
        and re.fullmatch(kind.partition, partition)
        and re.fullmatch(kind.sort.replace("{tenant}", _ANYBODY), sort)
        for kind in KINDS
        if "{tenant}" not in kind.partition
    )


@cache
def _filled(pattern: str, tenant: str) -> str:
    return pattern.replace("{tenant}", re.escape(tenant))
