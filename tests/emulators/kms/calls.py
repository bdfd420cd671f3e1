"""Calls, policies and callers that name only what matters."""

import json
from collections.abc import Mapping
from typing import Any

from emulators.iam.policy import Call, Caller, Identity, identity_policy, resource_policy
from emulators.kms import facts
from emulators.kms.decision import Grant, KeyRules, refusal

ACCOUNT = "111122223333"
ELSEWHERE = "444455556666"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/enclave"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/enclave/one"

EVERYTHING = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}

Statement = Mapping[str, Any]


def user(arn: str = ALICE) -> Caller:
    return Caller(arn, arn.split(":")[4], "AKIA")


def session(arn: str = SESSION, role_arn: str = ROLE) -> Caller:
    return Caller(arn, arn.split(":")[4], "ASIA", role_arn)


def call(
    caller: Caller | None = None,
    action: str = "kms:Decrypt",
    *,
    context: Mapping[str, str] | None = None,
    pcrs: Mapping[int, bytes] | None = None,
    more: Mapping[str, tuple[str, ...]] | None = None,
) -> Call:
    caller = caller or user()
    known = {
        **facts.of_caller(caller),
        **facts.of_key(spec="SYMMETRIC_DEFAULT", usage="ENCRYPT_DECRYPT", origin="AWS_KMS", alias=""),
        **facts.of_context(context or {}),
        **facts.of_measurements(pcrs or {}),
        **(more or {}),
    }
    return Call(caller, action, KEY, context or {}, known)


def text(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal: Any = ALICE, action: Any = "kms:Decrypt", **members: Any) -> Statement:
    aws = principal if principal == "*" else {"AWS": principal}
    return {"Effect": "Allow", "Principal": aws, "Action": action, "Resource": "*", **members}


def deny(principal: Any = ALICE, action: Any = "kms:Decrypt", **members: Any) -> Statement:
    return {**allow(principal, action), "Effect": "Deny", **members}


def identity(*statements: Statement, session_policy: Statement | None = None) -> Identity:
    narrowed = identity_policy(text(session_policy)) if session_policy else None
    return Identity((identity_policy(text(*statements)),) if statements else (), narrowed)


def why_not(
    asked: Call, *statements: Statement, grants: tuple[Grant, ...] = (), caller_has: Identity | None = None
) -> str | None:
    key = KeyRules(ACCOUNT, resource_policy(text(*statements)), grants)
    return refusal(asked, key, caller_has or identity())


def allowed(
    asked: Call, *statements: Statement, grants: tuple[Grant, ...] = (), caller_has: Identity | None = None
) -> bool:
    return why_not(asked, *statements, grants=grants, caller_has=caller_has) is None
