"""Every DynamoDB key and model, for what is managed: tables that are made, documents that are changed or listed.

What a request waits for speaks DynamoDB's wire itself (`dynamodb`): PynamoDB and the botocore under it take 0.1 s to
import. The models say what its items are, too, and a test holds both to it.

| table   | pk            | sk                   | item                                                |
|---------|---------------|----------------------|-----------------------------------------------------|
| tenancy | tenant        | `tenant`             | Tenant: limits, pools, status, KMS keys, sources    |
| tenancy | tenant        | `key#<key id>`       | Key: digest, role, scopes, expiry                   |
| tenancy | tenant        | `member#<subject>`   | Member: role, and who they are once they joined     |
| tenancy | tenant        | `session#<id>`       | Session: of a browser; its secrets' digests, and until when |
| tenancy | tenant        | `person#<digest>`    | Person: which member an issuer's subject is         |
| tenancy | tenant        | `kms-challenge#<id>` | Challenge: a KMS key whose control is to be proved  |
| tenancy | tenant        | `guardrails`         | Guardrails: the rules of what may be said           |
| tenancy | tenant        | `data-key`           | Wrapped: the data key of what it asked to be kept   |
| tenancy | `~platform`   | `pool#<name>`        | Pool: targets, prices, reservation rule             |
| tenancy | `~platform`   | `kms-key#<id>#<ARN>` | Owner: the one tenant whose KMS key it is           |
| tenancy | `~platform`   | `principal#<ARN>`    | Owner: the one tenant that it signs for             |
| tenancy | `~platform`   | `person#<digest>#<tenant>` | Person: a tenant that somebody has joined     |
| tenancy | `~platform`   | `invitation#<digest>#<tenant>` | Person: whom a mail address may become    |
| tenancy | `~platform`   | `review#<tenant>#<rule>` | Review: a tenant that broke a rule of velocity |
| tenancy | tenant        | `review#<tenant>#<rule>` | Review: of a rule of its owners' own that was broken |
| tenancy | `~platform`   | `erasure#<tenant>`   | Erasure: of a tenant's data, with its report        |
| tenancy | `~platform`   | `fair-use`           | Head: how many tenants an address may call, and pages of lists |
| tenancy | `~platform`   | `reputation#<id>#<page>` | networks that are denied or watched, and why    |
| tenancy | `~status`     | `components`         | Component of each that the status page shows        |
| tenancy | `~status`     | `incident#<id>`      | Incident: what operators told of a fault            |
| tenancy | `~status`     | `maintenance`        | Window of each that was announced                   |
| tenancy | `~subscribers` | `person#<digest>`   | Subscriber: who hears of incidents by mail          |
| tenancy | `~subscribers` | `asked`, `mailed`   | how many asked in this hour; what everybody has heard |
| tenancy | `~reports`    | a region             | Report: how its targets were when they were asked   |
| tenancy | `~platform`   | `key-epochs`         | the key epochs of mode hpke that live, newest first |
| tenancy | `~platform`   | `inference-profile#<place>#<model>` | the profile through which Bedrock was reached |
| tenancy | `~platform`   | `breaker#<digest of a place>` | BreakerState: of a target that failed, and why |
| meters  | tenant#region |                      | epoch, tats, windows, held, budgets, leases         |
| meters  | tenant#3#region |                    | the same and `sh`: a shard of a divided meter       |
| meters  | tenant#book#region |                 | Book: who holds which shares of the tenant's limits |
| ledger  | tenant        | lease id             | Entry: one finished request; ids sort by time       |
| ledger  | tenant        | `idem#<digest>`      | FirstUse: of what must not come twice, by which lease |
| ledger  | `<whose>#velocity` | `<seconds>#<number>` | a window: digests of what was called with, for an hour more |
| ledger  | `~status#<region>` | a day           | Day: samples of each minute, for the status page    |
| ledger  | tenant#events |                      | Event or Ended: a change, and what became of it     |
| ledger  | `~sign-ins#<digest>#<window>` | `count` | how many of an address, or for an account  |
| contents | tenant       | `<content>#<piece>`  | a piece of what the tenant asked to be kept, encrypted |
| ledger  | `~late`       | `<minute>#<tenant>#<hour>` | an entry of that hour came late                |
| usage   | tenant        | `<hour or day>#<start>#<part>` | Part: what was used in it                   |
| usage   | `~usage`      | `mark`               | Mark: how far the schedule has come                 |
| heads   | tenant        | `<day>#<part>`       | SignedHead: what the day's hash chains were         |

The tenant comes first in every key, so no query can cross tenants; `~` cannot occur in a tenant's id.
What concerns all tenants (the operator's list, a change of a pool, the reaper) scans, and is rare.
Tenancy and ledger documents are JSON text in `doc`, decoded by msgspec: a new member with a default
runs against yesterday's table. The meter is native, because its conditions reach into it.
"""

