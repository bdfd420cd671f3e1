"""Every DynamoDB key and model.

| table   | pk            | sk                 | item                                              |
|---------|---------------|--------------------|---------------------------------------------------|
| tenancy | tenant        | `tenant`           | Tenant: limits, pools, pins, status               |
| tenancy | tenant        | `key#<key id>`     | Key: digest, role, scopes, expiry                 |
| tenancy | tenant        | `member#<subject>` | Member: role                                      |
| tenancy | `~platform`   | `pool#<name>`      | Pool: targets, prices, reservation rule           |
| meters  | tenant#region |                    | the admission state of one tenant in one region   |
| ledger  | tenant        | lease id           | Entry: one finished request, newest id last       |
| ledger  | tenant        | `idem#<digest>`    | Claim: the lease that an Idempotency-Key stands for |

The tenant comes first in every key, so that no query can cross tenants. `~` cannot occur in a tenant's
id. Documents are JSON text in `doc`: a new member with a default runs against yesterday's table.
"""

import os

from pynamodb.attributes import JSONAttribute, MapAttribute, NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model

PLATFORM = "~platform"
PREFIX = os.environ.get("CLOISTER_TABLE_PREFIX", "cloister")
