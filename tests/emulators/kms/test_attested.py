"""`Recipient`: what an attested call gets, and what a policy makes of measurements."""

import os
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from emulators.security_module import PCRS, Authority, SimulatedSecurityModule
from tests.emulators.kms.calls import EVERYTHING, allow, deny, text
from tests.emulators.kms.refused import refused
from tests.emulators.kms.served import Enclave, Person, Served, now_ms, recipient, served
from tests.patience import PATIENCE_S

VECTORS = Path(__file__).parents[3] / "vectors" / "attestation"
CONTEXT = {"tenant_id": "acme"}
OTHER_IMAGE = {0: b"\x07" * 48}
ANYTHING = "kms:RecipientAttestation:"


def image(value: str, operator: str = "StringEqualsIgnoreCase") -> dict[str, Any]:
    return {operator: {ANYTHING + "ImageSha384": value}}


def attested_only(aws: Served, condition: dict[str, Any]) -> tuple[Person, str, bytes]:
    """Somebody who may decrypt under this condition, a key, and a blob under it."""
    person = aws.user()
    statements = [allow("*", "kms:Encrypt"), allow(person.arn, Condition=condition)]
    key = aws.key(text(*statements))
    return person, key, aws.kms.encrypt(KeyId=key, Plaintext=b"a secret", EncryptionContext=CONTEXT)["CiphertextBlob"]


def spki(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def test_an_attested_decrypt_opens_in_the_enclave_alone(aws: Served) -> None:
    person, key, blob = attested_only(aws, image(PCRS[0].hex()))
    enclave = aws.enclave()
    answer = person.kms.decrypt(
        KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT, Recipient=enclave.recipient()
    )

    assert enclave.open(answer) == b"a secret"
    assert answer["KeyId"] == key
    assert "Plaintext" not in answer


def test_without_a_recipient_a_policy_that_demands_attestation_denies(aws: Served) -> None:
    person, key, blob = attested_only(aws, image(PCRS[0].hex()))

    with refused("AccessDeniedException", "kms:Decrypt"):
        person.kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT)


@pytest.mark.parametrize(
    ("condition", "opens"),
    [
        (image(PCRS[0].hex()), True),
        (image(PCRS[0].hex().upper()), True),
        (image(PCRS[0].hex(), "StringEquals"), True),
        (image(PCRS[0].hex().upper(), "StringEquals"), False),
        (image(PCRS[1].hex()), False),
        (image(PCRS[0].hex()) | {"StringEquals": {ANYTHING + "PCR8": PCRS[8].hex()}}, True),
        (image(PCRS[0].hex()) | {"StringEquals": {ANYTHING + "PCR8": PCRS[0].hex()}}, False),
        ({"StringLike": {ANYTHING + "PCR0": PCRS[0].hex()[:8] + "*"}}, True),
        ({"Null": {ANYTHING + "ImageSha384": "false"}}, True),
        ({"Null": {ANYTHING + "ImageSha384": "true"}}, False),
    ],
)
def test_measurements_decide(aws: Served, condition: dict[str, Any], opens: bool) -> None:
    person, key, blob = attested_only(aws, condition)
    enclave = aws.enclave()
    asked = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": CONTEXT, "Recipient": enclave.recipient()}

    if opens:
        assert enclave.open(person.kms.decrypt(**asked)) == b"a secret"
    else:
        with refused("AccessDeniedException"):
            person.kms.decrypt(**asked)


def test_another_image_is_denied(aws: Served) -> None:
    person, key, blob = attested_only(aws, image(PCRS[0].hex()))
    other = aws.enclave(OTHER_IMAGE).recipient()

    with refused("AccessDeniedException"):
        person.kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=CONTEXT, Recipient=other)


def test_a_data_key_comes_sealed_and_is_the_one_in_the_blob(aws: Served) -> None:
    key, enclave = aws.key(), aws.enclave()
    answer = aws.kms.generate_data_key(KeyId=key, NumberOfBytes=64, Recipient=enclave.recipient())

    assert "Plaintext" not in answer
    assert aws.kms.decrypt(CiphertextBlob=answer["CiphertextBlob"])["Plaintext"] == enclave.open(answer)
    assert len(enclave.open(answer)) == 64


def test_random_bytes_come_sealed(aws: Served) -> None:
    enclave = aws.enclave()
    answer = aws.kms.generate_random(NumberOfBytes=33, Recipient=enclave.recipient())

    assert "Plaintext" not in answer
    assert len(enclave.open(answer)) == 33


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P384"])
def test_a_data_key_pair_comes_sealed(aws: Served, spec: str) -> None:
    key, enclave = aws.key(), aws.enclave()
    answer = aws.kms.generate_data_key_pair(
        KeyId=key, KeyPairSpec=spec, EncryptionContext=CONTEXT, Recipient=enclave.recipient()
    )
    private_key = enclave.open(answer)
    kept = aws.kms.decrypt(CiphertextBlob=answer["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)

    assert "PrivateKeyPlaintext" not in answer
    assert kept["Plaintext"] == private_key
    assert spki(load_der_private_key(private_key, None)) == answer["PublicKey"]


def test_a_shared_secret_comes_sealed_and_is_the_one_of_the_other_side(aws: Served) -> None:
    key = aws.key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    ours, enclave = ec.generate_private_key(ec.SECP256R1()), aws.enclave()
    asked = {"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": spki(ours)}
    sealed = aws.kms.derive_shared_secret(**asked, Recipient=enclave.recipient())

    assert "SharedSecret" not in sealed
    assert enclave.open(sealed) == aws.kms.derive_shared_secret(**asked)["SharedSecret"]


def test_a_public_key_on_another_curve_gives_no_shared_secret(aws: Served) -> None:
    key = aws.key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    other = spki(ec.generate_private_key(ec.SECP384R1()))

    with refused("ValidationException", "PublicKey"):
        aws.kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=other)


def flipped(document: bytes, at: int) -> bytes:
    return document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]


