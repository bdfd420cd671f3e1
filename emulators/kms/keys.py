"""Moto's keys: found as KMS finds them, and what is encrypted under them.

Moto's own ciphertext blobs do not do: their encryption context is bound by its bytes run together, so that
{"a": "bc"} opens what {"ab": "c"} sealed, and the id of a multi-Region key does not fit in.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moto.kms.models import kms_backends
from moto.utilities.utils import get_partition

from emulators.iam.policy import BadPolicy, resource_policy
from emulators.kms.decision import Grant, KeyRules
from emulators.kms.refusal import KmsError, not_found, not_openable

_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<rest>(key|alias)/.+)")
_ID = re.compile(r"(mrk-)?[0-9a-fA-F-]{32,36}")
_VERSION = b"\x01"
_HEAD = re.compile(_VERSION + rb"([0-9]{12})(.)", re.DOTALL)  # account, and the length of the key id that follows
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Key(msgspec.Struct, frozen=True):
    """A key as one call finds it."""

    arn: str
    account: str
    spec: str
    usage: str
    origin: str
    state: str
    alias: str  # how the call named it; empty if not by an alias
    rules: KeyRules
    material: bytes
    private_key: Any  # of an asymmetric key


def find(named: str, account: str, region: str) -> Key:
    """The key that a key id, a key ARN, an alias or an alias ARN means for a caller of this account in this region.

    Raises Refused (NotFoundException).
    """
    rest = named
    if named.startswith("arn:"):
        arn = _ARN.fullmatch(named)
        if arn is None or (arn["partition"], arn["region"]) != (get_partition(region), region):
            raise not_found(f"Invalid arn {arn['region'] if arn else named}")
        account, rest = arn["account"], arn["rest"].removeprefix("key/")
    if not rest.startswith("alias/"):
        return _key(account, region, rest)
    for key in list(kms_backends[account][region].keys.values()):
        if rest in key.aliases:
            return _key(account, region, key.id, alias=rest)
    raise not_found(f"Alias arn:{get_partition(region)}:kms:{region}:{account}:{rest} is not found.")


def sealed_by(blob: bytes, region: str) -> Key:
    """The key that encrypted the blob. Raises Refused."""
    account, key_id = _owner(blob)
    try:
        return _key(account, region, key_id)
    except KmsError:
        raise KmsError(
            "AccessDeniedException",
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
            "or you are not allowed to access.",
        ) from None


def seal(key: Key, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    """A ciphertext blob, bound to the encryption context."""
    header = _header(key)
    nonce = os.urandom(_NONCE_BYTES)
    return header + nonce + AESGCM(key.material).encrypt(nonce, plaintext, _bound(header, context))


def open_blob(key: Key, blob: bytes, context: Mapping[str, str]) -> bytes:
    """The plaintext. Raises Refused: IncorrectKeyException for another key's blob, else InvalidCiphertextException."""
    header = _header(key)
    if not blob.startswith(header):
        _owner(blob)
        raise KmsError(
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation.",
        )
    nonce, sealed = blob[len(header) :][:_NONCE_BYTES], blob[len(header) + _NONCE_BYTES :]
    try:
        return AESGCM(key.material).decrypt(nonce, sealed, _bound(header, context))
    except (InvalidTag, ValueError):
        raise not_openable() from None


def _key(account: str, region: str, key_id: str, alias: str = "") -> Key:
    found: Any = kms_backends[account][region].keys.get(key_id)
    if found is None:
        if not _ID.fullmatch(key_id):
            raise not_found(f"Invalid keyId '{key_id}'")
        raise not_found(f"Key 'arn:{get_partition(region)}:kms:{region}:{account}:key/{key_id}' does not exist")
    grants = tuple(
        Grant(grant.grantee_principal, frozenset(grant.operations), grant.constraints or {})
        for grant in list(found.grants.values())
    )
    try:
        policy = resource_policy(found.policy)
    except BadPolicy as bad:
        # CloudFormation reaches moto without passing by us.
        raise KmsError("KMSInternalException", f"The policy of {found.arn} cannot be read. {bad}") from None
    return Key(
        arn=found.arn,
        account=account,
        spec=found.key_spec,
        usage=found.key_usage or "ENCRYPT_DECRYPT",
        origin=found.origin,
        state=found.key_state,
        alias=alias,
        rules=KeyRules(account, policy, grants),
        material=found.key_material,
        private_key=found.private_key.private_key,
    )


def _header(key: Key) -> bytes:
    key_id = key.arn.rpartition("/")[2].encode()
    return _VERSION + key.account.encode() + bytes([len(key_id)]) + key_id


def _owner(blob: bytes) -> tuple[str, str]:
    """Account and key id. Raises Refused."""
    head = _HEAD.match(blob)
    if head is None or len(blob) < head.end() + head[2][0] + _NONCE_BYTES + _TAG_BYTES:
        raise not_openable()
    key_id = blob[head.end() :][: head[2][0]]
    return head[1].decode(), key_id.decode("latin-1")


def _bound(header: bytes, context: Mapping[str, str]) -> bytes:
    return header + json.dumps(sorted(context.items())).encode()
