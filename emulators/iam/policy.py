"""Policy documents as values: parsed once, strictly, then asked what they say of a call.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, Literal

import msgspec

from emulators.iam.conditions import Condition, Facts, Judgement, all_of, pattern

_PARSED = 1024
_MEMBERS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_PRINCIPALS = {"AWS", "Service", "Federated", "CanonicalUser"}


class BadPolicy(Exception):
    """Not a policy that this evaluator can read; the text says which part and why."""


class Caller(msgspec.Struct, frozen=True):
    """Who calls: an IAM user, the session of a role, or the root user of an account."""

    arn: str
    account: str
    access_key_id: str
    role_arn: str = ""  # of a session

    @property
    def account_root(self) -> str:
        """The ARN by which a policy trusts their whole account."""
        return f"arn:{self.arn.split(':')[1]}:iam::{self.account}:root"

    @property
    def is_root(self) -> bool:
        return self.arn == self.account_root

    @property
    def names(self) -> frozenset[str]:
        """The ARNs by which a policy or a grant can mean this caller alone."""
        return frozenset({self.arn, self.role_arn} - {""})

    @property
    def principal_arn(self) -> str:
        """`aws:PrincipalArn`: for a session, the role."""
        return self.role_arn or self.arn


class Call(msgspec.Struct, frozen=True):
    """One use of a resource, as policies and grants see it."""

    caller: Caller
    action: str  # kms:Decrypt
    resource: str  # its ARN; "*" for an operation without one
    context: Mapping[str, str]  # KMS's encryption context
    facts: Facts


class Standing(IntEnum):
    """How a principal element means a caller."""

    NOT_MEANT = 0
    BY_ACCOUNT = 1  # their account is trusted: it decides by its own IAM policies
    BY_NAME = 2


class Patterns(msgspec.Struct, frozen=True):
    """Action or NotAction, Resource or NotResource."""

    patterns: tuple[str, ...]
    excluded: bool

    def judge(self, value: str) -> Judgement:
        if any("${" in each for each in self.patterns):  # policy variables are not filled in
            return None
        return any(pattern(each).fullmatch(value) for each in self.patterns) is not self.excluded


class Statement(msgspec.Struct, frozen=True):
    effect: Literal["Allow", "Deny"]
    principals: tuple[str, ...] | None  # None in an identity policy: it stands on the caller
    actions: Patterns  # lower case
    resources: Patterns
    conditions: tuple[Condition, ...]

    def judge(self, call: Call) -> Judgement:
        """Does it speak of this call, apart from who calls?"""
        return all_of(
            [
                self.actions.judge(call.action.lower()),
                self.resources.judge(call.resource),
                *(condition.judge(call.facts) for condition in self.conditions),
            ]
        )

    def standing(self, caller: Caller) -> Standing:
        if self.principals is None:
            return Standing.BY_NAME
        return max((_standing(principal, caller) for principal in self.principals), default=Standing.NOT_MEANT)


class Policy(msgspec.Struct, frozen=True):
    statements: tuple[Statement, ...]

    def allows(self, call: Call) -> Standing:
        """How far an Allow reaches the caller. What cannot be judged allows nothing."""
        return max(
            (
                statement.standing(call.caller)
                for statement in self.statements
                if statement.effect == "Allow" and statement.judge(call) is True
            ),
            default=Standing.NOT_MEANT,
        )

    def denies(self, call: Call) -> bool:
        """Whether a Deny reaches the caller. What cannot be judged is denied."""
        return any(
            statement.effect == "Deny" and statement.standing(call.caller) and statement.judge(call) is not False
            for statement in self.statements
        )


class Identity(msgspec.Struct, frozen=True):
    """What stands on a caller: all their IAM policies, and the policy that narrows their session, if it has one."""

    policies: tuple[Policy, ...]
    session: Policy | None = None

    def forbids(self, call: Call) -> str | None:
        """Why no other policy can help the caller, in AWS's words; None if one could."""
        if self._denies(call):
            return "with an explicit deny in an identity-based policy"
        if self.session is not None and not self.session.allows(call):
            return f"because no session policy allows the {call.action} action"
        return None

    def refusal(self, call: Call) -> str | None:
        """Why these policies by themselves do not allow the call, in AWS's words; None if they do."""
        if forbidden := self.forbids(call):
            return forbidden
        if call.caller.is_root or any(policy.allows(call) for policy in self.policies):
            return None
        return f"because no identity-based policy allows the {call.action} action"

    def _denies(self, call: Call) -> bool:
        narrowed = self.session is not None and self.session.denies(call)
        return narrowed or any(policy.denies(call) for policy in self.policies)


