"""Every DynamoDB key and model.

| table   | pk            | sk                   | item                                                |
|---------|---------------|----------------------|-----------------------------------------------------|
| tenancy | tenant        | `tenant`             | Tenant: limits, pools, pins, status, KMS keys       |
| tenancy | tenant        | `key#<key id>`       | Key: digest, role, scopes, expiry                   |
| tenancy | tenant        | `member#<subject>`   | Member: role                                        |
| tenancy | tenant        | `kms-challenge#<id>` | Challenge: a KMS key whose control is to be proved  |
| tenancy | tenant        | `data-key`           | Wrapped: the data key of what it asked to be kept   |
| tenancy | `~platform`   | `pool#<name>`        | Pool: targets, prices, reservation rule             |
| tenancy | `~platform`   | `kms-key#<id>#<ARN>` | Owner: the one tenant whose KMS key it is           |
| tenancy | `~platform`   | `principal#<ARN>`    | Owner: the one tenant that it signs for             |
| tenancy | `~reports`    | a region             | Report: how its targets were when they were asked   |
| tenancy | `~platform`   | `key-epochs`         | the key epochs of mode hpke that live, newest first |
| tenancy | `~platform`   | `inference-profile#<place>#<model>` | the profile through which Bedrock was reached |
| tenancy | `~platform`   | `breaker#<digest of a place>` | BreakerState: of a target that failed, and why |
| meters  | tenant#region |                      | epoch, tats, windows, held, budgets, leases         |
| ledger  | tenant        | lease id             | Entry: one finished request; ids sort by time       |
| ledger  | tenant        | `idem#<digest>`      | FirstUse: of what must not come twice, by which lease |
| contents | tenant       | `<content>#<piece>`  | a piece of what the tenant asked to be kept, encrypted |
| heads   | tenant        | `<day>#<part>`       | SignedHead: what the day's hash chains were         |

The tenant comes first in every key, so no query can cross tenants; `~` cannot occur in a tenant's id.
What concerns all tenants (the operator's list, a change of a pool, the reaper) scans, and is rare.
Tenancy and ledger documents are JSON text in `doc`, decoded by msgspec: a new member with a default
runs against yesterday's table. The meter is native, because its conditions reach into it.
"""

from typing import Any, TypeVar

import msgspec
from botocore.exceptions import BotoCoreError
from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.connection.table import TableConnection
from pynamodb.models import Model

from chalicelib.dynamodb import DynamoDB, StoreError
from chalicelib.refusal import StoreUnavailable

Item = dict[str, dict[str, Any]]
"""A DynamoDB item in its wire form: attribute -> {type: value}."""


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


class LedgerItem(Model):
    class Meta:
        table_name = "ledger"
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    doc = UnicodeAttribute()
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


class ConditionFailed(Exception):
    """A conditional write lost. `old` is the item as it was, {} where there was none (or none was asked for)."""

    def __init__(self, old: Item) -> None:
        super().__init__("condition failed")
        self.old = old


class Tables(msgspec.Struct, frozen=True):
    """The tables of one deployment, behind one client."""

    connection: DynamoDB
    tenancy: type[TenancyItem]
    meters: type[MeterItem]
    ledger: type[LedgerItem]
    heads: type[HeadItem]
    contents: type[ContentItem]

    @property
    def models(self) -> tuple[type[Model], ...]:
        """One for each table."""
        return self.tenancy, self.meters, self.ledger, self.heads, self.contents

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One DynamoDB call.

        Raises: ConditionFailed, StoreUnavailable.
        """
        try:
            return self.connection.dispatch(operation, arguments)
        except StoreError as refused:
            code = refused.response["Error"]["Code"]
            if code != "ConditionalCheckFailedException":
                raise StoreUnavailable(code) from refused
            raise ConditionFailed(refused.old) from None
        except BotoCoreError as error:
            raise StoreUnavailable(type(error).__name__) from error


def open_tables(region: str, prefix: str, deadline_ms: int, endpoint_url: str | None = None) -> Tables:
    """Bind the models to one deployment's tables (`<prefix>-tenancy`, ...).

    No call is made and no client is built before the first use. `endpoint_url` is for tests that talk
    to several stores at once; elsewhere the environment's AWS_ENDPOINT_URL counts, as everywhere in AWS's SDKs.
    """
    connection = DynamoDB(region, deadline_ms, endpoint_url)
    return Tables(
        connection=connection,
        tenancy=_bound(TenancyItem, connection, region, prefix),
        meters=_bound(MeterItem, connection, region, prefix),
        ledger=_bound(LedgerItem, connection, region, prefix),
        heads=_bound(HeadItem, connection, region, prefix),
        contents=_bound(ContentItem, connection, region, prefix),
    )


def _bound(model: type[ModelT], connection: DynamoDB, region: str, prefix: str) -> type[ModelT]:
    meta = type("Meta", (), {**vars(model.Meta), "table_name": f"{prefix}-{model.Meta.table_name}", "region": region})
    bound: type[ModelT] = type(model.__name__, (model,), {"Meta": meta, "__module__": __name__})
    # PynamoDB would build a client for each model; one client, one pool and one cold start serve all.
    table: TableConnection = bound._get_connection()
    connection.add_meta_table(table.get_meta_table())
    table.connection = connection
    return bound