from typing import Any, TypeVar

import msgspec
from pynamodb.attributes import (
    BinaryAttribute,
    BinarySetAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import VerboseClientError
from pynamodb.models import Model

from chalicelib.dynamodb import Complaint, DynamoDB, Tables

ModelT = TypeVar("ModelT", bound=Model)


class TenancyItem(Model):
    class Meta:
        table_name = "tenancy"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    doc = UnicodeAttribute()
    version = VersionAttribute()


class MeterItem(Model):
    class Meta:
        table_name = "meters"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    epoch = NumberAttribute()
    tats: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]
    windows: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]
    held: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]
    budgets: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]
    leases: MapAttribute[str, Any] = MapAttribute()  # type: ignore[no-untyped-call]


class LedgerItem(Model):
    """An entry, a first use, or a window: none has all of it."""

    class Meta:
        table_name = "ledger"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    doc = UnicodeAttribute(null=True)
    late = UnicodeAttribute(null=True)
    chain = UnicodeAttribute(null=True)
    seq = NumberAttribute(null=True)
    prev = BinaryAttribute(legacy_encoding=False, null=True)
    hash = BinaryAttribute(legacy_encoding=False, null=True)
    lease = UnicodeAttribute(null=True)
    claimed = NumberAttribute(null=True)
    prompts = BinarySetAttribute(legacy_encoding=False, null=True)
    keys = BinarySetAttribute(legacy_encoding=False, null=True)
    addresses = BinarySetAttribute(legacy_encoding=False, null=True)
    tenants = BinarySetAttribute(legacy_encoding=False, null=True)
    findings = BinarySetAttribute(legacy_encoding=False, null=True)
    ttl = NumberAttribute(null=True)  # seconds since the epoch; DynamoDB deletes the item after it


class HeadItem(Model):
    class Meta:
        table_name = "heads"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    doc = UnicodeAttribute()
    signature = UnicodeAttribute()


class ContentItem(Model):
    class Meta:
        table_name = "contents"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    data = BinaryAttribute(legacy_encoding=False)
    ttl = NumberAttribute()  # as the ledger's


class UsageItem(Model):
    """A part, or the mark, which has only its document."""

    class Meta:
        table_name = "usage"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    doc = UnicodeAttribute()
    parts = NumberAttribute(null=True)
    requests = NumberAttribute(null=True)
    ttl = NumberAttribute(null=True)  # as the ledger's


class Models(msgspec.Struct, frozen=True):
    """The models, bound to one deployment's tables."""

    tenancy: type[TenancyItem]
    meters: type[MeterItem]
    ledger: type[LedgerItem]
    heads: type[HeadItem]
    contents: type[ContentItem]
    usage: type[UsageItem]

    @property
    def all(self) -> tuple[type[Model], ...]:
        """One for each table."""
        return self.tenancy, self.meters, self.ledger, self.heads, self.contents, self.usage


class _Connection(Connection):
    """PynamoDB's connection, over our wire."""

    def __init__(self, dynamodb: DynamoDB) -> None:
        super().__init__(region=dynamodb.region, host=dynamodb.url)
        self._dynamodb = dynamodb

    def _make_api_call(self, operation_name: str, operation_kwargs: dict[str, Any]) -> dict[str, Any]:
        """What every operation of PynamoDB comes down to. Raises VerboseClientError, StoreUnavailable."""
        try:
            return self._dynamodb.send(operation_name, operation_kwargs)
        except Complaint as complaint:
            raise VerboseClientError(
                {"Error": {"Code": complaint.code, "Message": complaint.text}},
                operation_name,
                {"request_id": complaint.request_id, "table_name": operation_kwargs.get("TableName", "")},
            ) from complaint


def models_of(tables: Tables) -> Models:
    connection = _Connection(tables.connection)
    return Models(
        tenancy=_bound(TenancyItem, connection, tables),
        meters=_bound(MeterItem, connection, tables),
        ledger=_bound(LedgerItem, connection, tables),
        heads=_bound(HeadItem, connection, tables),
        contents=_bound(ContentItem, connection, tables),
        usage=_bound(UsageItem, connection, tables),
    )


def _bound(model: type[ModelT], connection: _Connection, tables: Tables) -> type[ModelT]:
    said = {"table_name": tables.name(model.Meta.table_name), "region": tables.connection.region}
    meta = type("Meta", (), {**vars(model.Meta), **said})
    bound: type[ModelT] = type(model.__name__, (model,), {"Meta": meta, "__module__": __name__})
    # PynamoDB would build a client for each model; one connection serves all.
    table: TableConnection = bound._get_connection()
    connection.add_meta_table(table.get_meta_table())
    table.connection = connection
    return bound
