"""The routes of sealed inference against the enclave and the KMS of the running local system."""

import base64
import hashlib
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from sealed import attestation
from sealed.attestation import Attestation
from sealed.hpke_keys import KeyConfiguration
from sealed.measurements import Measurements
from sealed.refusal import DocumentRefused
from tests.e2e.admin import new_tenant
from tests.e2e.sealed_tenants import SealedTenant, new_key
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S


def tenant(system: RunningSystem) -> SealedTenant:
    """A new one, without any key yet."""
    name = f"sealing-{secrets.token_hex(6)}"
    return SealedTenant(system, name, new_tenant(system, name))


def ask(who: SealedTenant, method: str, path: str, **more: Any) -> requests.Response:
    return requests.request(method, f"{who.url}{path}", headers=who.headers, timeout=PATIENCE_S, **more)


def challenged(who: SealedTenant, arn: str) -> bytes:
    answer = ask(who, "POST", "/kms-keys", json={"key_arn": arn})
    assert answer.status_code == 201, answer.text
    return base64.b64decode(answer.json()["challenge"])


def proof(who: SealedTenant, arn: str, challenge: bytes) -> bytes:
    """What the tenant makes of its challenge with its own right to the key."""
    context = {"tenant_id": who.name, "purpose": "cloister-key-registration"}
    secret = who.kms.decrypt(KeyId=arn, CiphertextBlob=challenge, EncryptionContext=context)["Plaintext"]
    context = {"tenant_id": who.name, "purpose": "cloister-key-proof"}
    made: bytes = who.kms.encrypt(KeyId=arn, Plaintext=secret, EncryptionContext=context)["CiphertextBlob"]
    return made


def keys(who: SealedTenant) -> list[str]:
    return [key["key_arn"] for key in ask(who, "GET", "/kms-keys").json()["keys"]]


def verified(system: RunningSystem, document: str) -> Attestation:
    root = attestation.root_of(Path(system.env["CLOISTER_ATTESTATION_ROOT"]).read_bytes())
    return attestation.verify(base64.b64decode(document), root=root, now_ms=time.time_ns() // 1_000_000)


def test_the_proof_of_another_tenants_challenge_is_none(running_system: RunningSystem) -> None:
    """Both may use the key; each must prove it for itself."""
    ours, theirs, arn = tenant(running_system), tenant(running_system), new_key(running_system)
    challenged(ours, arn)
    assert ours.prove(arn, proof(theirs, arn, challenged(theirs, arn))).status_code == 401
    assert keys(ours) == keys(theirs) == []


def test_of_two_tenants_who_prove_one_key_at_once_exactly_one_gets_it(running_system: RunningSystem) -> None:
    both, arn = [tenant(running_system), tenant(running_system)], new_key(running_system)
    proofs = [proof(who, arn, challenged(who, arn)) for who in both]
    together = threading.Barrier(2)

    def prove(number: int) -> int:
        together.wait(PATIENCE_S)
        return both[number].prove(arn, proofs[number]).status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(prove, (0, 1))) == [200, 409]
    assert sorted(keys(who) for who in both) == [[], [arn]]


def test_a_removed_key_goes_to_whoever_proves_it_next(running_system: RunningSystem) -> None:
    first, second, arn = tenant(running_system), tenant(running_system), new_key(running_system)
    assert first.register(arn).status_code == 200
    assert second.register(arn).status_code == 409
    assert ask(first, "DELETE", f"/kms-keys/{arn.rpartition('/')[2]}").status_code == 204
    assert second.register(arn).status_code == 200
    assert (keys(first), keys(second)) == ([], [arn])


def test_the_enclave_proves_itself_and_the_key_configuration_of_the_current_epoch(
    running_system: RunningSystem,
) -> None:
    nonce = secrets.token_bytes(32)
    admin = {"Authorization": f"Bearer {running_system.admin_key}"}
    begun = requests.post(
        f"{running_system.base_url}/admin/key-epochs", json={}, headers=admin, timeout=PATIENCE_S
    ).json()
    query = base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()
    answer = ask(tenant(running_system), "GET", f"/attestation?nonce={query}")
    raw = msgspec.json.decode(answer.content, type=dict[str, msgspec.Raw])
    configuration = KeyConfiguration.parse(bytes(raw["configuration"]))

    said = verified(running_system, answer.json()["document"])
    allowed = Measurements.of(running_system.env["CLOISTER_PCR0"])
    attestation.check(said, nonce=nonce, allowed=allowed, user_data=configuration.fingerprint())
    assert (configuration.epoch, configuration.expires_ms) == (begun["epoch"], begun["expires_ms"])
    with pytest.raises(DocumentRefused):
        attestation.check(said, nonce=nonce[::-1], allowed=allowed, user_data=configuration.fingerprint())


def test_a_probe_shows_that_a_key_opens_to_the_enclave_and_only_with_its_document(
    running_system: RunningSystem,
) -> None:
    who, arn, nonce = tenant(running_system), new_key(running_system), secrets.token_bytes(32)
    assert who.register(arn).status_code == 200
    context = {"tenant_id": who.name, "purpose": "cloister-doctor"}
    sealed = who.kms.encrypt(KeyId=arn, Plaintext=b"doctor", EncryptionContext=context)["CiphertextBlob"]
    body = {"nonce": base64.b64encode(nonce).decode(), "ciphertext": base64.b64encode(sealed).decode()}
    answer = ask(who, "POST", f"/kms-keys/{arn.rpartition('/')[2]}/probe", json=body)
    assert answer.status_code == 200, answer.text

    said = verified(running_system, answer.json()["document"])
    assert said.nonce == nonce and said.user_data is not None
    assert msgspec.json.decode(said.user_data) == {
        "key_sha256": hashlib.sha256(arn.encode()).hexdigest(),
        "attested": "ok",
        "unattested": "AccessDeniedException",
    }
