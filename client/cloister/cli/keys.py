"""`cloister keys`: which KMS keys open the tenant's requests."""

import argparse
import datetime

from cloister._sealed.arn import KeyArn
from cloister.cli.gateway import Gateway
from cloister.cli.settings import Settings
from cloister.modes import client_for, kms_calls


def register(settings: Settings, options: argparse.Namespace) -> int:
    """Prove control of the key: decrypt what the enclave encrypted, and encrypt it again. Raises: SealError."""
    key = KeyArn.parse(options.arn)
    gateway, kms, tenant = Gateway.of(settings), client_for(key), settings.must("tenant")
    challenge = gateway.challenge(options.arn)
    with kms_calls(options.arn):
        # The purposes differ, so that neither ciphertext can stand for the other.
        secret = kms.decrypt(
            KeyId=options.arn,
            CiphertextBlob=challenge,
            EncryptionContext={"tenant_id": tenant, "purpose": "cloister-key-registration"},
        )["Plaintext"]
        proof = kms.encrypt(
            KeyId=options.arn,
            Plaintext=secret,
            EncryptionContext={"tenant_id": tenant, "purpose": "cloister-key-proof"},
        )["CiphertextBlob"]
    gateway.prove(key.key_id, proof)
    print(f"{options.arn} opens requests of {tenant} from now on.")
    return 0


def show(settings: Settings, options: argparse.Namespace) -> int:  # noqa: ARG001
    """Raises: SealError."""
    for key in Gateway.of(settings).registered_keys():
        since = datetime.datetime.fromtimestamp(key["registered_ms"] / 1000, datetime.UTC)
        print(f"{key['key_arn']}  since {since:%Y-%m-%d %H:%M:%S} UTC")
    return 0


def remove(settings: Settings, options: argparse.Namespace) -> int:
    """Raises: SealError."""
    Gateway.of(settings).remove(KeyArn.parse(options.arn).key_id)
    print(f"{options.arn} opens nothing of {settings.must('tenant')} any more.")
    return 0
