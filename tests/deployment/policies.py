"""The policies of the functions, as they are deployed."""

import json
import re
from collections.abc import Iterator
from typing import Any

from chalicelib.documents import PLATFORM
from chalicelib.placement.report import REPORTS
from chalicelib.status.incidents import STATUS
from chalicelib.status.subscribers import SUBSCRIBERS
from tests.deployment.packages import ROOT

STAGES = ("dev", "prod", "gov-dev", "gov-prod")
# Of what the prober reaches. No tenant's id begins with `~`.
LEADING_KEYS = {
    "Pools": ("StringEquals", [PLATFORM]),
    "Reports": ("StringEquals", [REPORTS]),
    "StatusPage": ("StringEquals", [STATUS]),
    "Subscribers": ("StringEquals", [SUBSCRIBERS]),
    "StatusSamples": ("StringLike", ["~status#*"]),
}


def statements(policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / ".chalice" / policy).read_text())["Statement"]
    return found


def each(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed(policy: str, table_prefix: str) -> Iterator[tuple[str, str]]:
    """(operation, table) pairs of DynamoDB, with the stage's tables named as the test's are."""
    for statement in statements(policy):
        for action in each(statement["Action"]):
            service, _, operation = action.partition(":")
            for resource in each(statement["Resource"]):
                if service == "dynamodb":
                    table = resource.partition(":table/")[2]
                    yield operation, re.sub("^cloister-(gov-)?(dev|prod)", table_prefix, table)