@lru_cache(_PARSED)
def resource_policy(text: str) -> Policy:
    """A policy on a resource, as a key: every statement names principals. Raises BadPolicy."""
    return Policy(tuple(_statement(each, _principals(each)) for each in _statements(text)))


@lru_cache(_PARSED)
def identity_policy(text: str) -> Policy:
    """A policy on a user, a group, a role or a session: no statement names a principal. Raises BadPolicy."""
    statements = _statements(text)
    if any("Principal" in each for each in statements):
        raise BadPolicy("Principal: an identity policy names no principal; remove it.")
    return Policy(tuple(_statement(each, None) for each in statements))


def _standing(principal: str, caller: Caller) -> Standing:
    if principal == "*" or principal in caller.names:
        return Standing.BY_NAME
    return Standing.BY_ACCOUNT if principal in (caller.account, caller.account_root) else Standing.NOT_MEANT


def _statements(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text, object_pairs_hook=_each_once)
    except ValueError:
        raise BadPolicy("The policy is not JSON.") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise BadPolicy("Statement: the policy has none.")
    statements = document["Statement"]
    statements = statements if isinstance(statements, list) else [statements]
    for each in statements:
        if not isinstance(each, dict):
            raise BadPolicy("Statement: each must be an object.")
        if unknown := each.keys() - _MEMBERS:
            raise BadPolicy(f"{min(unknown)}: not supported in a statement; say whom and what it means positively.")
    return statements


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):  # one of them would be dropped unseen
        raise BadPolicy("The policy has an object with the same member twice; put its values in one list.")
    return found


def _statement(found: dict[str, Any], principals: tuple[str, ...] | None) -> Statement:
    effect = found.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise BadPolicy("Effect: must be Allow or Deny.")
    actions = _patterns(found, "Action")
    lowered = Patterns(tuple(each.lower() for each in actions.patterns), actions.excluded)
    return Statement(effect, principals, lowered, _patterns(found, "Resource"), _conditions(found.get("Condition", {})))


def _patterns(found: dict[str, Any], name: str) -> Patterns:
    if (name in found) is (f"Not{name}" in found):
        raise BadPolicy(f"{name}: give exactly one of {name} and Not{name}.")
    member = name if name in found else f"Not{name}"
    return Patterns(_texts(found[member], member), excluded=member != name)


def _principals(found: dict[str, Any]) -> tuple[str, ...]:
    """The AWS principals; no service and no federated identity calls this cloud."""
    given = found.get("Principal")
    if given == "*":
        return ("*",)
    if not isinstance(given, dict) or not given or given.keys() - _PRINCIPALS:
        raise BadPolicy('Principal: a resource policy names its principals, as {"AWS": ARN}.')
    principals = _texts(given.get("AWS", []), "Principal")
    if partly := [each for each in principals if "*" in each and each != "*"]:
        raise BadPolicy(
            f"Principal: {partly[0]} has a wildcard; use the whole ARN, or a condition on aws:PrincipalArn."
        )
    return principals


def _conditions(found: Any) -> tuple[Condition, ...]:
    if not isinstance(found, dict) or not all(isinstance(keys, dict) for keys in found.values()):
        raise BadPolicy("Condition: must be {operator: {key: values}}.")
    return tuple(
        Condition(operator, key, _texts(wanted, "Condition"))
        for operator, keys in found.items()
        for key, wanted in keys.items()
    )


def _texts(found: Any, member: str) -> tuple[str, ...]:
    values = found if isinstance(found, list) else [found]
    if not all(isinstance(each, str | bool | int) for each in values):
        raise BadPolicy(f"{member}: must be text, or a list of texts.")
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in values)
