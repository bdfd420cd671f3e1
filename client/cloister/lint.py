"""What is wrong with a KMS key policy, if only an attested enclave and the tenant shall open what the key seals.

The tenant's own principals must decrypt the answers, so an Allow without attestation is right for a user or role
that is named, belongs to the key's account, and is not the one that the enclave's host has. It is wrong for everybody
else: for them KMS must ask for the enclave's measurements.

Only what a policy allows is judged. A Deny that mends an Allow is not weighed: mend the Allow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from cloister._sealed.arn import KeyArn
from cloister.refusal import BadArn
from cloister.statement import Condition, Demand, Statement, is_named, is_root, is_same, statements

RuleName = Literal[
    "unattested",
    "no-enclave",
    "missing-pcr",
    "zero-pcr",
    "pcr-length",
    "pcr-case",
    "if-exists",
    "not-equality",
    "unnamed-host",
    "wildcard-action",
    "wildcard-principal",
    "not-action",
    "not-principal",
    "put-key-policy",
    "create-grant",
    "replicate-key",
    "re-encrypt",
    "encrypt-any-context",
    "grant",
    "partition",
    "alias",
    "opens-unattested",
    "not-proved",
    "closed-to-the-enclave",
]
"""The last three are what the doctor's probe finds, not the lint."""

_REVEALING = ("kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:DeriveSharedSecret")

# What undoes a policy from outside it. None of them takes an attestation document.
_UNDOING: dict[str, tuple[RuleName, str]] = {
    "kms:PutKeyPolicy": ("put-key-policy", "may replace this policy, and with it every condition"),
    "kms:CreateGrant": ("create-grant", "may let others decrypt by a grant, which knows no attestation"),
    "kms:ReplicateKey": ("replicate-key", "may copy the key to a region where another policy guards it"),
    "kms:ReEncryptFrom": ("re-encrypt", "may move what was sealed under a key of their own, without attestation"),
    "kms:ReEncryptTo": ("re-encrypt", "may move ciphertext of another key under this one, without attestation"),
}

_GRANTED = ("Decrypt", "GenerateDataKey", "GenerateDataKeyPair", "DeriveSharedSecret", "ReEncryptFrom", "CreateGrant")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: which rule, in which statement or grant, why it matters, and what to do."""

    rule: RuleName
    place: str
    severity: Literal["error", "warning"]
    reason: str
    fix: str


def lint(policy: str, key_arn: str) -> list[Finding]:
    """All findings in the key policy (JSON) of `key_arn`; none when it is right.

    Raises: NotConfigured when it is no policy.
    """
    try:
        key = KeyArn.parse(key_arn)
    except BadArn as error:
        return [
            Finding(
                "alias", key_arn, "error", "An alias, or a part of an ARN, may name another key tomorrow.", error.text
            )
        ]
    found = statements(policy)
    allowing = [statement for statement in found if statement.allows]
    hosts = frozenset(name for statement in allowing if statement.demands for name in statement.principals)
    findings = [finding for statement in allowing for rule in _RULES for finding in rule(statement, key, hosts)]
    if not any(statement.demands for statement in allowing):
        findings.append(_NO_ENCLAVE)
    return findings


def lint_grants(grants: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Findings in what kms.list_grants lists: a grant cannot ask for attestation."""
    return [
        Finding(
            "grant",
            f"grant {grant['GrantId']}",
            "error",
            f"It lets {grant.get('GranteePrincipal')} use {', '.join(sorted(opens))} without attestation.",
            "Retire it: aws kms revoke-grant --key-id KEY --grant-id " + grant["GrantId"],
        )
        for grant in grants
        if (opens := set(_GRANTED) & set(grant.get("Operations", ())))
    ]


_NO_ENCLAVE = Finding(
    "no-enclave",
    "policy",
    "error",
    "No statement lets an enclave in by its measurements, so none can open what is sealed, or one can without proof.",
    "Add the statement AttestedEnclaveOpens that `cloister policy` prints.",
)

