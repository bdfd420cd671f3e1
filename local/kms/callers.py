"""Who calls: the access key in the Authorization header, as moto's IAM and STS know it.

Signatures are not verified: whoever knows an access key id is taken for its owner.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from moto.utilities.utils import get_partition

from local.kms.decision import Identity
from local.kms.policy import BadPolicy, Caller, Policy, identity_policy
from local.kms.refusal import Refused

_CREDENTIAL = re.compile(r"Credential=(?P<key>\w+)/\d{8}/(?P<region>[a-z0-9-]+)/kms/aws4_request")
# What a policy that cannot be read says: fail closed.
_DENY_EVERYTHING = identity_policy('{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}')


class Signed(msgspec.Struct, frozen=True):
    """What the caller signed with."""

    access_key_id: str
    region: str
    token: str


def signed(authorization: str, token: str) -> Signed:
    """Raises Refused where the request is not signed for KMS."""
    found = _CREDENTIAL.search(authorization)
    if found is None:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    return Signed(found["key"], found["region"], token)


def identify(by: Signed, now_ms: int) -> tuple[Caller, Identity]:
    """The caller and what their own policies say. Raises Refused for a key that IAM does not know."""
    partition = get_partition(by.region)
    for account, backends in list(iam_backends.items()):
        key = backends[partition].access_keys.get(by.access_key_id)
        if key is not None and key.status == "Active":
            iam = backends[partition]
            return _session(by, account, iam, now_ms) if key.role_arn else _user(by, account, iam, key)
    raise _unknown()


def _user(by: Signed, account: str, iam: Any, key: Any) -> tuple[Caller, Identity]:
    user = iam.users.get(key.user_name)
    if user is None:
        raise _unknown()
    groups = [group for group in list(iam.groups.values()) if user in group.users]
    return Caller(user.arn, account, by.access_key_id), Identity(tuple(_policies([user, *groups])))


def _session(by: Signed, account: str, iam: Any, now_ms: int) -> tuple[Caller, Identity]:
    session = sts_backends[account][iam.partition].get_assumed_role_from_access_key(by.access_key_id)
    if session is None or session.session_token != by.token:
        raise _unknown()
    if session.expiration.replace(tzinfo=UTC) <= datetime.fromtimestamp(now_ms / 1000, UTC):
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    caller = Caller(session.arn, account, by.access_key_id, role_arn=session.role_arn)
    roles = [role for role in list(iam.roles.values()) if role.arn == session.role_arn]
    narrowed = _read(session.policy) if session.policy else None
    return caller, Identity(tuple(_policies(roles)), narrowed)


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


def _unknown() -> Refused:
    return Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
