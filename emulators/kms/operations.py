"""The cryptographic operations, each from its parameters to its answer.

https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html
"""

import os
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from emulators.kms import keys, requests
from emulators.kms.exchange import Answer, Exchange, encoded
from emulators.kms.keys import Key
from emulators.kms.refusal import KmsError, invalid, wrong_usage

_CIPHERS = "ENCRYPT_DECRYPT"
_SYMMETRIC = "SYMMETRIC_DEFAULT"
_KEY_SPEC_BYTES = {"AES_128": 16, "AES_256": 32}
_KEY_PAIRS: dict[str, Callable[[], Any]] = {
    "RSA_2048": lambda: rsa.generate_private_key(65_537, 2048),
    "RSA_3072": lambda: rsa.generate_private_key(65_537, 3072),
    "RSA_4096": lambda: rsa.generate_private_key(65_537, 4096),
    "ECC_NIST_P256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECC_NIST_P384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECC_NIST_P521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ECC_SECG_P256K1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ECC_NIST_EDWARDS25519": ed25519.Ed25519PrivateKey.generate,
}


def encrypt(asked: requests.Encrypt, exchange: Exchange) -> Answer:
    key = exchange.key(asked.key_id)
    exchange.permit("Encrypt", key, _CIPHERS, context=asked.encryption_context, dry_run=asked.dry_run)
    _only_symmetric(key, asked.encryption_algorithm)
    blob = keys.seal(key, asked.plaintext, asked.encryption_context)
    return {"CiphertextBlob": encoded(blob), "KeyId": key.arn, "EncryptionAlgorithm": _SYMMETRIC}


def decrypt(asked: requests.Decrypt, exchange: Exchange) -> Answer:
    key = exchange.key_of(asked.ciphertext_blob, asked.key_id)
    exchange.answer_to(asked.recipient)
    exchange.permit("Decrypt", key, _CIPHERS, context=asked.encryption_context, dry_run=asked.dry_run)
    _only_symmetric(key, asked.encryption_algorithm)
    plaintext = keys.open_blob(key, asked.ciphertext_blob, asked.encryption_context)
    return {"KeyId": key.arn, "EncryptionAlgorithm": _SYMMETRIC} | exchange.secret("Plaintext", plaintext)


def re_encrypt(asked: requests.ReEncrypt, exchange: Exchange) -> Answer:
    source = exchange.key_of(asked.ciphertext_blob, asked.source_key_id)
    destination = exchange.key(asked.destination_key_id)
    exchange.permit("ReEncryptFrom", source, _CIPHERS, context=asked.source_encryption_context, dry_run=False)
    into = asked.destination_encryption_context
    exchange.permit("ReEncryptTo", destination, _CIPHERS, context=into, dry_run=asked.dry_run)
    _only_symmetric(source, asked.source_encryption_algorithm)
    _only_symmetric(destination, asked.destination_encryption_algorithm)
    plaintext = keys.open_blob(source, asked.ciphertext_blob, asked.source_encryption_context)
    return {
        "CiphertextBlob": encoded(keys.seal(destination, plaintext, into)),
        "KeyId": destination.arn,
        "SourceKeyId": source.arn,
        "SourceEncryptionAlgorithm": _SYMMETRIC,
        "DestinationEncryptionAlgorithm": _SYMMETRIC,
    }


def generate_data_key(asked: requests.GenerateDataKey, exchange: Exchange) -> Answer:
    key = exchange.key(asked.key_id)
    exchange.answer_to(asked.recipient)
    data_key, answer = _data_key("GenerateDataKey", key, asked, exchange)
    return answer | exchange.secret("Plaintext", data_key)


def generate_data_key_without_plaintext(asked: requests.GenerateDataKeyWithoutPlaintext, exchange: Exchange) -> Answer:
    return _data_key("GenerateDataKeyWithoutPlaintext", exchange.key(asked.key_id), asked, exchange)[1]


def generate_data_key_pair(asked: requests.GenerateDataKeyPair, exchange: Exchange) -> Answer:
    key = exchange.key(asked.key_id)
    exchange.answer_to(asked.recipient)
    private_key, answer = _data_key_pair("GenerateDataKeyPair", key, asked, exchange)
    return answer | exchange.secret("PrivateKeyPlaintext", private_key)


def generate_data_key_pair_without_plaintext(
    asked: requests.GenerateDataKeyPairWithoutPlaintext, exchange: Exchange
) -> Answer:
    return _data_key_pair("GenerateDataKeyPairWithoutPlaintext", exchange.key(asked.key_id), asked, exchange)[1]