Rule = Callable[[Statement, KeyArn, frozenset[str]], Iterator[Finding]]
"""Of an allowing statement, the key, and the principals of attested statements: those that enclaves' hosts have."""


def _exclusions(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:  # noqa: ARG001
    if statement.excludes_actions:
        yield Finding(
            "not-action",
            statement.name,
            "error",
            "Allow with NotAction permits every operation that it does not list, those of tomorrow too.",
            "List what is meant under Action.",
        )
    if statement.excludes_principals:
        yield Finding(
            "not-principal",
            statement.name,
            "error",
            "Allow with NotPrincipal permits everybody in the world whom it does not list.",
            "List who is meant under Principal.",
        )


def _wildcards(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:  # noqa: ARG001
    if any("*" in principal for principal in statement.principals):
        yield Finding(
            "wildcard-principal",
            statement.name,
            "error",
            "It lets principals of every account in, or, as a part of an ARN, nobody: KMS knows no such pattern.",
            "Name each user or role by its ARN.",
        )
    if statement.allows_everything:
        yield Finding(
            "wildcard-action",
            statement.name,
            "error",
            "All operations include those that decrypt and those that undo this policy.",
            "List the operations that are needed; `cloister policy` shows which.",
        )


def _unattested(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:
    opens = [action for action in _REVEALING if statement.permits(action)]
    if statement.demands or not opens:
        return
    for principal in _others(statement, key, hosts):
        if is_root(principal, key):
            yield Finding(
                "unattested",
                statement.name,
                "warning",
                f"{principal} stands for everybody in the account whom an IAM policy lets use {', '.join(opens)}, "
                "without attestation. Your own programs must decrypt answers; the account's other users need not.",
                "Name your programs' roles instead of the account.",
            )
        else:
            yield Finding(
                "unattested",
                statement.name,
                "error",
                f"{principal} may use {', '.join(opens)} without attestation, and so open requests itself.",
                "Take these operations away, or demand PCR0 as `cloister policy` prints it.",
            )


def _undoing(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:
    # These operations bring no attestation, so they never fit a demand for one; and where everything is allowed,
    # that is the finding.
    if statement.demands or statement.allows_everything:
        return
    for principal in _others(statement, key, hosts):
        for action, (rule, does) in _UNDOING.items():
            if statement.permits(action):
                yield Finding(
                    rule,
                    statement.name,
                    "warning" if is_root(principal, key) else "error",
                    f"With {action}, {principal} {does}.",
                    "Leave it to a named administrator of the key's account, or take it away.",
                )


def _encrypting(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:
    if statement.demands or statement.allows_everything or not statement.permits("kms:Encrypt"):
        return
    if any(_keeps_from_messages(condition) for condition in statement.conditions):
        return
    for principal in _others(statement, key, hosts):
        yield Finding(
            "encrypt-any-context",
            statement.name,
            "warning" if is_root(principal, key) else "error",
            f"{principal} may encrypt in any encryption context. Encrypt knows no attestation, and a data key of "
            "the AWS Encryption SDK is nothing but such a ciphertext, so they could make answers of mode esdk.",
            "Allow Encrypt without a context, and for cloister-key-registration, as `cloister policy` prints it.",
        )


def _keeps_from_messages(condition: Condition) -> bool:
    if condition.operator == "null":
        return condition.key == "kms:encryptioncontextkeys" and [value.lower() for value in condition.values] == [
            "true"
        ]
    # The purposes of mode esdk; any other one makes no message of ours.
    return (
        condition.operator == "stringequals"
        and condition.key == "kms:encryptioncontext:purpose"
        and not {"request", "response"} & set(condition.values)
    )


def _demanded(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:  # noqa: ARG001
    if statement.demands and not any(demand.is_image and not _is_presence(demand) for demand in statement.demands):
        yield Finding(
            "missing-pcr",
            statement.name,
            "error",
            "Neither PCR0 nor ImageSha384 is demanded, so an enclave with any other image may open.",
            "Demand kms:RecipientAttestation:PCR0 of the current release.",
        )
    if statement.demands and (accounts := [name for name in statement.principals if is_root(name, key)]):
        yield Finding(
            "unnamed-host",
            statement.name,
            "warning",
            f"{accounts[0]} is a whole account, so the enclave's role cannot be told from your own principals.",
            "Name the role that the enclave's host has.",
        )
    for demand in statement.demands:
        yield from _compared(statement, demand)
        if "string" in demand.operator:
            for value in demand.values:
                yield from _value(statement, demand, value)


def _compared(statement: Statement, demand: Demand) -> Iterator[Finding]:
    if demand.operator.endswith("ifexists") or demand.operator.startswith("forallvalues:"):
        yield Finding(
            "if-exists",
            statement.name,
            "error",
            f"{demand.operator} holds for {demand.measured} when there is no attestation at all.",
            "Use StringEqualsIgnoreCase.",
        )
    elif not demand.is_equality and not _is_presence(demand):
        yield Finding(
            "not-equality",
            statement.name,
            "error",
            f"{demand.operator} does not pin {demand.measured} to one value: others fit, or the absence of any.",
            "Use StringEqualsIgnoreCase with the whole value.",
        )


def _value(statement: Statement, demand: Demand, value: str) -> Iterator[Finding]:
    if re.fullmatch(r"[0-9A-Fa-f]{96}", value) is None:
        yield Finding(
            "pcr-length",
            statement.name,
            "error",
            f"A value of {demand.measured} never fits: a measurement has 96 hex digits, not {len(value)} characters.",
            "Copy the value again, whole, from the release or `cloister attest`.",
        )
    elif not value.strip("0"):
        yield Finding(
            "zero-pcr",
            statement.name,
            "error",
            f"{demand.measured} is all zero: enclaves in debug mode measure so, and they can be looked into.",
            "Demand the value of a production build.",
        )
    elif value != value.lower() and demand.operator == "stringequals":
        yield Finding(
            "pcr-case",
            statement.name,
            "error",
            f"StringEquals compares {demand.measured} with upper-case digits; KMS knows lower-case ones only.",
            "Use StringEqualsIgnoreCase, or lower case.",
        )


def _arns(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[Finding]:  # noqa: ARG001
    for arn in (*statement.principals, *statement.resources):
        found = re.match(r"arn:([^:]*):", arn)
        if found is not None and found[1] != key.partition:
            yield Finding(
                "partition",
                statement.name,
                "error",
                f"{arn} lies in another partition than the key ({key.partition}), so it means nobody.",
                f"Begin it with arn:{key.partition}:",
            )
    by_alias = [each for each in statement.conditions if each.key in ("kms:requestalias", "kms:resourcealiases")]
    if by_alias or any(":alias/" in resource for resource in statement.resources):
        yield Finding(
            "alias",
            statement.name,
            "error",
            "It goes by an alias. Whoever moves the alias moves the permission to another key.",
            'Write "Resource": "*", which in a key policy is this key, and leave aliases out of conditions.',
        )


_RULES: tuple[Rule, ...] = (_exclusions, _wildcards, _unattested, _undoing, _encrypting, _demanded, _arns)


def _others(statement: Statement, key: KeyArn, hosts: frozenset[str]) -> Iterator[str]:
    """Whom it lets in beside the tenant's own principals."""
    if statement.excludes_principals:
        yield "everybody"
        return
    for principal in statement.principals:
        if not is_named(principal, key) or any(is_same(principal, host) for host in hosts):
            yield principal


def _is_presence(demand: Demand) -> bool:
    """`Null: false` only asks that there be an attestation. `Null: true`, that there be none, is no such thing."""
    return demand.operator == "null" and all(value.lower() == "false" for value in demand.values)
