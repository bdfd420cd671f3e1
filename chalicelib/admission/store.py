"""Meters in DynamoDB: one item each, changed by single conditional UpdateItems.

    pk        S  tenant#region
    epoch     N  starts at the instant of creation, so that a tenant created again repeats none
    tats      M  rate key -> N, microseconds
    windows   M  budget key -> {w: S window id, n: N units used or reserved}
    leases    M  lease id -> {x: N expires ms, a: N admitted ms, b: {budget key: N units reserved,
                 or [S window id, N] in another window than that of `a`}}

Names are short: an item under 1 KB costs one write unit, and every request writes it twice.
The expressions depend only on which branches were chosen, so they are built once for each choice.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from chalicelib.admission import budgets
from chalicelib.admission.decision import Busy, Idle, New, Release, Same, Step, Write
from chalicelib.admission.meter import Held, Lost, Meter, NoMeter
from chalicelib.tables import ConditionFailed, Item, Tables

# Caches everywhere are keyed by it: whatever was revoked or changed since they were filled fails here.
SAME_EPOCH = "epoch = :epoch"
# A transport that repeats the write must not take a second lease.
NO_LEASE_YET = "attribute_not_exists(leases.#lease)"
# The cap counts leases, not requests: a dead sandbox's count until they expire.
UNDER_CAP = "size(leases) < :cap"
# Neither at rest (then the debt would count from a past long gone), nor over the tolerance.
BUSY = "tats.#s{i} BETWEEN :floor{i} AND :ceiling{i}"
IDLE = "(attribute_not_exists(tats.#s{i}) OR tats.#s{i} < :floor{i})"
# The window is compared as well as the count: a count of another window says nothing.
SAME = "windows.#s{i}.w = :window{i} AND windows.#s{i}.n <= :room{i}"
SAME_SOFT = "windows.#s{i}.w = :window{i}"
# Only ever forward: a slow clock must not bring an old window back and reset the count.
NEW = "(attribute_not_exists(windows.#s{i}) OR windows.#s{i}.w < :window{i})"
# The lease going away is what makes a settlement happen once.
LEASE_HELD = "attribute_exists(leases.#lease)"
# A window that has turned took the reservation with it.
STILL_OPEN = "windows.#s{i}.w = :window{i}"

_SET_BUSY = "tats.#s{i} = tats.#s{i} + :cost{i}"
_SET_IDLE = "tats.#s{i} = :tat{i}"
_SET_SAME = "windows.#s{i}.n = windows.#s{i}.n + :units{i}"
_SET_NEW = "windows.#s{i} = :new{i}"
_SET_REFUND = "windows.#s{i}.n = windows.#s{i}.n - :units{i}"


class DynamoMeters:
    """Implements Meters and Epochs."""

    def __init__(self, tables: Tables, region: str) -> None:
        self._tables = tables
        self._table: str = tables.meters.Meta.table_name
        self._suffix = f"#{region}"

    def admit(self, write: Write) -> Meter:
        names = {"#lease": write.lease_id}
        values: Item = {
            ":epoch": {"N": str(write.epoch)},
            ":cap": {"N": str(write.cap)},
            ":held": _held_item(write.held),
        }
        shape = "".join([_bind(step, i, names, values) for i, step in enumerate(write.steps)])
        for i, name in enumerate(write.spent_tats):
            names[f"#t{i}"] = name
        for i, name in enumerate(write.spent_windows):
            names[f"#w{i}"] = name
        condition, update = _admission(shape, len(write.spent_tats), len(write.spent_windows))
        answer = self._update(write.tenant, condition, update, names, values, "ALL_NEW")
        return _meter(answer["Attributes"])

    def release(self, release: Release) -> None:
        names = {"#lease": release.lease_id}
        values: Item = {}
        for i, refund in enumerate(release.refunds):
            names[f"#s{i}"] = refund.key
            values[f":window{i}"] = {"S": refund.window}
            values[f":units{i}"] = {"N": str(refund.units)}
        condition, update = _release(len(release.refunds))
        self._update(release.tenant, condition, update, names, values, "NONE")

    def renew(self, tenant: str, lease_id: str, expires_ms: int) -> bool:
        update = "SET leases.#lease.x = :expires"
        values: Item = {":expires": {"N": str(expires_ms)}}
        try:
            self._update(tenant, LEASE_HELD, update, {"#lease": lease_id}, values, "NONE")
        except Lost:
            return False
        return True

    def expired(self, now_ms: int) -> Iterator[tuple[str, str, Held]]:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "FilterExpression": "size(leases) > :none",
            "ProjectionExpression": "pk, leases",
            "ExpressionAttributeValues": {":none": {"N": "0"}},
        }
        while True:
            answer = self._tables.call("Scan", **arguments)
            for item in answer["Items"]:
                tenant = item["pk"]["S"].removesuffix(self._suffix)
                for lease_id, held in item["leases"]["M"].items():
                    if int(held["M"]["x"]["N"]) < now_ms:
                        yield tenant, lease_id, _held(held["M"])
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def reading(self, tenant: str) -> Meter | None:
        answer = self._tables.call("GetItem", TableName=self._table, Key=self._key(tenant), ConsistentRead=True)
        return _meter(answer["Item"]) if answer.get("Item") else None

    def open(self, tenant: str, now_ms: int) -> int:
        item = {
            **self._key(tenant),
            "epoch": {"N": str(now_ms)},
            "tats": {"M": {}},
            "windows": {"M": {}},
            "leases": {"M": {}},
        }
        try:
            self._tables.call(
                "PutItem",
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return int(failed.old["epoch"]["N"])
        return now_ms

    def read(self, tenant: str) -> int:
        answer = self._tables.call(
            "GetItem",
            TableName=self._table,
            Key=self._key(tenant),
            ConsistentRead=True,
            ProjectionExpression="epoch",
        )
        if not answer.get("Item"):
            raise NoMeter(tenant)
        return int(answer["Item"]["epoch"]["N"])

    def bump(self, tenant: str) -> int:
        values: Item = {":one": {"N": "1"}}
        update = "SET epoch = epoch + :one"
        try:
            answer = self._update(tenant, "attribute_exists(pk)", update, {}, values, "UPDATED_NEW")
        except Lost:
            raise NoMeter(tenant) from None
        return int(answer["Attributes"]["epoch"]["N"])

    def _key(self, tenant: str) -> Item:
        return {"pk": {"S": tenant + self._suffix}}

    def _update(
        self, tenant: str, condition: str, update: str, names: dict[str, str], values: Item, returned: str
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        # DynamoDB refuses empty maps here.
        if names:
            arguments["ExpressionAttributeNames"] = names
        if values:
            arguments["ExpressionAttributeValues"] = values
        try:
            return self._tables.call(
                "UpdateItem",
                TableName=self._table,
                Key=self._key(tenant),
                ConditionExpression=condition,
                UpdateExpression=update,
                ReturnValues=returned,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ConditionFailed as failed:
            raise Lost(_meter(failed.old) if failed.old else None) from None


def _bind(step: Step, i: int, names: dict[str, str], values: Item) -> str:
    """Add the step's names and values; returns the letter of its branch."""
    names[f"#s{i}"] = step.key
    match step:
        case Busy():
            values[f":floor{i}"] = {"N": str(step.floor_us)}
            values[f":ceiling{i}"] = {"N": str(step.ceiling_us)}
            values[f":cost{i}"] = {"N": str(step.cost_us)}
            return "B"
        case Idle():
            values[f":floor{i}"] = {"N": str(step.floor_us)}
            values[f":tat{i}"] = {"N": str(step.tat_us)}
            return "I"
        case Same():
            values[f":window{i}"] = {"S": step.window}
            values[f":units{i}"] = {"N": str(step.units)}
            if step.room is None:
                return "F"
            values[f":room{i}"] = {"N": str(step.room)}
            return "S"
        case New():
            values[f":window{i}"] = {"S": step.window}
            values[f":new{i}"] = {"M": {"w": {"S": step.window}, "n": {"N": str(step.units)}}}
            return "N"


