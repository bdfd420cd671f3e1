"""KMS keys, registered and removed over HTTP, with an enclave that answers by tickets."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app import app
from chalicelib import wiring
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.identity import ENCRYPTING_PROVES_NOTHING
from chalicelib.refusal import NotOpened
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.kms_keys import CHALLENGE_MS
from tests import api_gateway
from tests.small_deployments import Answer, Deployment, Gateway
from tests.tenancy.interleaving import Interrupted
from tests.tickets.sealers import Sealer, base64_of, id_of


@pytest.fixture
def sealer(gateway: Gateway, deployment: Deployment) -> Iterator[Sealer]:
    sealer = Sealer(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield sealer


def test_a_key_is_registered_by_who_can_decrypt_and_encrypt_with_it(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    challenge = sealer.challenged(arn)
    assert (challenge.status, challenge.json["key_arn"]) == (201, arn)
    assert challenge.json["expires_ms"] == sealer.deployment.clock() + CHALLENGE_MS
    proved = sealer.proved(arn, sealer.proof(arn, challenge.json["challenge"]))
    registered = {"key_arn": arn, "registered_ms": sealer.deployment.clock()}
    assert (proved.status, proved.json) == (200, registered)
    assert sealer("GET", "/kms-keys").json == {"keys": [registered]}
    assert sealer("GET", "").json["sealing"] == {
        "auth": "api_key",
        "keys": [{"arn": arn, "registered_ms": registered["registered_ms"]}],
    }


def test_each_question_is_permitted_for_its_tenant_and_key_alone(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    sealer.register(arn)
    for claims, use in zip(sealer.enclave.permitted, ("challenge", "prove"), strict=True):
        assert (claims.use, claims.tenant, claims.key_arn, claims.pool) == (use, "acme", arn, "sealed")
        assert (claims.mode, claims.operation, claims.surface, claims.ceiling_tokens) == ("", "", "", 0)


def test_another_tenants_key_cannot_be_registered_even_by_who_may_use_it(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    sealer.register(arn, "bolt")
    taken = sealer.register(arn, "acme")
    assert (taken.status, taken.json["type"]) == (409, "/problems/conflict")
    assert b"bolt" not in taken.body.lower()
    assert (sealer.keys("acme"), sealer.keys("bolt")) == ([], [arn])


def test_of_two_tenants_at_once_exactly_one_gets_the_key(sealer: Sealer) -> None:
    """While acme's proof is with the enclave, bolt proves the same key."""
    arn = sealer.kms.key()
    challenges = {tenant: sealer.challenged(arn, tenant).json["challenge"] for tenant in ("acme", "bolt")}

    def overtake() -> None:
        sealer.enclave.meanwhile = lambda: None
        assert sealer.proved(arn, sealer.proof(arn, challenges["bolt"], "bolt"), "bolt").status == 200

    sealer.enclave.meanwhile = overtake
    assert sealer.proved(arn, sealer.proof(arn, challenges["acme"])).status == 409
    assert (sealer.keys("acme"), sealer.keys("bolt")) == ([], [arn])


def test_who_loses_the_race_in_the_store_is_told_to_look_again(sealer: Sealer, deployment: Deployment) -> None:
    arn = sealer.kms.key()
    challenge = sealer.challenged(arn).json["challenge"]
    documents = Interrupted(deployment.store.documents, 1, lambda: deployment.tenancy.kms_keys.register("bolt", arn))
    late = Tenancy(documents, deployment.store.meters, deployment.clock, deployment.chance)
    with wiring.opening_into(deployment.rooms(tenancy=late)):
        assert sealer.proved(arn, sealer.proof(arn, challenge)).status == 409
    assert (sealer.keys("acme"), sealer.keys("bolt")) == ([], [arn])


