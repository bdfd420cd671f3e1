"""What is asked of the enclave apart from exchanges."""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from sealed import attestation, esdk
from sealed.hpke import EpochKeys, KeyConfiguration, seal_request
from sealed.hpke_keys import MOST_EPOCH_MS
from tests.enclave.houses import Kms, Line, Refusal, TestedEnclave, now_ms

NONCE = b"n" * 24


@pytest.fixture
def line(house: TestedEnclave) -> Iterator[Line]:
    with house.greeted() as greeted:
        yield greeted


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ask(house: TestedEnclave, line: Line, use: str, body: Any, **said: Any) -> Any:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return line.told(house.ticket(encoded, **{"use": use, "mode": "", **said}), encoded)


def verified(kms: Kms, document: str) -> attestation.Attestation:
    root = attestation.root_of(kms.files.root.read_bytes())
    return attestation.verify(base64.b64decode(document), root=root, now_ms=now_ms())


def test_attest_answers_a_nonce(house: TestedEnclave, kms: Kms, line: Line) -> None:
    told = ask(house, line, "attest", {"nonce": b64(NONCE), "configuration": None})
    said = verified(kms, told["document"])
    assert (said.nonce, said.user_data, told["configuration"]) == (NONCE, None, None)


def test_attest_vouches_for_the_keys_of_an_epoch(house: TestedEnclave, kms: Kms, line: Line) -> None:
    expires_ms = now_ms() + 60_000
    token = ask(house, line, "epoch", {"epoch": "e-asked", "expires_ms": expires_ms})["token"]
    about = {"epoch": "e-asked", "expires_ms": expires_ms, "token": token}
    told = ask(house, line, "attest", {"nonce": b64(NONCE), "configuration": about})
    configuration = KeyConfiguration.parse(json.dumps(told["configuration"]).encode())
    assert (configuration.epoch, b64(configuration.token)) == ("e-asked", token)
    assert verified(kms, told["document"]).user_data == configuration.fingerprint()


def test_the_seed_of_an_epoch_belongs_to_its_name_and_end(house: TestedEnclave, line: Line) -> None:
    expires_ms = now_ms() + 60_000
    token = ask(house, line, "epoch", {"epoch": "e-mine", "expires_ms": expires_ms})["token"]
    about = {"epoch": "e-yours", "expires_ms": expires_ms, "token": token}
    with pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "attest", {"nonce": b64(NONCE), "configuration": about})


def test_no_epoch_lives_for_longer_than_a_quarter_of_a_year(house: TestedEnclave, line: Line) -> None:
    assert ask(house, line, "epoch", {"epoch": "e-long", "expires_ms": now_ms() + MOST_EPOCH_MS - 60_000})["token"]
    for lives_ms in (MOST_EPOCH_MS + 60_000, -1):
        with pytest.raises(Refusal, match="not_opened"):
            ask(house, line, "epoch", {"epoch": "e-too-long", "expires_ms": now_ms() + lives_ms})


@pytest.mark.parametrize(
    ("lives_ms", "opens"),
    [(-1, False), (60_000, True), (MOST_EPOCH_MS - 60_000, True), (MOST_EPOCH_MS + 60_000, False), (2**52, False)],
)
def test_no_longer_epoch_is_vouched_for_or_opened_though_kms_opens_its_token(
    house: TestedEnclave, kms: Kms, line: Line, lives_ms: int, opens: bool
) -> None:
    """As who may encrypt under the platform key makes one: no enclave has asked how long it lives."""
    seed, expires_ms = os.urandom(64), now_ms() + lives_ms
    context = {"purpose": "cloister-hpke-epoch", "epoch": "e-planted", "expires_ms": str(expires_ms)}
    token = kms.encrypt(house.platform_key, seed, **context)
    configuration = EpochKeys.derive(seed).configuration(epoch="e-planted", expires_ms=expires_ms, token=token)
    names: dict[str, Any] = {"tenant": "acme", "request_id": "request-1", "pool": "demo"}
    blob, _ = seal_request(configuration, plaintext=b"{}", **names)
    about = {"epoch": "e-planted", "expires_ms": expires_ms, "token": b64(token)}
    with contextlib.nullcontext() if opens else pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "attest", {"nonce": "", "configuration": about})
    with contextlib.nullcontext() if opens else pytest.raises(Refusal, match="not_opened"):
        assert line.opened(house.ticket(blob), blob) == b"{}"


def test_an_epoch_that_is_known_ends_though_the_clock_is_set_back(house: TestedEnclave, line: Line) -> None:
    configuration = house.epoch_of(line, "e-clock", MOST_EPOCH_MS - 60_000)
    blob, _ = seal_request(configuration, tenant="acme", request_id="request-1", pool="demo", plaintext=b"{}")
    house.drift_ms = -120_000
    try:
        with pytest.raises(Refusal, match="not_opened"):
            line.opened(house.ticket(blob), blob)
    finally:
        house.drift_ms = 0
    assert line.opened(house.ticket(blob), blob) == b"{}"
    line.drop()


@pytest.mark.parametrize("about", [{"epoch": "e\0"}, {"epoch": ""}, {"expires_ms": -1}, {"expires_ms": 2**53}])
def test_what_is_no_epoch_is_not_vouched_for(house: TestedEnclave, about: dict[str, Any]) -> None:
    asked = {"epoch": "e-1", "expires_ms": now_ms() + 60_000, **about}
    for use, body in (("epoch", asked), ("attest", {"nonce": "", "configuration": asked | {"token": "dA=="}})):
        with house.greeted() as line, pytest.raises(Refusal, match="protocol"):
            ask(house, line, use, body)


