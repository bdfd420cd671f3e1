"""An instant DynamoDB for one gateway: `python -m bench.dynamodb PORT UPSTREAM_PORT KEY[,KEY] [KMS_KEY_ARN]`.

It holds the tenants of the keys, and a meter for each. It evaluates no condition (nothing here reaches a limit) but
makes the assignments of the meters' updates, so that its answers are as long, and cost as much to read, as the true
ones: with every request in flight among the leases. Ledger entries are taken and dropped.
"""

import json
import re
import sys
import zlib
from typing import Any

from bench import tenant
from bench.wire import Reply, Request, header, reply, serve

Item = dict[str, dict[str, Any]]

_ASSIGNMENT = re.compile(r"([a-z]+)\.(#\w+)(?:\.n)? = (?:[^,+-]+ ([+-]) )?(:\w+)")
_REMOVED = re.compile(r"([a-z]+)\.(#\w+)")


class Meter:
    """A meter, changed as the gateway's update expressions say."""

    def __init__(self) -> None:
        self.item: Item = {
            "epoch": {"N": str(tenant.EPOCH)},
            "tats": {"M": {}},
            "windows": {"M": {}},
            "held": {"M": {}},
            "budgets": {"M": {}},
            "leases": {"M": {}},
        }

    def update(self, asked: dict[str, Any]) -> None:
        names, values = asked.get("ExpressionAttributeNames", {}), asked.get("ExpressionAttributeValues", {})
        sets, _, removals = asked["UpdateExpression"].partition("REMOVE ")
        for place, name, sign, value in _ASSIGNMENT.findall(sets):
            held = self.item[place]["M"]
            if not sign:
                held[names[name]] = values[value]
                continue
            number = held[names[name]]["M"]["n"] if place == "windows" else held[names[name]]
            change = int(values[value]["N"])
            number["N"] = str(int(number["N"]) + (change if sign == "+" else -change))
        for place, name in _REMOVED.findall(removals):
            self.item[place]["M"].pop(names[name], None)


class Tables:
    def __init__(self, documents: dict[tuple[str, str], Item]) -> None:
        self._documents = documents
        self._meters: dict[str, Meter] = {}

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        table: str = asked["TableName"]
        if operation == "PutItem":
            return {}
        if operation == "UpdateItem" and table.endswith("-meters"):
            meter = self._meter(asked["Key"]["pk"]["S"])
            meter.update(asked)
            return {"Attributes": {**asked["Key"], **meter.item}} if asked.get("ReturnValues") == "ALL_NEW" else {}
        if operation == "GetItem":
            if table.endswith("-meters"):
                return {"Item": {**asked["Key"], **self._meter(asked["Key"]["pk"]["S"]).item}}
            found = self._documents.get((asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]))
            return {"Item": found} if found else {}
        if operation == "Query":
            items = [item for (pk, sk), item in self._documents.items() if sk.startswith("pool#")]
            return {"Items": items, "Count": len(items), "ScannedCount": len(items)}
        raise NotImplementedError(f"{operation} on {table}")

    def _meter(self, key: str) -> Meter:
        return self._meters.setdefault(key, Meter())


def handler_of(tables: Tables) -> Any:
    def handle(request: Request, to: Reply) -> None:
        operation = (header(request.head, b"x-amz-target") or b".").decode().split(".")[1]
        body = json.dumps(tables.answer(operation, json.loads(request.body)), separators=(",", ":")).encode()
        # DynamoDB sends the checksum, and botocore checks it: a cost of ours that must not be left out.
        extra = f"x-amzn-requestid: bench\r\nx-amz-crc32: {zlib.crc32(body)}\r\n"
        to.write(reply(body, content_type="application/x-amz-json-1.0", extra=extra))

    return handle


if __name__ == "__main__":
    held = [tenant.documents(key, int(sys.argv[2]), *sys.argv[4:]) for key in sys.argv[3].split(",")]
    serve(int(sys.argv[1]), handler_of(Tables({place: item for each in held for place, item in each.items()})))
