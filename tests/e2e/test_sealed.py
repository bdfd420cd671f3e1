"""Sealed inference on the running system, with nothing but boto3 and `requests`."""

import base64
import hashlib
import json
import os
import secrets

import boto3
import pytest
import requests

from chalicelib.inference.plan import KMS_BLOB_BYTES
from sealed import esdk
from tests.e2e.admin import entries
from tests.e2e.sealed_tenants import SealedTenant, aws, new_key, sealed_tenant
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

ASKED = {"prompt": "What is Cloister?", "max_tokens": 24, "temperature": 0}


@pytest.fixture(scope="module")
def acme(running_system: RunningSystem) -> tuple[SealedTenant, str]:
    return sealed_tenant(running_system, "sealed-acme")


def test_the_plainest_client_works_as_it_stands(running_system: RunningSystem) -> None:
    """The demo tenant's key from `.local/env`; boto3 and requests as anybody would write them."""
    env = running_system.env
    arn, nonce = env["CLOISTER_KMS_KEY_ARN"], secrets.token_hex(16)
    kms = boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    blob = kms.encrypt(KeyId=arn, Plaintext=json.dumps({**ASKED, "nonce": nonce}))["CiphertextBlob"]
    answer = requests.post(
        f"{env['CLOISTER_BASE_URL']}/inference",
        data=blob,
        headers={
            "Content-Type": "application/octet-stream",
            "X-API-Key": env["CLOISTER_API_KEY"],
            "X-Tenant-ID": env["CLOISTER_TENANT"],
            "X-KMS-Key-ID": arn,
            "X-Model-Pool": "demo",
            "X-Request-ID": "plain-1",
        },
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Request-ID"] == "plain-1"
    opened = json.loads(kms.decrypt(CiphertextBlob=answer.content)["Plaintext"])
    assert "Cloister" in opened["text"]
    assert opened["request_id"] == "plain-1"
    assert opened["usage"]["completion_tokens"] > 0
    assert opened["echo"] == {"nonce": nonce, "request_sha256": hashlib.sha256(blob).hexdigest()}


def test_nothing_of_what_was_said_is_in_any_log(running_system: RunningSystem, acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    word = f"xyzzy{secrets.token_hex(6)}"
    answer = tenant.infer(tenant.sealed(arn, {**ASKED, "prompt": word}), arn)
    assert answer.status_code == 200
    said = json.loads(tenant.kms.decrypt(CiphertextBlob=answer.content)["Plaintext"])["text"]
    logs = "".join(path.read_text(errors="replace") for path in (running_system.state_dir / "logs").iterdir())
    assert "plain-1" in logs or answer.headers["X-Request-ID"] in logs
    assert word not in logs
    assert len(said) < 12 or said not in logs


def test_the_ledger_says_that_it_was_sealed_and_what_it_cost(
    running_system: RunningSystem, acme: tuple[SealedTenant, str]
) -> None:
    tenant, arn = acme
    answer = tenant.infer(tenant.sealed(arn, ASKED), arn)
    usage = json.loads(tenant.kms.decrypt(CiphertextBlob=answer.content)["Plaintext"])["usage"]
    newest = entries(running_system, tenant.name, tenant.api_key)[0]
    assert (newest["sealed"], newest["outcome"]) == ("kms", "completed")
    assert newest["charged"]["tokens"] == usage["total_tokens"]


def test_the_ceiling_of_the_header_binds_the_request(acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    answer = tenant.infer(tenant.sealed(arn, {**ASKED, "max_tokens": 200}), arn, X_Max_Tokens="3")
    opened = json.loads(tenant.kms.decrypt(CiphertextBlob=answer.content)["Plaintext"])
    assert (opened["usage"]["completion_tokens"], opened["finish_reason"]) == (3, "length")


def test_a_replayed_request_is_refused(acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    blob = tenant.sealed(arn, ASKED)
    assert tenant.infer(blob, arn).status_code == 200
    again = tenant.infer(blob, arn)
    assert (again.status_code, again.json()["type"]) == (401, "/problems/key-validation-failed")


def test_one_tenants_ciphertext_is_not_opened_for_another(
    running_system: RunningSystem, acme: tuple[SealedTenant, str]
) -> None:
    """Whatever key the other one names: its own does not open it, and this one is not registered to it."""
    tenant, arn = acme
    other, others_arn = sealed_tenant(running_system, "sealed-other")
    for named in (others_arn, arn, None):
        refused = other.infer(tenant.sealed(arn, ASKED), named)
        assert (refused.status_code, refused.json()["title"]) == (401, "Key validation failed")
    with pytest.raises(other.kms.exceptions.IncorrectKeyException):
        other.kms.decrypt(CiphertextBlob=tenant.sealed(arn, ASKED), KeyId=others_arn)


def test_any_flipped_bit_of_a_request_is_refused_with_one_text(acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    blob = tenant.sealed(arn, ASKED)
    texts = set()
    for at in range(0, len(blob), max(1, len(blob) // 12)):
        flipped = bytes([*blob[:at], blob[at] ^ 1, *blob[at + 1 :]])
        refused = tenant.infer(flipped, arn)
        assert refused.status_code == 401, at
        texts.add(refused.json()["detail"])
    assert len(texts) == 1


def test_too_much_for_the_mode_is_413_and_says_which_mode_carries_it(acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    refused = tenant.infer(os.urandom(KMS_BLOB_BYTES + 1), arn)
    assert refused.status_code == 413
    assert "esdk" in refused.json()["detail"]


def test_an_answer_too_long_for_the_mode_is_413_and_not_charged(
    running_system: RunningSystem, acme: tuple[SealedTenant, str]
) -> None:
    tenant, arn = acme
    asked = {"prompt": "Tell me everything.", "max_tokens": 1_900, "temperature": 1.5, "ignore_eos": True}
    refused = tenant.infer(tenant.sealed(arn, asked), arn, X_Max_Tokens="1900")
    assert refused.status_code == 413, refused.text
    assert "esdk" in refused.json()["detail"]
    assert entries(running_system, tenant.name, tenant.api_key)[0]["charged"]["tokens"] == 0


@pytest.mark.parametrize(
    ("headers", "status", "word"),
    [
        ({"X_Seal_Mode": "rot13"}, 400, "x-seal-mode"),
        ({"X_Max_Tokens": "many"}, 400, "x-max-tokens"),
        ({"X_Max_Tokens": "0"}, 400, "x-max-tokens"),
        ({"X_Seal_Stream": "true"}, 400, "Only chats and completions"),
        ({"X_Model_Pool": "demo-multi"}, 400, "sealed"),
        ({"X_Model_Pool": "none-such"}, 404, "none-such"),
        ({"X_Seal_Mode": "esdk", "X_Request_ID": "no spaces"}, 400, "X-Request-ID"),
    ],
)
def test_headers_that_make_no_sense_are_named(
    acme: tuple[SealedTenant, str], headers: dict[str, str], status: int, word: str
) -> None:
    tenant, arn = acme
    refused = tenant.infer(tenant.sealed(arn, ASKED), arn, **headers)
    assert (refused.status_code, word in refused.text) == (status, True), refused.text


def test_what_is_opened_and_is_no_request_is_400_and_tells_nothing_of_it(acme: tuple[SealedTenant, str]) -> None:
    tenant, arn = acme
    for plaintext in (b"not json", b"{}", b'{"prompt": 7}', b'{"prompt": "secretword", "n": 2}', b'["secretword"]'):
        blob = tenant.kms.encrypt(KeyId=arn, Plaintext=plaintext)["CiphertextBlob"]
        refused = tenant.infer(blob, arn)
        assert refused.status_code == 400, (plaintext, refused.text)
        assert "secretword" not in refused.text


class TestKeys:
    def test_another_tenants_key_cannot_be_registered(
        self, running_system: RunningSystem, acme: tuple[SealedTenant, str]
    ) -> None:
        _, arn = acme
        thief, _ = sealed_tenant(running_system, "sealed-thief")
        refused = thief.register(arn)
        assert refused.status_code == 409
        assert "sealed-acme" not in refused.text

    def test_a_key_is_registered_only_by_who_can_decrypt_with_it(self, acme: tuple[SealedTenant, str]) -> None:
        tenant, _ = acme
        arn = new_key(tenant.system)
        asked = requests.post(
            f"{tenant.url}/kms-keys", json={"key_arn": arn}, headers=tenant.headers, timeout=PATIENCE_S
        )
        assert asked.status_code == 201
        context = {"tenant_id": tenant.name, "purpose": "cloister-key-proof"}
        guess = tenant.kms.encrypt(KeyId=arn, Plaintext=b"a guess", EncryptionContext=context)["CiphertextBlob"]
        challenge = base64.b64decode(asked.json()["challenge"])
        for proof in (guess, challenge, b"garbage"):
            assert tenant.prove(arn, proof).status_code == 401

    @pytest.mark.parametrize("region", ["eu-west-1"])
    def test_a_key_of_another_region_is_refused(self, acme: tuple[SealedTenant, str], region: str) -> None:
        tenant, _ = acme
        assert tenant.register(new_key(tenant.system, region)).status_code == 400

    def test_an_alias_is_refused_with_what_to_send_instead(self, acme: tuple[SealedTenant, str]) -> None:
        tenant, arn = acme
        for name in ("alias/mine", f"{arn.partition(':key/')[0]}:alias/mine", arn.rpartition("/")[2], arn + "\n"):
            refused = tenant.register(name)
            assert refused.status_code == 400
            assert "full ARN" in refused.json()["detail"]

    def test_a_key_that_admits_other_measurements_does_not_open_to_this_enclave(
        self, acme: tuple[SealedTenant, str]
    ) -> None:
        tenant, _ = acme
        assert tenant.register(new_key(tenant.system, pcr0="ab" * 48)).status_code == 401

    def test_a_removed_key_opens_nothing_from_the_next_request_on(self, acme: tuple[SealedTenant, str]) -> None:
        tenant, _ = acme
        arn = new_key(tenant.system)
        assert tenant.register(arn).status_code == 200
        assert tenant.infer(tenant.sealed(arn, ASKED), arn).status_code == 200
        gone = requests.delete(
            f"{tenant.url}/kms-keys/{arn.rpartition('/')[2]}", headers=tenant.headers, timeout=PATIENCE_S
        )
        assert gone.status_code == 204
        assert tenant.infer(tenant.sealed(arn, ASKED), arn).status_code == 401


@pytest.fixture(scope="module")
def holder(running_system: RunningSystem) -> tuple[SealedTenant, str]:
    """A tenant whose KMS key is credential enough, and who may ask three times an hour."""
    rate = {"name": "few", "unit": "requests", "count": 3, "period_ms": 3_600_000, "burst": 3}
    tenant, arn = sealed_tenant(
        running_system, "sealed-holder", limits={"rates": [rate], "budgets": [], "in_flight": 4}
    )
    wanted = requests.put(f"{tenant.url}/sealing", json={"auth": "kms"}, headers=tenant.headers, timeout=PATIENCE_S)
    assert wanted.status_code == 200, wanted.text
    return tenant, arn


def esdk_request(tenant: SealedTenant, arn: str, request_id: str) -> tuple[bytes, dict[str, str]]:
    """A message of mode esdk, and the headers of somebody without an API key who sends it."""
    context = esdk.request_context(tenant=tenant.name, request_id=request_id)
    message = esdk.seal(tenant.kms, arn, context, json.dumps(ASKED).encode())
    return message, stranger(tenant) | {"X-Seal-Mode": "esdk", "X-Request-ID": request_id}


def stranger(tenant: SealedTenant) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "X-Tenant-ID": tenant.name, "X-Model-Pool": "demo"}


class TestPossession:
    def test_no_api_key_is_needed_and_strangers_use_nothing_up(
        self, running_system: RunningSystem, holder: tuple[SealedTenant, str]
    ) -> None:
        tenant, arn = holder
        url = f"{running_system.base_url}/inference"
        message, headers = esdk_request(tenant, arn, "holder-1")
        for _ in range(8):
            refused = requests.post(url, data=os.urandom(200), headers=headers, timeout=PATIENCE_S)
            assert refused.status_code == 401
        answer = requests.post(url, data=message, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        response = esdk.response_context(tenant=tenant.name, request_id="holder-1")
        assert b"text" in esdk.open(tenant.kms, arn, response, answer.content)
        assert requests.post(url, data=message, headers=headers, timeout=PATIENCE_S).status_code == 401

    def test_who_has_only_seen_requests_and_answers_pass_holds_no_key_and_uses_nothing_up(
        self, running_system: RunningSystem
    ) -> None:
        # One more than it uses up: a burst that comes at once may be short of one.
        rate = {"name": "few", "unit": "requests", "count": 4, "period_ms": 3_600_000, "burst": 4}
        limits = {"rates": [rate], "budgets": [], "in_flight": 4}
        tenant, arn = sealed_tenant(running_system, "sealed-holder-seen", limits=limits)
        requests.put(f"{tenant.url}/sealing", json={"auth": "kms"}, headers=tenant.headers, timeout=PATIENCE_S)
        url = f"{running_system.base_url}/inference"
        message, headers = esdk_request(tenant, arn, "seen-1")
        answer = requests.post(url, data=message, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        for seen in (message, answer.content) * 2:
            assert requests.post(url, data=seen, headers=headers, timeout=PATIENCE_S).status_code == 401
        for request_id, status in (("seen-2", 200), ("seen-2", 401)):
            message, headers = esdk_request(tenant, arn, request_id)
            got = requests.post(url, data=message, headers=headers, timeout=PATIENCE_S)
            assert got.status_code == status, got.text

    def test_what_the_enclaves_host_can_make_as_well_lets_nobody_in(
        self, running_system: RunningSystem, holder: tuple[SealedTenant, str]
    ) -> None:
        tenant, arn = holder
        url = f"{running_system.base_url}/inference"
        refused = requests.post(url, data=tenant.sealed(arn, ASKED), headers=stranger(tenant), timeout=PATIENCE_S)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/invalid-api-key")
        assert "seal in mode esdk" in refused.json()["detail"]

    def test_others_still_need_theirs(self, acme: tuple[SealedTenant, str]) -> None:
        tenant, arn = acme
        message, headers = esdk_request(tenant, arn, "others-1")
        url = f"{tenant.system.base_url}/inference"
        assert requests.post(url, data=message, headers=headers, timeout=PATIENCE_S).status_code == 401


def test_the_enclaves_role_opens_nothing_without_its_document(
    running_system: RunningSystem, acme: tuple[SealedTenant, str]
) -> None:
    """Every use of a key that the local KMS has granted the enclave was attested, and is on record."""
    tenant, arn = acme
    tenant.infer(tenant.sealed(arn, ASKED), arn)
    lines = (running_system.state_dir / "logs" / "kms-records.log").read_text().splitlines()
    decrypts = [
        said
        for said in map(json.loads, lines)
        if said["eventName"] == "Decrypt" and said["userIdentity"]["arn"].endswith("cloister-enclave")
    ]
    assert decrypts
    assert all(said.get("errorCode") or said["additionalEventData"]["recipient"] for said in decrypts)
    assert aws(running_system, "sts").get_caller_identity()["Arn"] not in {d["userIdentity"]["arn"] for d in decrypts}
