"""Whose an access key is, as moto's IAM and STS know it, and which policies stand on them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from emulators.iam.policy import BadPolicy, Caller, Identity, Policy, identity_policy

# What a policy that cannot be read says: fail closed.
_DENY_EVERYTHING = identity_policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}')


class Unknown(Exception):
    """No such access key in this partition, or it is not active, or it goes with another session token."""


class Expired(Exception):
    """The session that the access key belonged to has ended."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody whose access key is good."""

    caller: Caller
    identity: Identity
    secret: str

    def __repr__(self) -> str:
        return f"Principal({self.caller.arn})"


def find(access_key_id: str, token: str, partition: str, now_ms: int) -> Principal:
    """Whose key it is. `token` is the session token that came with it, or empty. Raises Unknown, Expired."""
    for account, backends in list(iam_backends.items()):
        iam = backends[partition]
        key = iam.access_keys.get(access_key_id)
        if key is not None and key.status == "Active":
            return _session(key, token, account, iam, now_ms) if key.role_arn else _user(key, token, account, iam)
    raise Unknown


def _user(key: Any, token: str, account: str, iam: Any) -> Principal:
    user = iam.users.get(key.user_name)
    if user is None or token:
        raise Unknown
    groups = [group for group in list(iam.groups.values()) if user in group.users]
    caller = Caller(user.arn, account, key.access_key_id)
    return Principal(caller, Identity(tuple(_policies([user, *groups]))), key.secret_access_key)


def _session(key: Any, token: str, account: str, iam: Any, now_ms: int) -> Principal:
    session = sts_backends[account][iam.partition].get_assumed_role_from_access_key(key.access_key_id)
    if session is None or session.session_token != token:
        raise Unknown
    if session.expiration.replace(tzinfo=UTC) <= datetime.fromtimestamp(now_ms / 1000, UTC):
        raise Expired
    caller = Caller(session.arn, account, key.access_key_id, role_arn=session.role_arn)
    roles = [role for role in list(iam.roles.values()) if role.arn == session.role_arn]
    narrowed = _read(session.policy) if session.policy else None
    return Principal(caller, Identity(tuple(_policies(roles)), narrowed), key.secret_access_key)


def _policies(holders: Iterable[Any]) -> Iterator[Policy]:
    for holder in holders:
        for document in list(holder.policies.values()):
            yield _read(document)
        for attached in list(holder.managed_policies.values()):
            yield from (_read(version.document) for version in attached.versions if version.is_default)


def _read(document: str) -> Policy:
    try:
        return identity_policy(document)
    except BadPolicy:
        return _DENY_EVERYTHING
