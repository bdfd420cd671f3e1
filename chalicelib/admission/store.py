"""Meters in DynamoDB: one item each, changed by single conditional UpdateItems.

    pk        S  tenant#region
    epoch     N  starts at the instant of creation, so that a tenant created again repeats none
    tats      M  rate key -> N, microseconds
    windows   M  budget key -> {w: S window id, n: N units used or reserved}
    held      M  lease id -> S, as leases.py writes it
    budgets   M  name of a set -> S its budget keys, a blank between them
    leases    M  leases as they were written before there were `held` and `budgets`, which a meter of then lacks

Names are short: an item under 1 KB costs one write unit, and every request writes it twice.
The expressions depend only on which branches were chosen, so they are built once for each choice.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from chalicelib.admission.decision import Busy, Idle, New, Release, Same, Step, Write
from chalicelib.admission.leases import Leases, Sets, written
from chalicelib.admission.meter import Divided, Held, Lease, Lost, Meter, NoMeter
from chalicelib.admission.sets import First, Known, Named
from chalicelib.dynamodb import ConditionFailed, Item, Tables, Unheard, not_minded

# Caches everywhere are keyed by it: whatever was revoked or changed since they were filled fails here.
SAME_EPOCH = "epoch = :epoch"
# A transport that repeats the write must not take a second lease.
NO_LEASE_YET = "attribute_not_exists(held.#lease)"
# The cap counts leases, not requests: a dead sandbox's count until they expire.
UNDER_CAP = "size(held) < :cap"
# Those of before count too, and none is added any more: as many as were left room for, or fewer.
PLAIN_DRAIN = "size(leases) <= :plain"
# A meter from before there were sets has no place for one.
HAS_SETS = "attribute_exists(budgets)"
# A name that stands for other budgets would have a lease give back where it never reserved.
SET_NAMED = "(attribute_not_exists(budgets.#set) OR budgets.#set = :set)"
# Whoever comes second must not take away the first lease.
NO_SETS_YET = "attribute_not_exists(held)"
UNDER_CAP_PLAIN = "size(leases) < :cap"
# Neither at rest (then the debt would count from a past long gone), nor over the tolerance.
BUSY = "tats.#s{i} BETWEEN :floor{i} AND :ceiling{i}"
IDLE = "(attribute_not_exists(tats.#s{i}) OR tats.#s{i} < :floor{i})"
# The window is compared as well as the count: a count of another window says nothing.
SAME = "windows.#s{i}.w = :window{i} AND windows.#s{i}.n <= :room{i}"
SAME_SOFT = "windows.#s{i}.w = :window{i}"
# Only ever forward: a slow clock must not bring an old window back and reset the count.
NEW = "(attribute_not_exists(windows.#s{i}) OR windows.#s{i}.w < :window{i})"
# The lease going away is what makes a settlement happen once.
LEASE_HELD = "attribute_exists(held.#lease)"
PLAIN_LEASE_HELD = "attribute_exists(leases.#lease)"
# Below zero it is the stamp of a shard: one of several meters, which are bumped together (shares/).
NOT_DIVIDED = "epoch > :none"
# A window that has turned took the reservation with it.
STILL_OPEN = "windows.#s{i}.w = :window{i}"

SET_HELD = "held.#lease = :held"
_SET_BUSY = "tats.#s{i} = tats.#s{i} + :cost{i}"
_SET_IDLE = "tats.#s{i} = :tat{i}"
_SET_SAME = "windows.#s{i}.n = windows.#s{i}.n + :units{i}"
_SET_NEW = "windows.#s{i} = :new{i}"
_SET_REFUND = "windows.#s{i}.n = windows.#s{i}.n - :units{i}"


MAPS = ("tats", "windows", "held", "budgets", "leases")
"""Of a new meter. Gateways from before `held` still run beside this one, and look for `leases`."""


class DynamoMeters:
    """Implements Meters and Epochs."""

    def __init__(self, tables: Tables, region: str) -> None:
        self._tables = tables
        self._table: str = tables.meters
        self._suffix = f"#{region}"

    def admit(self, write: Write, unheard: Unheard) -> Meter:
        names: dict[str, str] = {}
        values: Item = {":epoch": {"N": str(write.epoch)}}
        shape = _bind_lease(write, names, values)
        shape += "".join([_bind(step, i, names, values) for i, step in enumerate(write.steps)])
        spent = write.spent
        for mark, each in (("t", spent.tats), ("w", spent.windows), ("b", spent.sets)):
            for i, name in enumerate(each):
                names[f"#{mark}{i}"] = name
        condition, update = _admission(shape, len(spent.tats), len(spent.windows), len(spent.sets))
        answer = self._update(write.tenant, condition, update, names, values, "ALL_NEW", unheard)
        return meter_in(answer["Attributes"])

    def release(self, release: Release) -> None:
        names = {"#lease": release.lease_id}
        values: Item = {}
        for i, refund in enumerate(release.refunds):
            names[f"#s{i}"] = refund.key
            values[f":window{i}"] = {"S": refund.window}
            values[f":units{i}"] = {"N": str(refund.units)}
        condition, update = _release(len(release.refunds), "leases" if release.plain else "held")
        self._update(release.tenant, condition, update, names, values, "NONE")

    def renew(self, lease: Lease) -> bool:
        held = Held(lease.expires_ms, lease.admitted_ms, lease.windows, lease.budget_set)
        values: Item = {":held": {"S": written(lease.lease_id, held)}}
        try:
            self._update(lease.meter, LEASE_HELD, f"SET {SET_HELD}", {"#lease": lease.lease_id}, values, "NONE")
        except Lost:
            return False
        return True

    def expired(self, now_ms: int) -> Iterator[tuple[str, str, Held]]:
        pages = self._tables.pages(
            "Scan",
            TableName=self._table,
            FilterExpression="size(leases) > :none OR (attribute_exists(held) AND size(held) > :none)",
            ProjectionExpression="pk, leases, held, budgets",
            ExpressionAttributeValues={":none": {"N": "0"}},
        )
        for page in pages:
            for item in page["Items"]:
                tenant = item["pk"]["S"].removesuffix(self._suffix)
                for lease_id, held in _leases(item, _sets(item)).items():
                    if held.expires_ms < now_ms:
                        yield tenant, lease_id, held

    def reading(self, tenant: str) -> Meter | None:
        answer = self._tables.call("GetItem", TableName=self._table, Key=self._key(tenant), ConsistentRead=True)
        return meter_in(answer["Item"]) if answer.get("Item") else None

    def open(self, tenant: str, now_ms: int) -> int:
        item = {**self._key(tenant), "epoch": {"N": str(now_ms)}, **{member: {"M": {}} for member in MAPS}}
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
        values: Item = {":one": {"N": "1"}, ":none": {"N": "0"}}
        update = "SET epoch = epoch + :one"
        try:
            answer = self._update(tenant, NOT_DIVIDED, update, {}, values, "UPDATED_NEW")
        except Lost as lost:
            raise Divided(tenant) if lost.truth else NoMeter(tenant) from None
        return int(answer["Attributes"]["epoch"]["N"])

    def _key(self, tenant: str) -> Item:
        return {"pk": {"S": tenant + self._suffix}}

    def _update(
        self,
        tenant: str,
        condition: str,
        update: str,
        names: dict[str, str],
        values: Item,
        returned: str,
        unheard: Unheard = not_minded,
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
                unheard,
                TableName=self._table,
                Key=self._key(tenant),
                ConditionExpression=condition,
                UpdateExpression=update,
                ReturnValues=returned,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ConditionFailed as failed:
            raise Lost(meter_in(failed.old) if failed.old else None) from None


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
            values[f":floor{i}"] = {"N": str(step.before_us)}
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


def _bind_lease(write: Write, names: dict[str, str], values: Item) -> str:
    """Add the names and values of the lease and of its set; returns the letter of the set's branch."""
    text = {"S": written(write.lease_id, write.held)}
    match write.budget_set:
        case First(name, keys):
            values[":cap"] = {"N": str(write.cap)}
            values[":held"] = {"M": {write.lease_id: text}}
            values[":sets"] = {"M": {name: {"S": " ".join(keys)}}}
            return "f"
        case Named(name, keys):
            names["#set"] = name
            values[":set"] = {"S": " ".join(keys)}
            letter = "n"
        case Known():
            letter = "k"
    names["#lease"] = write.lease_id
    values[":cap"] = {"N": str(write.cap - write.plain)}
    values[":plain"] = {"N": str(write.plain)}
    values[":held"] = text
    return letter


_TAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "k": ((NO_LEASE_YET, UNDER_CAP, PLAIN_DRAIN), (SET_HELD,)),
    "n": ((HAS_SETS, NO_LEASE_YET, UNDER_CAP, PLAIN_DRAIN, SET_NAMED), (SET_HELD, "budgets.#set = :set")),
    "f": ((NO_SETS_YET, UNDER_CAP_PLAIN), ("held = :held", "budgets = :sets")),
}


@lru_cache(maxsize=1024)
def _admission(shape: str, spent_tats: int, spent_windows: int, spent_sets: int) -> tuple[str, str]:
    """Condition and update of an admission with these branches."""
    takes, assignments = _TAKES[shape[0]]
    clauses, sets = [SAME_EPOCH, *takes], list(assignments)
    for i, letter in enumerate(shape[1:]):
        clause, assignment = _BRANCHES[letter]
        clauses.append(clause.format(i=i))
        sets.append(assignment.format(i=i))
    spent = {"tats.#t": spent_tats, "windows.#w": spent_windows, "budgets.#b": spent_sets}
    removed = [f"{place}{i}" for place, number in spent.items() for i in range(number)]
    update = "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removed) if removed else "")
    return " AND ".join(clauses), update


@lru_cache(maxsize=32)
def _release(refunds: int, place: str) -> tuple[str, str]:
    held = PLAIN_LEASE_HELD if place == "leases" else LEASE_HELD
    clauses = [held, *(STILL_OPEN.format(i=i) for i in range(refunds))]
    sets = "SET " + ", ".join(_SET_REFUND.format(i=i) for i in range(refunds)) + " " if refunds else ""
    return " AND ".join(clauses), sets + f"REMOVE {place}.#lease"


def _sets(item: Item) -> Sets | None:
    if "budgets" not in item:
        return None
    return {name: tuple(keys["S"].split()) for name, keys in item["budgets"]["M"].items()}


def _leases(item: Item, sets: Sets | None) -> Leases:
    return Leases(item["held"]["M"] if sets is not None else {}, item["leases"]["M"], sets or {})


def meter_in(item: Item) -> Meter:
    """The meter that an item holds."""
    sets = _sets(item)
    return Meter(
        epoch=int(item["epoch"]["N"]),
        tats={name: int(tat["N"]) for name, tat in item["tats"]["M"].items()},
        windows={name: (each["M"]["w"]["S"], int(each["M"]["n"]["N"])) for name, each in item["windows"]["M"].items()},
        leases=_leases(item, sets),
        sets=sets,
        plain=len(item["leases"]["M"]),
    )
