"""The AWS account of the local cloud before anything runs in it: principals, keys, and the gateway's secret.

Made in the cloud's own process, as an account's owner makes them before the first deployment. On AWS,
`infra/sealing.yaml` and the tenant make the same things.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from moto.kms.models import kms_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.utilities.utils import get_partition

from emulators.aws_services import ACCOUNT, AccessKey, create_user
from emulators.iam.judge import ACTION, API_ID, STAGE
from local.layout import GOVCLOUD_REGION

OPERATOR = "cloister-operator"
ENCLAVE = "cloister-enclave"
GOVCLOUD = "cloister-govcloud-client"
GOVCLOUD_DENIED = "cloister-govcloud-denied"
TICKET_SECRET = "cloister-local-ticket"

CONTEXT = "kms:EncryptionContext:"

_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_USING_KEYS = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt"], "Resource": "*"}
_INVOKING_NOTHING = {"Effect": "Deny", "Action": ACTION, "Resource": "*"}


class Account(msgspec.Struct, frozen=True):
    """What the others must know of it."""

    operator: AccessKey
    """May do everything; the demo tenant's people act as this principal, too."""
    enclave: AccessKey
    govcloud: AccessKey
    """Of the other partition: may invoke the routes for its clients, and nothing else; signs for the demo tenant."""
    govcloud_denied: AccessKey
    """Of the other partition: may invoke no route, whatever else it may."""
    platform_key_arn: str
    """Under it is the seed of each key epoch; only an attested enclave has the use of it."""
    tenant_key_arn: str
    """The demo tenant's."""
    audit_key_arn: str
    """Signs what each day's ledger was."""
    content_key_arn: str
    """Wraps the data keys of what tenants keep."""
    ticket_key: str
    """The public half, base64, of the key that signs tickets; the other half is in TICKET_SECRET."""

    def told(self) -> dict[str, str]:
        """As the cloud's ready line has it."""
        return {
            "access_key_id": self.operator.access_key_id,
            "secret_access_key": self.operator.secret_access_key,
            "enclave_access_key_id": self.enclave.access_key_id,
            "enclave_secret_access_key": self.enclave.secret_access_key,
            "govcloud_arn": self.govcloud.arn,
            "govcloud_access_key_id": self.govcloud.access_key_id,
            "govcloud_secret_access_key": self.govcloud.secret_access_key,
            "govcloud_denied_access_key_id": self.govcloud_denied.access_key_id,
            "govcloud_denied_secret_access_key": self.govcloud_denied.secret_access_key,
            "platform_key_arn": self.platform_key_arn,
            "tenant_key_arn": self.tenant_key_arn,
            "audit_key_arn": self.audit_key_arn,
            "content_key_arn": self.content_key_arn,
            "ticket_key": self.ticket_key,
        }


def opened(region: str, pcr0: str) -> Account:
    """Make all of it. `pcr0`, hexadecimal: the measurement of the enclaves that may use the keys."""
    operator = _user(OPERATOR, region, _EVERYTHING)
    enclave = _user(ENCLAVE, region, _USING_KEYS)
    root = f"arn:{get_partition(region)}:iam::{ACCOUNT}:root"
    return Account(
        operator,
        enclave,
        govcloud=_user(GOVCLOUD, GOVCLOUD_REGION, _invoking(GOVCLOUD_REGION, "v1/bedrock/*", "v1/dashboard/*")),
        govcloud_denied=_user(GOVCLOUD_DENIED, GOVCLOUD_REGION, _EVERYTHING, _INVOKING_NOTHING),
        platform_key_arn=_key(region, "Seeds of Cloister's key epochs", _platform_policy(root, enclave.arn, pcr0)),
        tenant_key_arn=_key(region, "The demo tenant's", tenant_policy(operator.arn, enclave.arn, pcr0)),
        audit_key_arn=_signing_key(region, "Signs what each day's ledger was", _audit_policy(root, operator.arn)),
        content_key_arn=_key(region, "Wraps the data keys of what tenants keep", _content_policy(operator.arn)),
        ticket_key=_ticket_key(region),
    )


def tenant_policy(tenant: str, enclave: str, pcr0: str) -> dict[str, Any]:
    """As `cloister policy` prints it: the tenant uses its key, an enclave only while it is the measured one."""
    used = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"]
    seen = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants"]
    return _policy(
        _allow("Tenant", tenant, [*used, *seen]),
        _attested(enclave, pcr0),
        # Never with the context of an Encryption SDK message: whoever may encrypt its data key can make an answer.
        _encrypting("EnclaveAnswersInModeKms", enclave, {"Null": {"kms:EncryptionContextKeys": "true"}}),
        _encrypting("EnclaveChallenges", enclave, {"StringEquals": {f"{CONTEXT}purpose": "cloister-key-registration"}}),
    )


def _platform_policy(root: str, enclave: str, pcr0: str) -> dict[str, Any]:
    administers = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"]
    # No kms:Encrypt for anybody: who could encrypt a seed of their own would know the keys of an epoch.
    return _policy(_allow("Administration", root, administers), _attested(enclave, pcr0))


def _audit_policy(root: str, notary: str) -> dict[str, Any]:
    """As infra/audit.yaml has it."""
    verifies = ["kms:DescribeKey", "kms:GetPublicKey"]
    return _policy(_allow("NotarySigns", notary, ["kms:Sign"]), _allow("AuditorsVerify", root, verifies))


def _content_policy(gateway: str) -> dict[str, Any]:
    """As infra/contents.yaml has it."""
    wraps = _allow("GatewayWraps", gateway, ["kms:Decrypt", "kms:GenerateDataKey"])
    return _policy({**wraps, "Condition": {"StringEquals": {f"{CONTEXT}purpose": "cloister-contents"}}})


def _encrypting(sid: str, enclave: str, condition: Mapping[str, Any]) -> dict[str, Any]:
    return {**_allow(sid, enclave, ["kms:Encrypt"]), "Condition": condition}


def _attested(enclave: str, pcr0: str) -> dict[str, Any]:
    condition = {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": pcr0}}
    allowed = _allow("AttestedEnclave", enclave, ["kms:Decrypt", "kms:GenerateDataKey"])
    return {**allowed, "Condition": condition}


def _allow(sid: str, principal: str, actions: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions, "Resource": "*"}


def _policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _invoking(region: str, *paths: str) -> dict[str, Any]:
    api = f"arn:{get_partition(region)}:execute-api:{region}:{ACCOUNT}:{API_ID}/{STAGE}"
    return {"Effect": "Allow", "Action": ACTION, "Resource": [f"{api}/*/{path}" for path in paths]}


def _user(name: str, region: str, *statements: Mapping[str, Any]) -> AccessKey:
    return create_user(name, region, json.dumps(_policy(*statements)))


def _key(region: str, description: str, policy: Mapping[str, Any]) -> str:
    key = kms_backends[ACCOUNT][region].create_key(
        json.dumps(policy), "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", description, []
    )
    return str(key.arn)


def _signing_key(region: str, description: str, policy: Mapping[str, Any]) -> str:
    key = kms_backends[ACCOUNT][region].create_key(json.dumps(policy), "SIGN_VERIFY", "ECC_NIST_P256", description, [])
    return str(key.arn)


def _ticket_key(region: str) -> str:
    key = Ed25519PrivateKey.generate()
    secret = json.dumps({"ticket_key": base64.b64encode(key.private_bytes_raw()).decode()})
    secretsmanager_backends[ACCOUNT][region].create_secret(
        name=TICKET_SECRET,
        secret_string=secret,
        secret_binary=None,
        description=None,
        tags=None,
        kms_key_id=None,
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