_BRANCHES = {
    "B": (BUSY, _SET_BUSY),
    "I": (IDLE, _SET_IDLE),
    "S": (SAME, _SET_SAME),
    "F": (SAME_SOFT, _SET_SAME),
    "N": (NEW, _SET_NEW),
}


@lru_cache(maxsize=1024)
def _admission(shape: str, spent_tats: int, spent_windows: int) -> tuple[str, str]:
    """Condition and update of an admission with these branches."""
    clauses = [SAME_EPOCH, NO_LEASE_YET, UNDER_CAP]
    sets = ["leases.#lease = :held"]
    for i, letter in enumerate(shape):
        clause, assignment = _BRANCHES[letter]
        clauses.append(clause.format(i=i))
        sets.append(assignment.format(i=i))
    removed = [f"tats.#t{i}" for i in range(spent_tats)] + [f"windows.#w{i}" for i in range(spent_windows)]
    update = "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removed) if removed else "")
    return " AND ".join(clauses), update


@lru_cache(maxsize=16)
def _release(refunds: int) -> tuple[str, str]:
    clauses = [LEASE_HELD, *(STILL_OPEN.format(i=i) for i in range(refunds))]
    sets = "SET " + ", ".join(_SET_REFUND.format(i=i) for i in range(refunds)) + " " if refunds else ""
    return " AND ".join(clauses), sets + "REMOVE leases.#lease"


def _held_item(held: Held) -> dict[str, Any]:
    windows: Item = {}
    for name, (window, units) in held.windows.items():
        amount = {"N": str(units)}
        # Nearly always the window is that of the admission's own instant, and need not be said: 12 bytes a lease.
        usual = window == budgets.window_id(budgets.kind_of(name), held.admitted_ms)
        windows[name] = amount if usual else {"L": [{"S": window}, amount]}
    return {"M": {"x": {"N": str(held.expires_ms)}, "a": {"N": str(held.admitted_ms)}, "b": {"M": windows}}}


def _held(item: Item) -> Held:
    admitted_ms = int(item["a"]["N"])
    windows = {}
    for name, entry in item["b"]["M"].items():
        if "N" in entry:
            windows[name] = (budgets.window_id(budgets.kind_of(name), admitted_ms), int(entry["N"]))
        else:
            windows[name] = (entry["L"][0]["S"], int(entry["L"][1]["N"]))
    return Held(int(item["x"]["N"]), admitted_ms, windows)


def _meter(item: Item) -> Meter:
    return Meter(
        epoch=int(item["epoch"]["N"]),
        tats={name: int(tat["N"]) for name, tat in item["tats"]["M"].items()},
        windows={name: (each["M"]["w"]["S"], int(each["M"]["n"]["N"])) for name, each in item["windows"]["M"].items()},
        leases={name: _held(each["M"]) for name, each in item["leases"]["M"].items()},
    )
