"""`cloister doctor`: does the key open to the attested enclave, and to nobody without attestation?"""

import argparse
import base64
import hashlib
import os
import sys

import msgspec

from cloister._sealed.arn import KeyArn
from cloister.cli.gateway import Gateway
from cloister.cli.settings import Settings
from cloister.clock import now_ms
from cloister.lint import Finding, lint, lint_grants
from cloister.modes import KmsClient, client_for, kms_calls
from cloister.refusal import DocumentRefused
from cloister.trust import NONCE_BYTES, Trust

_DENIED = "AccessDeniedException"


class Probed(msgspec.Struct, frozen=True):
    """What became of the enclave's two tries to decrypt: "ok", or the name of KMS's error."""

    key_sha256: str
    attested: str
    unattested: str


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Look at the key's policy and grants, and try it. 1 when there are findings. Raises: SealError."""
    arn = options.arn or settings.must("kms_key_arn")
    findings = _examined(settings, arn)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(findings)) + b"\n")
        return bool(findings)
    for finding in findings:
        print(f"{finding.severity}: {finding.rule} in {finding.place}")
        print(f"  why: {finding.reason}")
        print(f"  fix: {finding.fix}")
    if not findings:
        print(f"{arn} opens to the attested enclave, and a decryption without attestation was denied.")
    return bool(findings)


def judged(probed: Probed) -> list[Finding]:
    """Findings in what the enclave tried."""
    findings = []
    if probed.unattested == "ok":
        findings.append(
            Finding(
                "opens-unattested",
                "key",
                "error",
                "The enclave's host decrypted with this key without any attestation: so can whoever holds its role.",
                "Give the key the policy that `cloister policy` prints, and look for IAM policies of that role.",
            )
        )
    elif probed.unattested != _DENIED:
        findings.append(
            Finding(
                "not-proved",
                "key",
                "error",
                f"The decryption without attestation failed by {probed.unattested}, which proves nothing.",
                "Mend that first, then run the doctor again.",
            )
        )
    if probed.attested != "ok":
        findings.append(
            Finding(
                "closed-to-the-enclave",
                "key",
                "error",
                f"KMS answered {probed.attested} to the attested enclave, so it cannot open your requests.",
                "Give the key the policy that `cloister policy` prints, for the enclave that `cloister attest` shows.",
            )
        )
    return findings


def _examined(settings: Settings, arn: str) -> list[Finding]:
    key = KeyArn.parse(arn)
    kms = client_for(key)
    with kms_calls(arn):
        policy = kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
        grants = [grant for page in kms.get_paginator("list_grants").paginate(KeyId=arn) for grant in page["Grants"]]
    probed = _probed(Gateway.of(settings), kms, settings.trust(), settings.must("tenant"), key)
    return [*lint(policy, arn), *lint_grants(grants), *judged(probed)]


def _probed(gateway: Gateway, kms: KmsClient, trust: Trust, tenant: str, key: KeyArn) -> Probed:
    with kms_calls(str(key)):
        ciphertext = kms.encrypt(
            KeyId=str(key),
            Plaintext=base64.b64encode(os.urandom(32)),  # of no use to whoever should decrypt it
            EncryptionContext={"tenant_id": tenant, "purpose": "cloister-doctor"},
        )["CiphertextBlob"]
    nonce = os.urandom(NONCE_BYTES)
    said = trust.verify(gateway.probe(key.key_id, nonce, ciphertext), nonce=nonce, now_ms=now_ms())
    try:
        probed = msgspec.json.decode(said.user_data or b"", type=Probed)
    except ValueError as error:
        raise DocumentRefused("The enclave's document does not tell what it tried.") from error
    if probed.key_sha256 != hashlib.sha256(str(key).encode()).hexdigest():
        raise DocumentRefused("The enclave's document tells of another key.")
    return probed