def generate_random(asked: requests.GenerateRandom, exchange: Exchange) -> Answer:
    exchange.answer_to(asked.recipient)
    exchange.permit_without_key("GenerateRandom")
    return exchange.secret("Plaintext", os.urandom(asked.number_of_bytes))


def derive_shared_secret(asked: requests.DeriveSharedSecret, exchange: Exchange) -> Answer:
    key = exchange.key(asked.key_id)
    exchange.answer_to(asked.recipient)
    exchange.permit("DeriveSharedSecret", key, "KEY_AGREEMENT", dry_run=asked.dry_run)
    try:
        theirs: Any = load_der_public_key(asked.public_key)
        shared = key.private_key.exchange(ec.ECDH(), theirs)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise invalid(f"PublicKey: must be a SubjectPublicKeyInfo in DER on the curve of {key.spec}.") from None
    answer = {"KeyId": key.arn, "KeyAgreementAlgorithm": asked.key_agreement_algorithm, "KeyOrigin": key.origin}
    return answer | exchange.secret("SharedSecret", shared)


class Operation(msgspec.Struct, frozen=True):
    """`run` is None where moto answers once the caller is permitted; then the key must have this `usage`."""

    request: type[Any]
    run: Callable[[Any, Exchange], Answer] | None
    usage: str = ""


OPERATIONS = {
    "Encrypt": Operation(requests.Encrypt, encrypt),
    "Decrypt": Operation(requests.Decrypt, decrypt),
    "ReEncrypt": Operation(requests.ReEncrypt, re_encrypt),
    "GenerateDataKey": Operation(requests.GenerateDataKey, generate_data_key),
    "GenerateDataKeyWithoutPlaintext": Operation(
        requests.GenerateDataKeyWithoutPlaintext, generate_data_key_without_plaintext
    ),
    "GenerateDataKeyPair": Operation(requests.GenerateDataKeyPair, generate_data_key_pair),
    "GenerateDataKeyPairWithoutPlaintext": Operation(
        requests.GenerateDataKeyPairWithoutPlaintext, generate_data_key_pair_without_plaintext
    ),
    "GenerateRandom": Operation(requests.GenerateRandom, generate_random),
    "DeriveSharedSecret": Operation(requests.DeriveSharedSecret, derive_shared_secret),
    "Sign": Operation(requests.Judged, None, "SIGN_VERIFY"),
    "Verify": Operation(requests.Judged, None, "SIGN_VERIFY"),
    "GenerateMac": Operation(requests.Judged, None, "GENERATE_VERIFY_MAC"),
    "VerifyMac": Operation(requests.Judged, None, "GENERATE_VERIFY_MAC"),
}


def _only_symmetric(key: Key, algorithm: str = _SYMMETRIC) -> None:
    if key.spec != algorithm:
        raise wrong_usage(f"{algorithm} is not an algorithm of {key.arn}, whose spec is {key.spec}.")
    if algorithm != _SYMMETRIC:
        raise KmsError("UnsupportedOperationException", "The local KMS encrypts under symmetric keys only.")


def _data_key(
    operation: str, key: Key, asked: requests.GenerateDataKeyWithoutPlaintext, exchange: Exchange
) -> tuple[bytes, Answer]:
    exchange.permit(operation, key, _CIPHERS, context=asked.encryption_context, dry_run=asked.dry_run)
    _only_symmetric(key)
    if (asked.key_spec is None) is (asked.number_of_bytes is None):
        raise invalid("Please specify either number of bytes or key spec.")
    data_key = os.urandom(asked.number_of_bytes or _KEY_SPEC_BYTES[str(asked.key_spec)])
    blob = keys.seal(key, data_key, asked.encryption_context)
    return data_key, {"KeyId": key.arn, "CiphertextBlob": encoded(blob)}


def _data_key_pair(
    operation: str, key: Key, asked: requests.GenerateDataKeyPairWithoutPlaintext, exchange: Exchange
) -> tuple[bytes, Answer]:
    exchange.permit(operation, key, _CIPHERS, context=asked.encryption_context, dry_run=asked.dry_run)
    _only_symmetric(key)
    generate = _KEY_PAIRS.get(asked.key_pair_spec)
    if generate is None:
        raise KmsError("UnsupportedOperationException", f"The local KMS generates no {asked.key_pair_spec} key pairs.")
    pair = generate()
    private_key = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public_key = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private_key, {
        "KeyId": key.arn,
        "KeyPairSpec": asked.key_pair_spec,
        "PublicKey": encoded(public_key),
        "PrivateKeyCiphertextBlob": encoded(keys.seal(key, private_key, asked.encryption_context)),
    }
