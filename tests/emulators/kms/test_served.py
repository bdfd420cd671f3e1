"""The local KMS as clients see it: keys, callers, policies, grants, errors by KMS's names."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.emulators.kms.calls import ACCOUNT, EVERYTHING, allow, deny, text
from tests.emulators.kms.refused import refused
from tests.emulators.kms.served import REGION, TRUST, Served
from tests.patience import PATIENCE_S

MOTO_ACCOUNT = "123456789012"
ELSEWHERE = ACCOUNT


def root(account: str = MOTO_ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:root"


def blob(aws: Served, key: str, plaintext: bytes = b"a secret", **context: str) -> bytes:
    return bytes(aws.kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext=context)["CiphertextBlob"])


def test_what_was_encrypted_is_decrypted_with_or_without_its_key_named(aws: Served) -> None:
    key = aws.key()
    sealed = blob(aws, key, tenant="acme")

    for named in ({}, {"KeyId": key}, {"KeyId": key.rpartition("/")[2]}):
        answer = aws.kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"tenant": "acme"}, **named)
        assert (answer["Plaintext"], answer["KeyId"]) == (b"a secret", key)


def test_the_encryption_context_is_bound(aws: Served) -> None:
    key = aws.key()
    sealed = blob(aws, key, ab="c")

    for context in ({}, {"a": "bc"}, {"ab": "C"}, {"ab": "c", "d": ""}):
        with refused("InvalidCiphertextException"):
            aws.kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionContext=context)


def test_a_flipped_bit_anywhere_is_refused(aws: Served) -> None:
    key = aws.key()
    sealed = blob(aws, key)

    for at in range(len(sealed)):
        flipped = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(aws.kms.exceptions.ClientError) as error:
            aws.kms.decrypt(KeyId=key, CiphertextBlob=flipped)
        assert error.value.response["Error"]["Code"] in {"InvalidCiphertextException", "IncorrectKeyException"}


@pytest.mark.parametrize("data", [b"x", b"\x01" * 40, bytes(64), b"\x01123456789012\xff"])
def test_what_is_no_ciphertext_is_refused(aws: Served, data: bytes) -> None:
    with refused("InvalidCiphertextException"):
        aws.kms.decrypt(CiphertextBlob=data)


def test_another_key_is_incorrect(aws: Served) -> None:
    with refused("IncorrectKeyException"):
        aws.kms.decrypt(KeyId=aws.key(), CiphertextBlob=blob(aws, aws.key()))


def test_sizes_are_those_of_kms(aws: Served) -> None:
    key = aws.key()
    sealed = blob(aws, key, bytes(4096))

    assert len(sealed) <= 6144
    assert aws.kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == bytes(4096)
    with refused("ValidationException"):
        blob(aws, key, bytes(4097))
    with refused("ValidationException"):
        aws.kms.decrypt(CiphertextBlob=bytes(6145))
    with refused("ValidationException"):
        aws.kms.generate_random(NumberOfBytes=1025)
    with refused("ValidationException"):
        aws.kms.generate_data_key(KeyId=key)


def test_aliases_mean_their_key(aws: Served) -> None:
    key, other = aws.key(), aws.key()
    aws.kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
    alias_arn = key.rpartition(":")[0] + ":alias/mine"

    assert aws.kms.encrypt(KeyId="alias/mine", Plaintext=b"x")["KeyId"] == key
    assert aws.kms.decrypt(KeyId=alias_arn, CiphertextBlob=blob(aws, key))["KeyId"] == key
    with refused("IncorrectKeyException"):
        aws.kms.decrypt(KeyId="alias/mine", CiphertextBlob=blob(aws, other))
    with refused("NotFoundException", "alias/nobody"):
        aws.kms.encrypt(KeyId="alias/nobody", Plaintext=b"x")


@pytest.mark.parametrize("named", ["nonsense", "arn:aws:kms:us-east-1:1:key/x", "1234abcd-12ab-34cd-56ef-1234567890ab"])
def test_a_key_that_is_not_there_is_not_found(aws: Served, named: str) -> None:
    with refused("NotFoundException"):
        aws.kms.encrypt(KeyId=named, Plaintext=b"x")


def test_a_key_of_another_region_is_not_found(aws: Served) -> None:
    key = aws.key()
    there = aws.operator_in("eu-west-1")

    with refused("NotFoundException"):
        aws.kms.decrypt(KeyId=key.replace("aws", "aws-us-gov", 1), CiphertextBlob=blob(aws, key))
    with refused("NotFoundException", REGION):
        there.decrypt(KeyId=key, CiphertextBlob=blob(aws, key))
    with refused("AccessDeniedException", "does not exist in this region"):
        there.decrypt(CiphertextBlob=blob(aws, key))


def test_a_multi_region_key_opens_in_both_regions(aws: Served) -> None:
    key = aws.key(MultiRegion=True)
    aws.kms.replicate_key(KeyId=key.rpartition("/")[2], ReplicaRegion="eu-west-1")

    assert aws.operator_in("eu-west-1").decrypt(CiphertextBlob=blob(aws, key))["Plaintext"] == b"a secret"


def test_a_key_that_cannot_be_used_says_why(aws: Served) -> None:
    key = aws.key()
    sealed = blob(aws, key)

    for named in (key, key.rpartition("/")[2]):
        aws.kms.disable_key(KeyId=named)
        with refused("DisabledException"):
            aws.kms.decrypt(CiphertextBlob=sealed)
        aws.kms.enable_key(KeyId=named)
        assert aws.kms.decrypt(CiphertextBlob=sealed)["Plaintext"]
        aws.kms.schedule_key_deletion(KeyId=named, PendingWindowInDays=7)
        with refused("KMSInvalidStateException"):
            aws.kms.decrypt(CiphertextBlob=sealed)
        aws.kms.cancel_key_deletion(KeyId=named)
        aws.kms.enable_key(KeyId=named)


def test_a_key_for_something_else_is_refused(aws: Served) -> None:
    signing = aws.key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    ciphers = aws.key()

    with refused("InvalidKeyUsageException"):
        aws.kms.encrypt(KeyId=signing, Plaintext=b"x")
    with refused("InvalidKeyUsageException"):
        aws.kms.sign(KeyId=ciphers, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")
    with refused("InvalidKeyUsageException"):
        aws.kms.encrypt(KeyId=ciphers, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    with refused("UnsupportedOperationException"):
        aws.kms.generate_data_key_pair(KeyId=ciphers, KeyPairSpec="SM2")


def test_re_encryption_needs_both_keys(aws: Served) -> None:
    person = aws.user()
    source = aws.key(text(allow(root(), "kms:*"), allow(person.arn, "kms:ReEncryptFrom")))
    destination = aws.key(text(allow(root(), "kms:*"), allow(person.arn, "kms:ReEncrypt*")))
    asked = {"CiphertextBlob": blob(aws, source), "DestinationKeyId": destination}
    answer = person.kms.re_encrypt(**asked, DestinationEncryptionContext={"now": "bound"})
    opened = aws.kms.decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext={"now": "bound"})

    assert (answer["SourceKeyId"], answer["KeyId"]) == (source, destination)
    assert opened["Plaintext"] == b"a secret"
    with refused("AccessDeniedException", "kms:ReEncryptTo"):
        person.kms.re_encrypt(CiphertextBlob=blob(aws, destination), DestinationKeyId=source)


def test_signing_is_judged_here_and_done_by_moto(aws: Served) -> None:
    person = aws.user()
    policy = text(allow(root(), "kms:*"), allow(person.arn, "kms:Verify"))
    key = aws.key(policy, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    asked = {"KeyId": key, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = aws.kms.sign(**asked)["Signature"]

    assert person.kms.verify(**asked, Signature=signature)["SignatureValid"]
    with refused("AccessDeniedException", "kms:Sign"):
        person.kms.sign(**asked)


def test_a_user_needs_the_key_or_their_account_on_their_side(aws: Served) -> None:
    nobody, trusted = aws.user(), aws.user(text(EVERYTHING))
    key = aws.key()

    with refused("AccessDeniedException", "no identity-based policy"):
        nobody.kms.decrypt(CiphertextBlob=blob(aws, key))
    assert trusted.kms.decrypt(CiphertextBlob=blob(aws, key))["Plaintext"] == b"a secret"

    aws.kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=text(allow(root(), "kms:*"), allow(nobody.arn), deny(trusted.arn))
    )
    assert nobody.kms.decrypt(CiphertextBlob=blob(aws, key))["Plaintext"] == b"a secret"
    with refused("AccessDeniedException", "explicit deny"):
        trusted.kms.decrypt(CiphertextBlob=blob(aws, key))


def test_groups_and_attached_policies_count(aws: Served) -> None:
    person, key = aws.user(), aws.key()
    name = person.arn.rpartition("/")[2]
    policy = aws.iam.create_policy(PolicyName=name, PolicyDocument=text({**EVERYTHING, "Action": "kms:Decrypt"}))
    aws.iam.create_group(GroupName=name)
    aws.iam.attach_group_policy(GroupName=name, PolicyArn=policy["Policy"]["Arn"])

    with refused("AccessDeniedException"):
        person.kms.decrypt(CiphertextBlob=blob(aws, key))
    aws.iam.add_user_to_group(GroupName=name, UserName=name)
    assert person.kms.decrypt(CiphertextBlob=blob(aws, key))["Plaintext"] == b"a secret"
    with refused("AccessDeniedException"):
        person.kms.encrypt(KeyId=key, Plaintext=b"x")


def test_the_session_of_a_role_is_the_role_and_its_policy_narrows_it(aws: Served) -> None:
    role = aws.role()
    key = aws.key(text(allow(root(), "kms:*"), allow(role, ["kms:Decrypt", "kms:Encrypt"])))
    wide = aws.assumed(role)
    narrow = aws.assumed(role, Policy=text({**EVERYTHING, "Action": "kms:Encrypt"}))

    assert wide.kms.decrypt(CiphertextBlob=blob(aws, key))["Plaintext"] == b"a secret"
    assert narrow.kms.encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key
    with refused("AccessDeniedException", "no session policy"):
        narrow.kms.decrypt(CiphertextBlob=blob(aws, key))


def test_another_account_needs_its_own_leave_too(aws: Served) -> None:
    stranger = aws.assumed(f"arn:aws:iam::{ELSEWHERE}:role/visitor")
    key = aws.key(text(allow(root(), "kms:*"), allow(root(ELSEWHERE))))
    asked = {"KeyId": key, "CiphertextBlob": blob(aws, key)}

    with refused("AccessDeniedException", "no identity-based policy"):
        stranger.kms.decrypt(**asked)
    stranger.iam.create_role(RoleName="visitor", AssumeRolePolicyDocument=TRUST)
    stranger.iam.put_role_policy(RoleName="visitor", PolicyName="own", PolicyDocument=text(EVERYTHING))
    assert stranger.kms.decrypt(**asked)["Plaintext"] == b"a secret"


def test_a_grant_holds_within_its_constraints_until_it_is_revoked(aws: Served) -> None:
    person, key = aws.user(), aws.key()
    grant = aws.kms.create_grant(
        KeyId=key,
        GranteePrincipal=person.arn,
        Operations=["Decrypt"],
        Constraints={"EncryptionContextSubset": {"tenant": "acme"}},
    )
    ours, theirs = blob(aws, key, tenant="acme"), blob(aws, key, tenant="umbrella")

    assert person.kms.decrypt(CiphertextBlob=ours, EncryptionContext={"tenant": "acme"})["Plaintext"] == b"a secret"
    with refused("AccessDeniedException"):
        person.kms.decrypt(CiphertextBlob=theirs, EncryptionContext={"tenant": "umbrella"})
    with refused("AccessDeniedException"):
        person.kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"tenant": "acme"})

    aws.kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    with refused("AccessDeniedException"):
        person.kms.decrypt(CiphertextBlob=ours, EncryptionContext={"tenant": "acme"})


def test_a_grant_does_not_lift_a_deny(aws: Served) -> None:
    person = aws.user()
    key = aws.key(text(allow(root(), "kms:*"), deny(person.arn)))
    aws.kms.create_grant(KeyId=key, GranteePrincipal=person.arn, Operations=["Decrypt"])

    with refused("AccessDeniedException", "explicit deny"):
        person.kms.decrypt(CiphertextBlob=blob(aws, key))


def test_a_dry_run_tells_and_does_nothing(aws: Served) -> None:
    key, nobody = aws.key(), aws.user()

    with refused("DryRunOperationException"):
        aws.kms.decrypt(CiphertextBlob=blob(aws, key), DryRun=True)
    with refused("AccessDeniedException"):
        nobody.kms.decrypt(CiphertextBlob=blob(aws, key), DryRun=True)


@pytest.mark.parametrize("policy", ["nonsense", text(EVERYTHING), text({**allow("*"), "NotPrincipal": "*"})])
def test_a_key_takes_no_policy_that_cannot_be_read(aws: Served, policy: str) -> None:
    with refused("MalformedPolicyDocumentException"):
        aws.kms.create_key(Policy=policy)
    with refused("MalformedPolicyDocumentException"):
        aws.kms.put_key_policy(KeyId=aws.key(), PolicyName="default", Policy=policy)


def test_an_unknown_access_key_is_refused_whatever_it_asks(aws: Served) -> None:
    stranger = aws.client("kms", "AKIAUNKNOWN", "secret")

    for ask in (stranger.list_keys, lambda: stranger.generate_random(NumberOfBytes=1)):
        with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
            ask()


def test_an_access_key_that_was_taken_away_is_refused(aws: Served) -> None:
    person = aws.user(text(EVERYTHING))
    name = person.arn.rpartition("/")[2]
    [key] = aws.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]

    assert person.kms.generate_random(NumberOfBytes=1)
    aws.iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("UnrecognizedClientException"):
        person.kms.generate_random(NumberOfBytes=1)


def test_a_request_that_is_not_signed_is_refused(aws: Served) -> None:
    answer = requests.post(aws.url, data=b"{}", headers={"X-Amz-Target": "TrentService.ListKeys"}, timeout=PATIENCE_S)

    assert (answer.status_code, answer.json()["__type"]) == (400, "MissingAuthenticationTokenException")


def test_a_region_that_does_not_exist_is_refused(aws: Served) -> None:
    with refused("InvalidSignatureException", "region"):
        aws.operator_in("xx-nowhere-1").list_keys()


def test_threads_do_not_disturb_each_other(aws: Served) -> None:
    def exchange(number: int) -> bool:
        key = aws.key() if number % 4 == 0 else shared
        sealed = blob(aws, key, json.dumps(number).encode(), number=str(number))
        opened = aws.kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionContext={"number": str(number)})
        return bool(opened["Plaintext"] == json.dumps(number).encode())

    shared = aws.key()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(exchange, range(64)))
