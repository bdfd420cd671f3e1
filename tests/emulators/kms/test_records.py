"""What CloudTrail would tell: who, what, which key, which enclave; never a secret."""

from base64 import b64encode

from emulators.security_module import MODULE_ID, PCRS
from tests.emulators.kms.calls import allow, text
from tests.emulators.kms.refused import refused
from tests.emulators.kms.served import Served, recipient

SECRET = b"a secret that nobody may read in a record"
CONTEXT = {"tenant_id": "acme"}


def test_a_decrypt_tells_who_which_key_and_which_enclave(aws: Served) -> None:
    key, enclave = aws.key(), aws.enclave()
    blob = aws.kms.encrypt(KeyId=key, Plaintext=SECRET, EncryptionContext=CONTEXT)["CiphertextBlob"]
    answer = aws.kms.decrypt(CiphertextBlob=blob, KeyId=key, EncryptionContext=CONTEXT, Recipient=enclave.recipient())
    encrypted, decrypted = aws.records(key)

    assert (encrypted["eventName"], decrypted["eventName"]) == ("Encrypt", "Decrypt")
    assert decrypted["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert decrypted["userIdentity"]["arn"].endswith(":user/kms-operator")
    assert decrypted["requestParameters"] == {"keyId": key, "encryptionContext": CONTEXT}
    assert decrypted["resources"] == [{"accountId": key.split(":")[4], "type": "AWS::KMS::Key", "ARN": key}]
    assert decrypted["additionalEventData"]["recipient"] == {
        "attestationDocumentModuleId": MODULE_ID,
        "attestationDocumentEnclaveImageDigest": PCRS[0].hex(),
        **{f"attestationDocumentEnclavePCR{number}": PCRS[number].hex() for number in (1, 2, 3, 4, 8)},
    }
    assert "errorCode" not in decrypted
    assert "additionalEventData" not in encrypted


def test_a_denial_is_recorded_with_the_enclave_that_was_denied(aws: Served) -> None:
    person = aws.user()
    key = aws.key(text(allow("*", "kms:Encrypt")))
    blob = aws.kms.encrypt(KeyId=key, Plaintext=SECRET)["CiphertextBlob"]

    with refused("AccessDeniedException"):
        person.kms.decrypt(CiphertextBlob=blob, Recipient=aws.enclave({0: b"\x07" * 48}).recipient())
    denied = aws.records(key)[-1]

    assert denied["errorCode"] == "AccessDeniedException"
    assert denied["userIdentity"]["arn"] == person.arn
    assert denied["additionalEventData"]["recipient"]["attestationDocumentEnclaveImageDigest"] == "07" * 48


def test_a_document_that_is_refused_tells_of_no_enclave(aws: Served) -> None:
    key = aws.key()
    with refused("ValidationException"):
        aws.kms.generate_data_key(KeyId=key, KeySpec="AES_256", Recipient=recipient(b"noise"))
    [told] = aws.records(key)

    assert told["errorCode"] == "ValidationException"
    assert "additionalEventData" not in told


def test_the_session_of_a_role_is_told_with_its_role(aws: Served) -> None:
    role = aws.role()
    key = aws.key(text(allow(role, "kms:GenerateDataKey")))
    session = aws.assumed(role)
    session.kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    [told] = aws.records(key)

    assert told["userIdentity"]["type"] == "AssumedRole"
    assert told["userIdentity"]["arn"] == session.arn
    assert told["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == role


def test_no_secret_is_recorded(aws: Served) -> None:
    key = aws.key()
    sealed = aws.kms.encrypt(KeyId=key, Plaintext=SECRET)
    aws.kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])
    made = aws.kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    told = str(aws.records(key))

    assert len(aws.records(key)) == 3
    for secret in (SECRET, sealed["CiphertextBlob"], made["Plaintext"], made["CiphertextBlob"]):
        assert b64encode(secret).decode() not in told
        assert repr(secret)[2:-1] not in told
