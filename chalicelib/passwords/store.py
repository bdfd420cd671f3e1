"""Attempts in DynamoDB, in the ledger's table, which forgets by itself.

counter    pk ~sign-ins#<name>, sk count    n: N; ttl
"""

from chalicelib.dynamodb import ConditionFailed, Tables
from chalicelib.passwords.attempts import Counter


class DynamoAttempts:
    """Implements Attempts."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def holds(self, counter: Counter) -> bool:
        return "Item" in self._tables.call("GetItem", TableName=self._tables.ledger, Key=_key(counter))

    def take(self, counter: Counter) -> int:
        try:
            written = self._tables.call(
                "UpdateItem",
                TableName=self._tables.ledger,
                Key=_key(counter),
                UpdateExpression="SET #ttl = :ttl ADD n :one",
                # The check and the count are one write, so that no two processes take the last one.
                ConditionExpression="attribute_not_exists(n) OR n < :most",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":ttl": {"N": str(counter.ends_ms // 1_000)},
                    ":one": {"N": "1"},
                    ":most": {"N": str(counter.most)},
                },
                ReturnValues="UPDATED_NEW",
            )
        except ConditionFailed:
            return 0
        return int(written["Attributes"]["n"]["N"])


def _key(counter: Counter) -> dict[str, dict[str, str]]:
    return {"pk": {"S": f"~sign-ins#{counter.name}"}, "sk": {"S": "count"}}
