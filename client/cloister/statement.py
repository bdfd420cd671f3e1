"""A statement of a key policy as the lint sees it: whom it lets do what, and what it demands of their enclave.

https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from cloister._sealed.arn import KeyArn
from cloister.key_policy import ATTESTATION
from cloister.refusal import NotConfigured

_ATTESTATION = ATTESTATION.lower()
_IMAGE = {"pcr0", "imagesha384"}
"""The two names of the whole image's measurement, in lower case, as condition keys are compared."""


class Condition(msgspec.Struct, frozen=True):
    """One key of a condition; operator and key in lower case, for so they are compared."""

    operator: str
    key: str
    values: tuple[str, ...]


class Demand(msgspec.Struct, frozen=True):
    """One attestation key of a condition: `kms:RecipientAttestation:PCR0` is `pcr0` here."""

    operator: str
    measured: str
    values: tuple[str, ...]

    @property
    def is_image(self) -> bool:
        return self.measured in _IMAGE

    @property
    def is_equality(self) -> bool:
        return self.operator in ("stringequals", "stringequalsignorecase")


class Statement(msgspec.Struct, frozen=True):
    """One statement. Actions are lower case; `principals` are ARNs, account ids, services, or "*"."""

    name: str
    allows: bool
    principals: tuple[str, ...]
    excludes_principals: bool
    actions: tuple[str, ...]
    excludes_actions: bool
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    demands: tuple[Demand, ...]

    @property
    def allows_everything(self) -> bool:
        return not self.excludes_actions and bool({"*", "kms:*"} & set(self.actions))

    def permits(self, action: str) -> bool:
        """Whether it speaks of `action`, such as kms:Decrypt."""
        return self.excludes_actions is not any(fnmatchcase(action.lower(), pattern) for pattern in self.actions)


def statements(policy: str) -> list[Statement]:
    """The statements of a policy document. Raises: NotConfigured when it is none."""
    try:
        found = _list(json.loads(policy)["Statement"])
        return [_statement(each, number) for number, each in enumerate(found, 1)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotConfigured("This is not a key policy: a JSON object with a list of statements.") from error


def is_root(principal: str, key: KeyArn) -> bool:
    """Whether it is the key's own account as a whole."""
    return principal in (key.account, f"arn:{key.partition}:iam::{key.account}:root")


def is_named(principal: str, key: KeyArn) -> bool:
    """Whether it is a certain user or role of the key's own account."""
    found = re.fullmatch(r"arn:[a-z-]+:(?:iam|sts)::([0-9]{12}):(?:user|role|assumed-role)/[^*]+", principal)
    return found is not None and found[1] == key.account


def is_same(principal: str, role: str) -> bool:
    """Whether it is that role, or a session of it. The ARN of a session leaves out the role's path."""
    session = re.fullmatch(r"arn:([a-z-]+):sts::([0-9]{12}):assumed-role/([^/]+)/.+", principal)
    named = re.fullmatch(r"arn:([a-z-]+):iam::([0-9]{12}):role/(?:.+/)?([^/]+)", role)
    return principal == role or (session is not None and named is not None and session.groups() == named.groups())


def _statement(found: Mapping[str, Any], number: int) -> Statement:
    conditions = tuple(_conditions(found.get("Condition", {})))
    return Statement(
        name=found.get("Sid") or f"statement {number}",
        allows=found["Effect"] == "Allow",
        principals=tuple(_principals(found.get("Principal", found.get("NotPrincipal", [])))),
        excludes_principals="NotPrincipal" in found,
        actions=tuple(action.lower() for action in _list(found.get("Action", found.get("NotAction", [])))),
        excludes_actions="NotAction" in found,
        resources=tuple(_list(found.get("Resource", []))),
        conditions=conditions,
        demands=tuple(
            Demand(each.operator, each.key.removeprefix(_ATTESTATION), each.values)
            for each in conditions
            if each.key.startswith(_ATTESTATION)
        ),
    )


def _conditions(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Condition]:
    for operator, keys in found.items():
        for key, values in keys.items():
            yield Condition(operator.lower(), key.lower(), tuple(str(value) for value in _list(values)))


def _principals(found: Any) -> Iterator[str]:
    if not isinstance(found, dict):
        yield from _list(found)
        return
    for principals in found.values():
        yield from _list(principals)


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]