def bad_documents(aws: Served) -> dict[str, bytes]:
    def document(enclave: Enclave) -> bytes:
        return bytes(enclave.recipient()["AttestationDocument"])

    good = document(aws.enclave())
    stranger = SimulatedSecurityModule(Authority.made(now_ms()), clock=now_ms)
    rsa_1024 = rsa.generate_private_key(65_537, 1024)
    return {
        "stale": document(aws.enclave(age_ms=301_000)),
        "of the future": document(aws.enclave(age_ms=-120_000)),
        "debug mode": document(aws.enclave({0: bytes(48), 1: bytes(48), 2: bytes(48)})),
        "wrong root": document(Enclave(stranger)),
        "old and of AWS": (VECTORS / "01_evervault_nondebug_2022-10-13.cose").read_bytes(),
        "root of its own": (VECTORS / "05_NEGATIVE_marlin_selfmade_root.cose").read_bytes(),
        "trailing byte": good + b"\0",
        "cut": good[:-1],
        "flipped in the payload": flipped(good, len(good) // 2),
        "flipped in the signature": flipped(good, len(good) - 1),
        "noise": os.urandom(64),
        "no public key": SimulatedSecurityModule(aws.authority, clock=now_ms).attest(),
        "not a key": document_with(aws, b"not a key"),
        "short key": document_with(aws, spki(rsa_1024)),
        "not RSA": document_with(aws, spki(ec.generate_private_key(ec.SECP256R1()))),
        "too large": good + bytes(16_384),
    }


def document_with(aws: Served, public_key: bytes) -> bytes:
    return bytes(aws.enclave().recipient(public_key)["AttestationDocument"])


def test_every_bad_document_is_refused_and_says_why(aws: Served) -> None:
    key = aws.key()
    blob = aws.kms.encrypt(KeyId=key, Plaintext=b"a secret")["CiphertextBlob"]

    for fault, document in bad_documents(aws).items():
        with refused("ValidationException", "Recipient"):
            aws.kms.decrypt(KeyId=key, CiphertextBlob=blob, Recipient=recipient(document))
            pytest.fail(fault)


@pytest.mark.parametrize("algorithm", ["RSAES_OAEP_SHA_1", "SYMMETRIC_DEFAULT"])
def test_another_key_encryption_algorithm_is_refused(aws: Served, algorithm: str) -> None:
    asked = aws.enclave().recipient() | {"KeyEncryptionAlgorithm": algorithm}

    with refused("ValidationException"):
        aws.kms.generate_random(NumberOfBytes=1, Recipient=asked)


@pytest.mark.parametrize(
    "operation",
    [
        "Encrypt",
        "ReEncrypt",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPairWithoutPlaintext",
        "Sign",
        "ListKeys",
    ],
)
def test_no_other_operation_takes_a_recipient(aws: Served, operation: str) -> None:
    """By HTTP, for the SDK would not send it."""
    given = {
        "KeyId": aws.key(),
        "DestinationKeyId": "x",
        "Plaintext": "eA==",
        "CiphertextBlob": "eA==",
        "KeySpec": "AES_256",
        "KeyPairSpec": "RSA_2048",
    }
    takes = set(aws.kms.meta.service_model.operation_model(operation).input_shape.members)
    body = {name: value for name, value in given.items() if name in takes}
    headers = {
        "X-Amz-Target": f"TrentService.{operation}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={aws.access_key_id}/20260101/us-east-1/kms/aws4_request, ",
    }
    answer = requests.post(aws.url, json=body | {"Recipient": {}}, headers=headers, timeout=PATIENCE_S)

    assert (answer.status_code, answer.json()["__type"]) == (400, "ValidationException")
    assert "Recipient" in answer.json()["message"]


def test_iam_policies_know_measurements_too(aws: Served) -> None:
    person = aws.user(text({**EVERYTHING, "Condition": image(PCRS[0].hex())}))
    enclave = aws.enclave()

    assert len(enclave.open(person.kms.generate_random(NumberOfBytes=8, Recipient=enclave.recipient()))) == 8
    with refused("AccessDeniedException", "kms:GenerateRandom"):
        person.kms.generate_random(NumberOfBytes=8)


def test_a_deny_without_attestation_holds_for_the_operator_as_well(aws: Served) -> None:
    unattested = deny("*", "kms:Decrypt", Condition={"Null": {ANYTHING + "ImageSha384": "true"}})
    key = aws.key(text(allow("*", "kms:*"), unattested))
    blob = aws.kms.encrypt(KeyId=key, Plaintext=b"a secret")["CiphertextBlob"]

    with refused("AccessDeniedException", "explicit deny"):
        aws.kms.decrypt(KeyId=key, CiphertextBlob=blob)


def test_the_root_may_become_known_while_it_runs(tmp_path: Path) -> None:
    with served(tmp_path) as fresh:
        enclave = fresh.enclave()
        with refused("ValidationException", "no attestation root"):
            fresh.kms.generate_random(NumberOfBytes=8, Recipient=enclave.recipient())
        assert fresh.kms.generate_random(NumberOfBytes=8)["Plaintext"]

        fresh.root.write_bytes(fresh.authority.root_pem())
        assert enclave.open(fresh.kms.generate_random(NumberOfBytes=8, Recipient=enclave.recipient()))
