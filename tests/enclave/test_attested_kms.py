"""KMS seals its answers to the enclave, or they are no answers."""

import base64
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.security_module import Authority, SimulatedSecurityModule
from enclave.attested_kms import DOCUMENT_LIFE_S, AttestedKms, NoCredentials, Recipient, host_names
from enclave.refusal import NotOpened, Unavailable
from enclave.security_module import ModuleFailed
from sealed import attestation, cms, esdk
from sealed.arn import KeyArn
from tests.enclave.fake_kms import answering
from tests.enclave.houses import REGION, Kms, Refusal, enclave, now_ms

PLAINTEXT = {"Plaintext": base64.b64encode(b'{"prompt":"hello"}').decode()}


def envelope(plaintext: bytes) -> dict[str, str]:
    """Sealed to somebody else."""
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).public_key()
    return {"CiphertextForRecipient": base64.b64encode(cms.seal_envelope(plaintext, other)).decode()}


def attempt(kms: Kms, folder: Path, url: str, mode: str) -> Refusal:
    """What becomes of a good request while KMS is at `url`."""
    with enclave(kms, folder, kms_url=url) as house, house.greeted() as line:
        match mode:
            case "kms":
                blob = kms.encrypt(house.key, b"{}")
            case _:
                context = esdk.request_context(tenant="acme", request_id="request-1")
                blob = esdk.seal(kms.client, house.key, context, b"{}")
        with pytest.raises(Refusal) as refused:
            line.opened(house.ticket(blob, mode=mode), blob)
    return refused.value


@pytest.mark.parametrize("mode", ["kms", "esdk"])
@pytest.mark.parametrize(
    "answer",
    [PLAINTEXT, {**PLAINTEXT, **envelope(b"{}")}, {}, envelope(b"{}"), {"CiphertextForRecipient": "MIAG"}],
    ids=["plaintext", "plaintext beside an envelope", "nothing", "an envelope for another", "no envelope"],
)
def test_an_answer_that_is_not_sealed_to_this_enclave_alone_is_refused(
    kms: Kms, tmp_path: Path, answer: dict[str, Any], mode: str
) -> None:
    with answering(200, answer) as url:
        assert attempt(kms, tmp_path, url, mode).code == "unavailable"


@pytest.mark.parametrize("mode", ["kms", "esdk"])
def test_what_kms_tells_everybody_is_refused_even_beside_an_envelope_for_this_enclave(
    kms: Kms, tmp_path: Path, mode: str
) -> None:
    mine = cms.seal_envelope(b"{}", kms.recipient.private_key.public_key())
    answer = {**PLAINTEXT, "CiphertextForRecipient": base64.b64encode(mine).decode()}
    with answering(200, answer) as url:
        assert attempt(kms, tmp_path, url, mode).code == "unavailable"


@pytest.mark.parametrize("mode", ["kms", "esdk"])
@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "AccessDeniedException", "not_opened"),
        (400, "InvalidCiphertextException", "not_opened"),
        (400, "IncorrectKeyException", "not_opened"),
        (400, "DisabledException", "not_opened"),
        (400, "ThrottlingException", "unavailable"),
        (400, "ExpiredTokenException", "unavailable"),
        (500, "KMSInternalException", "unavailable"),
    ],
)
def test_what_kms_says_of_the_callers_key_is_not_opened_and_the_rest_is_unavailable(
    kms: Kms, tmp_path: Path, status: int, name: str, code: str, mode: str
) -> None:
    with answering(status, {"__type": name, "message": "no"}) as url:
        assert attempt(kms, tmp_path, url, mode).code == code


def test_a_kms_that_is_not_there_is_unavailable(kms: Kms, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert attempt(kms, tmp_path, f"http://127.0.0.1:{nobody.getsockname()[1]}", "kms").code == "unavailable"


def test_a_key_is_used_for_itself_only(kms: Kms) -> None:
    attested = AttestedKms([REGION], {REGION: kms.url}, kms.recipient)
    mine, other = kms.key(), kms.key()
    use = attested.under(KeyArn.parse(mine))
    for call in (use.decrypt, use.generate_data_key, use.encrypt):
        with pytest.raises(NotOpened):
            call(KeyId=other, CiphertextBlob=b"", Plaintext=b"", NumberOfBytes=32)
    with pytest.raises(NotOpened):
        attested.under(KeyArn.parse(mine.replace(REGION, "eu-west-1")))


def test_a_document_is_used_again_for_minutes_and_replaced_before_kms_calls_it_stale(kms: Kms) -> None:
    at_s = 0.0
    made: list[bytes] = []

    class Counting(SimulatedSecurityModule):
        def attest(self, **asked: bytes | None) -> bytes:
            made.append(super().attest(**asked))
            return made[-1]

    authority = Authority.read(kms.files.authority.read_bytes())
    recipient = Recipient(Counting(authority, clock=now_ms), lambda: at_s)
    assert recipient.parameter() == recipient.parameter()
    at_s = DOCUMENT_LIFE_S - 1
    recipient.parameter()
    assert len(made) == 1
    at_s = DOCUMENT_LIFE_S
    assert recipient.parameter()["AttestationDocument"] == made[1]
    assert DOCUMENT_LIFE_S * 1_000 < attestation.MAX_AGE_MS / 2


def test_without_its_security_module_an_enclave_is_unavailable(kms: Kms) -> None:
    class Broken(SimulatedSecurityModule):
        def attest(self, **_: bytes | None) -> bytes:
            raise ModuleFailed("no entropy")

    broken = Broken(Authority.read(kms.files.authority.read_bytes()), clock=now_ms)
    attested = AttestedKms([REGION], {REGION: kms.url}, Recipient(broken))
    arn = kms.key()
    with pytest.raises(Unavailable):
        attested.under(KeyArn.parse(arn)).decrypt(KeyId=arn, CiphertextBlob=kms.encrypt(arn, b"{}"))


def test_a_kms_that_never_answers_costs_seconds_and_one_thread(kms: Kms, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        refused = attempt(kms, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", "kms")
        assert refused.code == "unavailable"
        assert time.monotonic() - began < 40, "botocore by itself waits for a minute, several times"


def test_an_enclave_without_credentials_does_not_start(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would never find any later: a client looks for them once."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoCredentials, match="IMDS"):
        AttestedKms([REGION], {REGION: kms.url}, kms.recipient)


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("us-east-1", "kms.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "kms.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "kms.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_kms_is_called_by_its_own_name(region: str, name: str) -> None:
    assert host_names([region]) == {region: name}
