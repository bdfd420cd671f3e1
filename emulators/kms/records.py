"""One line of JSON for each cryptographic call, as CloudTrail tells it. Never a plaintext, never a ciphertext.

https://docs.aws.amazon.com/kms/latest/developerguide/ct-nitro-enclave.html
"""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emulators.iam.policy import Caller
from emulators.kms.exchange import Exchange
from emulators.kms.recipient import Recipient
from emulators.kms.refusal import KmsError

# Of the request, what CloudTrail tells; everything else is a secret, or long.
_TOLD = {
    "KeyId": "keyId",
    "SourceKeyId": "sourceKeyId",
    "DestinationKeyId": "destinationKeyId",
    "EncryptionAlgorithm": "encryptionAlgorithm",
    "EncryptionContext": "encryptionContext",
    "SourceEncryptionContext": "sourceEncryptionContext",
    "DestinationEncryptionContext": "destinationEncryptionContext",
    "KeySpec": "keySpec",
    "NumberOfBytes": "numberOfBytes",
    "KeyPairSpec": "keyPairSpec",
    "KeyAgreementAlgorithm": "keyAgreementAlgorithm",
    "SigningAlgorithm": "signingAlgorithm",
    "MacAlgorithm": "macAlgorithm",
    "DryRun": "dryRun",
}
# AWS's documentation shows these, and PCR0 as the digest of the image.
_PCRS = (1, 2, 3, 4, 8)

Record = dict[str, Any]


class Records:
    """A file that grows by one line for each call; threads may share it. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", encoding="utf-8") if path else None
        self._lock = threading.Lock()

    def append(self, record: Record) -> None:
        if self._file is None:
            return
        line = json.dumps(record) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


def record(
    *,
    event_id: str,
    request_id: str,
    now_ms: int,
    operation: str,
    parameters: dict[str, Any],
    exchange: Exchange,
    refused: KmsError | None,
) -> Record:
    recipient = exchange.recipient
    attested = {"additionalEventData": {"recipient": _recipient(recipient)}} if recipient else {}
    told = {_TOLD[name]: value for name, value in parameters.items() if name in _TOLD}
    return {
        "eventVersion": "1.08",
        "userIdentity": _identity(exchange.caller),
        "eventTime": datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": operation,
        "awsRegion": exchange.region,
        **({"errorCode": refused.code, "errorMessage": refused.text} if refused else {}),
        "requestParameters": told or None,
        "responseElements": None,
        **attested,
        "requestID": request_id,
        "eventID": event_id,
        "readOnly": True,
        "resources": [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn} for key in exchange.keys],
        "eventType": "AwsApiCall",
        "recipientAccountId": exchange.caller.account,
    }


def _identity(caller: Caller) -> Record:
    said = {"arn": caller.arn, "accountId": caller.account, "accessKeyId": caller.access_key_id}
    if caller.role_arn:
        return {"type": "AssumedRole", **said, "sessionContext": {"sessionIssuer": {"arn": caller.role_arn}}}
    return {"type": "IAMUser", **said, "userName": caller.arn.rpartition("/")[2]}


def _recipient(recipient: Recipient) -> Record:
    pcrs = recipient.said.pcrs
    digest = {"attestationDocumentEnclaveImageDigest": pcrs[0].hex()} if 0 in pcrs else {}
    return {
        "attestationDocumentModuleId": recipient.said.module_id,
        **digest,
        **{f"attestationDocumentEnclavePCR{each}": pcrs[each].hex() for each in _PCRS if each in pcrs},
    }
