"""Windows in DynamoDB, in the table of the ledger, whose items end by themselves.

window   pk <whose>#velocity, sk <seconds>#<number>   prompts, keys, addresses, findings, tenants: sets; ttl
"""

import base64
from collections.abc import Mapping
from typing import Any

from chalicelib.dynamodb import ConditionFailed, Tables
from chalicelib.tenancy.tenant import What
from chalicelib.velocity.windows import Window

KEPT_S = 3_600
"""After a window has ended; clocks may differ by less."""


class DynamoWindows:
    """Implements Windows."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def add(
        self, whose: str, window: Window, adding: Mapping[What, tuple[bytes, int]]
    ) -> Mapping[What, frozenset[bytes]] | None:
        names = {"#ttl": "ttl"}
        values: dict[str, Any] = {":ttl": {"N": str(window.ends_ms // 1_000 + KEPT_S)}}
        added, conditions = [], []
        for place, (what, (digest, most)) in enumerate(adding.items()):
            text = base64.b64encode(digest).decode()
            names[f"#s{place}"] = what
            values |= {f":s{place}": {"BS": [text]}, f":d{place}": {"B": text}, f":m{place}": {"N": str(most)}}
            added.append(f"#s{place} :s{place}")
            # There already: it changes nothing, also where the transport repeats the write.
            conditions.append(
                f"(attribute_not_exists(#s{place}) OR size(#s{place}) < :m{place} OR contains(#s{place}, :d{place}))"
            )
        try:
            self._tables.call(
                "UpdateItem",
                TableName=self._tables.ledger,
                Key={"pk": {"S": f"{whose}#velocity"}, "sk": {"S": f"{window.per_s}#{window.number}"}},
                UpdateExpression=f"ADD {', '.join(added)} SET #ttl = :ttl",
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return {
                what: frozenset(base64.b64decode(text) for text in failed.old.get(what, {}).get("BS", ()))
                for what in adding
            }
        return None