def test_a_challenge_of_another_tenant_proves_nothing(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    theirs, ours = sealer.challenged(arn, "bolt").json["challenge"], sealer.challenged(arn, "acme").json["challenge"]
    _refused(sealer.proved(arn, sealer.proof(arn, theirs, "bolt"), "acme"))
    with pytest.raises(NotOpened):  # and acme cannot open bolt's challenge as its own
        sealer.proof(arn, theirs, "acme")
    assert sealer.proved(arn, sealer.proof(arn, ours), "acme").status == 200


def test_a_wrong_proof_is_refused_and_says_nothing_more(sealer: Sealer) -> None:
    arn, other = sealer.kms.key(), sealer.kms.key()
    challenge = sealer.challenged(arn).json["challenge"]
    context = {"tenant_id": "acme", "purpose": "cloister-key-proof"}
    flipped = bytearray(base64.b64decode(sealer.proof(arn, challenge)))
    flipped[-1] ^= 1
    wrong = {
        "another secret": sealer.kms.encrypt(arn, b"another secret", **context),
        "the challenge itself": base64.b64decode(challenge),
        "another key": sealer.kms.encrypt(other, b"secret", **context),
        "a flipped bit": bytes(flipped),
        "nothing sealed": b"x",
    }
    answers = [sealer.proved(arn, base64_of(proof)) for proof in wrong.values()]
    for answer in answers:
        _refused(answer)
    assert len({answer.json["detail"] for answer in answers}) == 1
    assert sealer.keys() == []


def test_a_proof_that_comes_too_late_is_refused(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    challenge = sealer.challenged(arn).json["challenge"]
    sealer.deployment.clock.now_ms += CHALLENGE_MS
    late = sealer.proved(arn, sealer.proof(arn, challenge))
    assert late.status == 409 and "new one" in late.json["detail"]
    assert sealer.register(arn).status == 200


def test_a_proof_that_nobody_asked_for_is_not_found(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    proof = base64_of(sealer.kms.encrypt(arn, b"secret", tenant_id="acme", purpose="cloister-key-proof"))
    assert sealer.proved(arn, proof).status == 404
    assert sealer.enclave.permitted == [], "the enclave is not even asked"


@pytest.mark.parametrize(
    ("arn", "instead"),
    [
        ("arn:aws:kms:us-east-1:111122223333:alias/acme", "describe-key"),
        ("alias/acme", "describe-key"),
        ("00000000-0000-4000-8000-000000000000", "describe-key"),
        ("arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-000000000000", "us-east-1"),
        ("", "describe-key"),
        ("x" * 257, "256"),
    ],
)
def test_a_key_that_is_not_named_in_full_or_is_elsewhere_is_refused_and_told_what_to_send(
    sealer: Sealer, arn: str, instead: str
) -> None:
    answer = sealer.challenged(arn)
    assert (answer.status, answer.json["field"]) == (400, "key_arn")
    assert instead in answer.json["detail"]
    assert sealer.enclave.permitted == []


def test_a_removed_key_is_free_and_can_be_registered_again(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    sealer.register(arn)
    removed = sealer("DELETE", f"/kms-keys/{id_of(arn)}")
    assert (removed.status, removed.body, sealer.keys()) == (204, b"", [])
    assert sealer("DELETE", f"/kms-keys/{id_of(arn)}").status == 404
    assert sealer.register(arn, "bolt").status == 200
    assert sealer.register(arn, "acme").status == 409
    assert sealer("DELETE", f"/kms-keys/{id_of(arn)}", tenant="bolt").status == 204
    assert sealer.register(arn, "acme").status == 200


def test_nobody_removes_anothers_key(sealer: Sealer) -> None:
    arn = sealer.kms.key()
    sealer.register(arn, "bolt")
    assert sealer("DELETE", f"/kms-keys/{id_of(arn)}", tenant="acme").status == 404
    assert sealer.keys("bolt") == [arn]


@pytest.mark.parametrize("body", [{}, {"proof": ""}, {"proof": "no base64!"}, {"proof": "eA==" * 3_000}, {"proof": 1}])
def test_a_proof_that_is_no_blob_is_malformed(sealer: Sealer, body: Any) -> None:
    assert sealer("PUT", "/kms-keys/some", body).status == 400


def test_a_body_in_base64_is_read_as_api_gateway_sends_it(sealer: Sealer) -> None:
    """Where every media type is binary, JSON comes in base64 too."""
    arn, path = sealer.kms.key(), "/tenants/{tenant}/kms-keys"
    headers = {"Authorization": f"Bearer {sealer.deployment.key()}", "Content-Type": "application/json"}
    body = base64_of(json.dumps({"key_arn": arn}).encode())
    event = api_gateway.event("POST", path, {"tenant": "acme"}, headers=headers, body=body, encoded=True)
    answer = app(event, None)
    assert answer["statusCode"] == 201, answer["body"]


# key possession as a credential


def test_possession_is_enough_once_there_is_a_key_and_the_owner_says_so(sealer: Sealer) -> None:
    assert sealer("PUT", "/sealing", {"auth": "kms"}).status == 409
    sealer.register(sealer.kms.key())
    for auth in ("kms", "api_key", "kms"):
        answer = sealer("PUT", "/sealing", {"auth": auth})
        assert (answer.status, answer.json) == (200, {"auth": auth})
        assert sealer("GET", "").json["sealing"]["auth"] == auth
    assert sealer("PUT", "/sealing", {"auth": "none"}).status == 400


SEALING = [route for route in ROUTES if route.seals]


@pytest.mark.parametrize("mode", ["kms", None], ids=["named", "by default"])
@pytest.mark.parametrize("route", SEALING, ids=lambda route: route.name)
def test_no_door_takes_what_kms_encrypt_makes_for_possession(sealer: Sealer, route: Route, mode: str | None) -> None:
    """Neither of a tenant that lets in by possession nor of one that does not, nor of one that is not there."""
    arn = sealer.kms.key()
    sealer.register(arn)
    sealer("PUT", "/sealing", {"auth": "kms"})
    texts = set()
    for tenant in ("acme", "bolt", "nobody"):
        answer = sealer.gateway.call(
            route.method,
            route.path.replace("{tenant}", tenant),
            body=sealer.kms.encrypt(arn, b'{"prompt":"hello"}'),
            headers={
                "Content-Type": "application/octet-stream",
                "X-Tenant-ID": tenant,
                "X-KMS-Key-ID": arn,
                "X-Model-Pool": "sealed",
                **({"X-Seal-Mode": mode} if mode else {}),
            },
        )
        assert answer.status == 401, answer.body
        texts.add(answer.json["error"]["message"] if "error" in answer.json else answer.json["detail"])
    assert texts == {ENCRYPTING_PROVES_NOTHING}
    assert {claims.use for claims in sealer.enclave.permitted} == {"challenge", "prove"}


def _refused(answer: Answer) -> None:
    assert (answer.status, answer.json["title"]) == (401, "Key validation failed"), answer.body
