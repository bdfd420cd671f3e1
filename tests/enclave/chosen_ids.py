"""A message of the AWS Encryption SDK whose id is chosen by whoever seals it, as no SDK offers it.

https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html, suite 0x0478, one final frame.
"""

import struct
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE = 0x0478
FRAMED = 2
FRAME_BYTES = 4096
LAST = 0xFFFFFFFF


def message_with_id(
    kms_client: Any, key_arn: str, context: Mapping[str, str], plaintext: bytes, message_id: bytes
) -> bytes:
    made = kms_client.generate_data_key(KeyId=key_arn, NumberOfBytes=32, EncryptionContext=dict(context))
    suite = struct.pack(">H", SUITE)

    def derived(info: bytes) -> bytes:
        return HKDF(algorithm=SHA512(), length=32, salt=message_id, info=info).derive(made["Plaintext"])

    pairs = b"".join(_sized(name.encode()) + _sized(value.encode()) for name, value in sorted(context.items()))
    data_key = _sized(b"aws-kms") + _sized(key_arn.encode()) + _sized(made["CiphertextBlob"])
    head = b"".join(
        (
            b"\x02" + suite + message_id,
            _sized(struct.pack(">H", len(context)) + pairs),
            struct.pack(">H", 1) + data_key,
            struct.pack(">BI", FRAMED, FRAME_BYTES),
            derived(b"COMMITKEY"),
        )
    )
    key = AESGCM(derived(suite + b"DERIVEKEY"))
    nonce = struct.pack(">QI", 0, 1)
    about = message_id + b"AWSKMSEncryptionClient Final Frame" + struct.pack(">IQ", 1, len(plaintext))
    frame = struct.pack(">II", LAST, 1) + nonce + struct.pack(">I", len(plaintext))
    return head + key.encrypt(bytes(12), b"", head) + frame + key.encrypt(nonce, plaintext, about)


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
