"""A KMS key policy under which the tenant seals and opens, and nobody else decrypts but the attested enclave.

https://docs.aws.amazon.com/kms/latest/developerguide/conditions-nitro-enclaves.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cloister._sealed.arn import KeyArn

ATTESTATION = "kms:RecipientAttestation:"

# What takes an attestation document. Encrypt does not.
ATTESTED = ("kms:Decrypt", "kms:GenerateDataKey")

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey")
# What AWS's console gives administrators, less CreateGrant and ReplicateKey: a grant and a replica know no attestation.
ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateKeyDescription",
)

_WITHOUT_CONTEXT = {"Null": {"kms:EncryptionContextKeys": "true"}}
_FOR_CHALLENGES = {"StringEquals": {"kms:EncryptionContext:purpose": "cloister-key-registration"}}


def key_policy(
    enclaves: Sequence[Mapping[int, str]], *, tenant: Sequence[str], administrators: Sequence[str], enclave_role: str
) -> dict[str, Any]:
    """The policy document.

    enclaves        the PCRs of each enclave that may open, in lower-case hex; two while a release is rolled out
    tenant          ARNs of the principals that seal requests and open answers
    administrators  ARNs of the principals that may change this policy, and so everything
    enclave_role    ARN of the role that the enclave's host has
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("TenantAdministers", administrators, ADMINISTRATION),
            _allow("TenantSealsAndOpens", tenant, USE),
            # Never with the context of an AWS Encryption SDK message: whoever encrypts its data key can make an answer.
            _allow("EnclaveAnswersInModeKms", [enclave_role], ["kms:Encrypt"]) | {"Condition": _WITHOUT_CONTEXT},
            _allow("EnclaveChallenges", [enclave_role], ["kms:Encrypt"]) | {"Condition": _FOR_CHALLENGES},
            *(
                _allow(f"AttestedEnclaveOpens{number}", [enclave_role], ATTESTED) | {"Condition": _attested(pcrs)}
                for number, pcrs in enumerate(enclaves, 1)
            ),
        ],
    }


def placeholder(key: KeyArn, role: str) -> str:
    """The ARN of a role beside the key, for whoever has not said which one."""
    return f"arn:{key.partition}:iam::{key.account}:role/{role}"


def _attested(pcrs: Mapping[int, str]) -> dict[str, dict[str, str]]:
    return {"StringEqualsIgnoreCase": {f"{ATTESTATION}PCR{index}": value for index, value in sorted(pcrs.items())}}


def _allow(sid: str, principals: Sequence[str], actions: Sequence[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": list(principals)},
        "Action": list(actions),
        "Resource": "*",
    }
