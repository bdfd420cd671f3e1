"""The parameters of the operations that are answered here, as botocore's service model has them.

A parameter that is not in its operation is refused: above all `Recipient`, which five operations take.
"""

from typing import Annotated, Literal

import msgspec

from emulators.kms.recipient import RecipientInfo

_KeyId = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
_Plaintext = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]
_Ciphertext = Annotated[bytes, msgspec.Meta(min_length=1, max_length=6144)]
_NumberOfBytes = Annotated[int, msgspec.Meta(ge=1, le=1024)]
_Algorithm = Literal["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]
_KeyPairSpec = Literal[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]


class Request(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True, kw_only=True):
    """What all take that use a key. Grants hold at once here, so that their tokens change nothing."""

    grant_tokens: list[str] = []
    dry_run: bool = False


class Encrypt(Request, frozen=True):
    key_id: _KeyId
    plaintext: _Plaintext
    encryption_context: dict[str, str] = {}
    encryption_algorithm: _Algorithm = "SYMMETRIC_DEFAULT"


class Decrypt(Request, frozen=True):
    ciphertext_blob: _Ciphertext
    key_id: _KeyId | None = None
    encryption_context: dict[str, str] = {}
    encryption_algorithm: _Algorithm = "SYMMETRIC_DEFAULT"
    recipient: RecipientInfo | None = None


class ReEncrypt(Request, frozen=True):
    ciphertext_blob: _Ciphertext
    destination_key_id: _KeyId
    source_key_id: _KeyId | None = None
    source_encryption_context: dict[str, str] = {}
    source_encryption_algorithm: _Algorithm = "SYMMETRIC_DEFAULT"
    destination_encryption_context: dict[str, str] = {}
    destination_encryption_algorithm: _Algorithm = "SYMMETRIC_DEFAULT"


class GenerateDataKeyWithoutPlaintext(Request, frozen=True):
    key_id: _KeyId
    encryption_context: dict[str, str] = {}
    key_spec: Literal["AES_256", "AES_128"] | None = None
    number_of_bytes: _NumberOfBytes | None = None


class GenerateDataKey(GenerateDataKeyWithoutPlaintext, frozen=True):
    recipient: RecipientInfo | None = None


class GenerateDataKeyPairWithoutPlaintext(Request, frozen=True):
    key_id: _KeyId
    key_pair_spec: _KeyPairSpec
    encryption_context: dict[str, str] = {}


class GenerateDataKeyPair(GenerateDataKeyPairWithoutPlaintext, frozen=True):
    recipient: RecipientInfo | None = None


class GenerateRandom(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    number_of_bytes: _NumberOfBytes
    custom_key_store_id: str | None = None
    recipient: RecipientInfo | None = None


class DeriveSharedSecret(Request, frozen=True):
    key_id: _KeyId
    key_agreement_algorithm: Literal["ECDH"]
    public_key: Annotated[bytes, msgspec.Meta(min_length=1, max_length=8192)]
    recipient: RecipientInfo | None = None


class Judged(msgspec.Struct, frozen=True, rename="pascal"):
    """What is looked at before moto answers: Sign, Verify, GenerateMac, VerifyMac."""

    key_id: _KeyId
    dry_run: bool = False