def test_a_key_is_registered_by_whoever_can_use_it(house: TestedEnclave, kms: Kms, line: Line) -> None:
    challenge = ask(house, line, "challenge", {})
    context = {"tenant_id": "acme", "purpose": "cloister-key-registration"}
    opened = kms.client.decrypt(CiphertextBlob=base64.b64decode(challenge["challenge"]), EncryptionContext=context)
    assert opened["KeyId"] == house.key
    assert hashlib.sha256(opened["Plaintext"]).hexdigest() == challenge["digest"]
    proof = kms.encrypt(house.key, opened["Plaintext"], tenant_id="acme", purpose="cloister-key-proof")
    assert ask(house, line, "prove", proof)["digest"] == challenge["digest"]


def test_the_challenge_itself_proves_nothing(house: TestedEnclave, line: Line) -> None:
    challenge = base64.b64decode(ask(house, line, "challenge", {})["challenge"])
    with pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "prove", challenge)


def test_a_proof_of_another_tenant_or_key_proves_nothing(house: TestedEnclave, kms: Kms, line: Line) -> None:
    proof = kms.encrypt(house.key, b"secret", tenant_id="acme", purpose="cloister-key-proof")
    for said in ({"tenant": "evil"}, {"key_arn": kms.key()}):
        with pytest.raises(Refusal, match="not_opened"):
            ask(house, line, "prove", proof, **said)


def checkable(house: TestedEnclave, kms: Kms) -> bytes:
    """A request of acme's in mode esdk, with the id that tickets have unless told otherwise."""
    context = esdk.request_context(tenant="acme", request_id="request-1")
    return esdk.seal(kms.client, house.key, context, b'{"prompt":"checked"}')


def test_check_says_that_a_request_opens_and_leaves_it_unopened(house: TestedEnclave, kms: Kms, line: Line) -> None:
    blob = checkable(house, kms)
    assert ask(house, line, "check", blob, mode="esdk") == {"opened": True}
    assert ask(house, line, "check", blob, mode="esdk") == {"opened": True}
    assert line.opened(house.ticket(blob, mode="esdk"), blob) == b'{"prompt":"checked"}'
    line.drop()


def test_check_refuses_what_does_not_open_and_what_was_opened_before(
    house: TestedEnclave, kms: Kms, line: Line
) -> None:
    blob = checkable(house, kms)
    for said in ({"key_arn": kms.key()}, {"mode": "hpke"}, {"mode": "kms"}, {"mode": ""}):
        with pytest.raises(Refusal, match="not_opened"):
            ask(house, line, "check", blob, **{"mode": "esdk", **said})
    line.opened(house.ticket(blob, mode="esdk"), blob)
    line.drop()
    with pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "check", blob, mode="esdk")


def test_what_encrypts_proves_no_possession(house: TestedEnclave, kms: Kms, line: Line) -> None:
    """The enclave's own host may encrypt without a context, and opens nothing: the request is good, and no proof."""
    blob = kms.encrypt(house.key, b'{"prompt":"hello"}')
    for _ in range(2):
        with pytest.raises(Refusal, match="not_opened"):
            ask(house, line, "check", blob, mode="kms")
    assert line.opened(house.ticket(blob, mode="kms"), blob) == b'{"prompt":"hello"}'
    line.drop()


@pytest.mark.parametrize("mode", ["kms", "esdk"])
def test_an_answer_proves_no_possession_and_is_no_request(
    house: TestedEnclave, kms: Kms, line: Line, mode: str
) -> None:
    """It is made under the same key as requests are, and others than the tenant see it pass."""
    blob = checkable(house, kms) if mode == "esdk" else kms.encrypt(house.key, b'{"prompt":"hello"}')
    line.opened(house.ticket(blob, mode=mode), blob)
    answer = line.sealed(b'{"text":"world"}')
    with pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "check", answer, mode=mode)
    with pytest.raises(Refusal, match="not_opened"):
        line.opened(house.ticket(answer, mode=mode), answer)


POLICY_OF_ANYBODY = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}


@pytest.mark.parametrize("attested_only", [True, False])
def test_a_probe_tells_under_attestation_whether_decryption_needs_it(
    house: TestedEnclave, kms: Kms, line: Line, attested_only: bool
) -> None:
    needs = {"Sid": "x", "Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    condition = {"Condition": {"Null": {"kms:RecipientAttestation:ImageSha384": "true"}}}
    statements = [POLICY_OF_ANYBODY, *([needs | condition] if attested_only else [])]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn = kms.client.create_key(Policy=policy)["KeyMetadata"]["Arn"]
    ciphertext = kms.encrypt(arn, b"anything", tenant_id="acme", purpose="cloister-doctor")
    told = ask(house, line, "probe", {"nonce": b64(NONCE), "ciphertext": b64(ciphertext)}, key_arn=arn)
    said = verified(kms, told["document"])
    assert said.nonce == NONCE
    assert json.loads(said.user_data or b"") == {
        "key_sha256": hashlib.sha256(arn.encode()).hexdigest(),
        "attested": "ok",
        "unattested": "AccessDeniedException" if attested_only else "ok",
    }


@pytest.mark.parametrize(
    ("use", "body"),
    [
        ("attest", b"{"),
        ("attest", {"nonce": 5, "configuration": None}),
        ("attest", {"nonce": b64(bytes(65)), "configuration": None}),
        ("epoch", {"epoch": "e"}),
        ("probe", b"\xff"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(house: TestedEnclave, line: Line, use: str, body: Any) -> None:
    with pytest.raises(Refusal, match="protocol"):
        ask(house, line, use, body)


def test_a_ticket_for_an_exchange_asks_nothing(house: TestedEnclave, line: Line) -> None:
    with pytest.raises(Refusal, match="not_opened"):
        ask(house, line, "run", {})
