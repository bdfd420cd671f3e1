"""The enclave shows itself over HTTP: attestation, key epochs, probes; and what is said when it does not."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.pool import Pool, Scripted
from chalicelib.refusal import EngineFailed, NoCapacity, NotOpened, Refusal
from chalicelib.tenancy import Change
from chalicelib.tenancy.key_epochs import KeyEpoch
from chalicelib.tickets import Tickets
from chalicelib.tickets.issuer import Unreadable
from tests.small_deployments import Deployment, Gateway
from tests.tickets.sealers import Sealer, base64_of, id_of

NONCE = b"\xfb\xff nonce"
NONCE_TEXT = base64.urlsafe_b64encode(NONCE).rstrip(b"=").decode()


@pytest.fixture
def sealer(gateway: Gateway, deployment: Deployment) -> Iterator[Sealer]:
    sealer = Sealer(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield sealer


def test_the_enclaves_document_comes_as_the_enclave_gave_it(sealer: Sealer) -> None:
    answer = sealer("GET", f"/attestation?nonce={NONCE_TEXT}")
    assert answer.status == 200
    assert base64.b64decode(answer.json["document"]) == b"nonce " + NONCE
    assert answer.json["configuration"] is None
    (claims,) = sealer.enclave.permitted
    assert (claims.use, claims.tenant, claims.pool) == ("attest", "acme", "sealed")


def test_a_configuration_comes_with_the_very_values_that_the_document_vouches_for(sealer: Sealer) -> None:
    sealer.deployment.tenancy.key_epochs.begin(KeyEpoch("e-1", sealer.deployment.clock() + 1, bytes(range(256))))
    configuration = sealer("GET", f"/attestation?nonce={NONCE_TEXT}").json["configuration"]
    assert (configuration["epoch"], configuration["expires_ms"]) == ("e-1", sealer.deployment.clock() + 1)
    assert base64.b64decode(configuration["token"], validate=True) == bytes(range(256))
    assert base64.b64decode(configuration["xwing"], validate=True) == bytes(1216)


def test_every_role_may_see_to_whom_it_would_seal_wherever_its_key_is_narrowed_to(sealer: Sealer) -> None:
    for surface in ("openai", "native", "management"):
        assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}", role="viewer", surfaces=(surface,)).status == 200
    assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}", pools=("model-a",)).status == 404
    assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}&pool=sealed", pools=("sealed",)).status == 200


def test_an_enclave_is_asked_for_by_its_pool(sealer: Sealer) -> None:
    sealer.deployment.tenancy.put_pool(Pool("second", (Scripted("t", url="t"),), sealed=True))
    sealer.deployment.tenancy.change_tenant("acme", Change(pools=("model-a", "sealed", "second")))
    for asked, pool in (("", "sealed"), ("&pool=second", "second"), ("&pool=sealed", "sealed")):
        assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}{asked}").status == 200
        assert sealer.enclave.permitted[-1].pool == pool
    for pool in ("model-a", "nowhere", "third"):
        assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}&pool={pool}").status == 404
    sealer.deployment.tenancy.change_tenant("acme", Change(pools=("model-a",)))
    assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}").status == 404
    assert sealer.challenged(sealer.kms.key()).status == 404


@pytest.mark.parametrize("query", ["", "?nonce=", "?nonce=a", "?nonce=aaaaa", f"?nonce={'a' * 87}", "?nonce=a%2Ba%3D"])
def test_a_nonce_that_is_none_is_malformed(sealer: Sealer, query: str) -> None:
    assert sealer("GET", f"/attestation{query}").status == 400


def test_clients_are_given_the_epoch_that_the_operator_began_last(sealer: Sealer) -> None:
    first = sealer.operator("POST", "/key-epochs", {})
    assert first.status == 201
    assert first.json["expires_ms"] == sealer.deployment.clock() + 7 * 86_400_000
    second = sealer.operator("POST", "/key-epochs", {"lifetime_s": 3_600}).json
    assert sealer.operator("GET", "/key-epochs").json == {"epochs": [second, first.json]}
    shown = sealer("GET", f"/attestation?nonce={NONCE_TEXT}").json["configuration"]
    assert {name: shown[name] for name in ("epoch", "expires_ms")} == second
    assert base64.b64decode(shown["token"]) == f"token of {second['epoch']}".encode()
    sealer.deployment.clock.now_ms += 3_600_000
    shown = sealer("GET", f"/attestation?nonce={NONCE_TEXT}").json["configuration"]
    assert shown["epoch"] == first.json["epoch"]
    assert sealer.operator("GET", "/key-epochs").json == {"epochs": [first.json]}


@pytest.mark.parametrize("lifetime_s", [3_599, 90 * 86_400 + 1, -1, "1"])
def test_an_epoch_lives_for_an_hour_at_least_and_for_90_days_at_most(sealer: Sealer, lifetime_s: Any) -> None:
    assert sealer.operator("POST", "/key-epochs", {"lifetime_s": lifetime_s}).status == 400
    assert sealer.operator("GET", "/key-epochs").json == {"epochs": []}


def test_no_epoch_begins_without_an_enclave(sealer: Sealer) -> None:
    sealer.says = NoCapacity("No enclave.", retry_in_ms=1_000)
    assert sealer.operator("POST", "/key-epochs").status == 503
    sealer.deployment.tenancy.delete_pool("sealed")
    assert sealer.operator("POST", "/key-epochs").status == 409
    assert sealer.operator("GET", "/key-epochs").json == {"epochs": []}


def test_a_registered_key_can_be_probed_and_no_other(sealer: Sealer) -> None:
    arn, theirs = sealer.kms.key(), sealer.kms.key()
    sealer.register(arn)
    sealer.register(theirs, "bolt")
    body = {"nonce": base64_of(NONCE), "ciphertext": base64_of(b"sealed")}
    answer = sealer("POST", f"/kms-keys/{id_of(arn)}/probe", body)
    assert (answer.status, base64.b64decode(answer.json["document"])) == (200, b"nonce " + NONCE)
    assert (sealer.enclave.permitted[-1].use, sealer.enclave.permitted[-1].key_arn) == ("probe", arn)
    assert sealer("POST", f"/kms-keys/{id_of(theirs)}/probe", body).status == 404


# when the enclave does not help


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (b"no JSON", 502),
        (b"\xff", 502),
        (b"{}", 502),
        (b'{"challenge":"!","digest":""}', 502),
        (EngineFailed("broke"), 502),
        (NoCapacity("away", retry_in_ms=1_000), 503),
        (NotOpened(), 401),
    ],
)
def test_what_the_enclave_does_not_tell_is_not_made_up(sealer: Sealer, says: Refusal | bytes, status: int) -> None:
    arn = sealer.kms.key()
    sealer.says = says
    assert sealer.challenged(arn).status == status
    assert sealer("GET", f"/attestation?nonce={NONCE_TEXT}").status == status
    sealer.says = None
    assert sealer.proved(arn, base64_of(b"x")).status == 404, "nothing is pending"


def test_where_no_ticket_key_is_set_up_nothing_is_asked(sealer: Sealer, deployment: Deployment) -> None:
    def unset() -> bytes:
        raise Unreadable("CLOISTER_TICKET_SECRET is not set.")

    path = msgspec.structs.replace(deployment.path(), tickets=Tickets(unset, deployment.clock))
    with wiring.opening_into(deployment.rooms(path)):
        answer = sealer("GET", f"/attestation?nonce={NONCE_TEXT}")
    assert answer.status == 503
    assert "not set up" in answer.json["detail"] and "CLOISTER" not in answer.json["detail"]
    assert sealer.enclave.permitted == []
