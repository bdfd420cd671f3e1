"""The policy that is printed is right: by the lint for every input, and by a KMS that enforces it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as some

from cloister.key_policy import key_policy
from cloister.lint import lint
from emulators.security_module import PCRS
from sealed.arn import KeyArn
from tests.emulators.kms.served import Person, Served

accounts = some.from_regex(r"[0-9]{12}", fullmatch=True)
names = some.from_regex(r"[A-Za-z0-9+=,.@_/-]{0,20}[A-Za-z0-9]", fullmatch=True)
measured = some.binary(min_size=48, max_size=48).filter(any).map(bytes.hex)
enclaves = some.dictionaries(some.integers(1, 15), measured, max_size=3)
partitions = some.sampled_from([("aws", "eu-central-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-north-1")])


@given(some.data(), partitions, accounts, accounts)
def test_no_policy_that_is_printed_has_a_finding(
    data: some.DataObject, place: tuple[str, str], account: str, hosting: str
) -> None:
    partition, region = place
    key = KeyArn(partition, region, account, "12345678-1234-1234-1234-123456789012")
    kinds = some.sampled_from(["user", "role"])
    own = some.lists(
        some.builds(lambda kind, name: f"arn:{partition}:iam::{account}:{kind}/own/{name}", kinds, names), min_size=1
    )
    document = key_policy(
        data.draw(some.lists(some.builds(lambda pcrs, zero: pcrs | {0: zero}, enclaves, measured), min_size=1)),
        tenant=data.draw(own),
        administrators=data.draw(own),
        enclave_role=f"arn:{partition}:iam::{hosting}:role/{data.draw(names)}",
    )
    assert lint(json.dumps(document), str(key)) == []


def under_the_printed_policy(kms: Served, tenant: Person, host: Person) -> str:
    """The ARN of a new key."""
    kms.root.write_bytes(kms.authority.root_pem())
    arn = kms.key()
    document = key_policy(
        [{index: PCRS[index].hex() for index in (0, 1, 2)}],
        tenant=[tenant.arn],
        administrators=[tenant.arn],
        enclave_role=host.arn,
    )
    kms.kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(document))
    return arn


def test_a_kms_under_the_printed_policy_decrypts_for_the_tenant_and_the_attested_enclave_alone(kms: Served) -> None:
    tenant, host, stranger = kms.user(), kms.user(), kms.user()
    arn = under_the_printed_policy(kms, tenant, host)
    blob = host.kms.encrypt(KeyId=arn, Plaintext=b"a secret")["CiphertextBlob"]
    call: dict[str, Any] = {"KeyId": arn, "CiphertextBlob": blob}

    assert tenant.kms.decrypt(**call)["Plaintext"] == b"a secret"
    enclave = kms.enclave()
    assert enclave.open(host.kms.decrypt(**call, Recipient=enclave.recipient())) == b"a secret"
    other = kms.enclave({0: b"another image".ljust(48)})
    for kms_client, refused in (
        (host.kms, call),
        (host.kms, call | {"Recipient": other.recipient()}),
        (stranger.kms, call),
        (stranger.kms, call | {"Recipient": enclave.recipient()}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            kms_client.decrypt(**refused)


def test_under_the_printed_policy_the_enclaves_host_makes_no_data_key_of_a_message(kms: Served) -> None:
    tenant, host = kms.user(), kms.user()
    arn = under_the_printed_policy(kms, tenant, host)
    for context in ({}, {"tenant_id": "acme", "purpose": "cloister-key-registration"}):
        host.kms.encrypt(KeyId=arn, Plaintext=bytes(32), EncryptionContext=context)
    forged = {"tenant_id": "acme", "request_id": "r-1", "purpose": "response"}
    with pytest.raises(ClientError, match="AccessDenied"):
        host.kms.encrypt(KeyId=arn, Plaintext=bytes(32), EncryptionContext=forged)
