"""The golden wires of vectors/ hold, to the byte. Whoever implements docs/sealed-formats.md can read them too."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import KEMKey, KEMKeyPair

from sealed import esdk, frames, hpke, kms_mode, ticket
from sealed.padding import padded
from sealed.refusal import FrameRefused, NotOpened, TicketRefused

VECTORS = Path(__file__).parents[2] / "vectors"


def read(path: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((VECTORS / path).read_text())
    return vectors


def named(vector: Mapping[str, Any]) -> str:
    return str(vector["name"])


TICKETS = read("ticket/tickets.json")
FRAMES = read("frames/frames.json")
HPKE = read("hpke/exchanges.json")
ESDK = read("esdk/messages.json")
KMS = read("kms/echoes.json")

GATEWAY = Ed25519PublicKey.from_public_bytes(bytes.fromhex(TICKETS["public_key"]))


def verified(vector: Mapping[str, Any], now_ms: int) -> ticket.Claims:
    return ticket.verify(
        bytes.fromhex(vector["ticket"]),
        bytes.fromhex(vector["body"]),
        {bytes.fromhex(TICKETS["kid"]): GATEWAY},
        now_ms,
    )


@pytest.mark.parametrize("vector", TICKETS["accepted"], ids=named)
def test_a_ticket_holds_and_is_signed_again_to_the_byte(vector: Mapping[str, Any]) -> None:
    claims = verified(vector, TICKETS["now_ms"])
    assert msgspec.to_builtins(claims) == vector["claims"]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(TICKETS["private_key"]))
    assert ticket.sign(claims, key).hex() == vector["ticket"]
    assert bytes.fromhex(vector["ticket"])[72:].decode() == vector["claims_json"]
    assert ticket.kid_of(GATEWAY).hex() == TICKETS["kid"]


@pytest.mark.parametrize("vector", TICKETS["refused"], ids=named)
def test_a_bad_ticket_is_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(TicketRefused):
        verified(vector, vector["now_ms"])


def test_frames_hold() -> None:
    wire = b"".join(bytes.fromhex(vector["frame"]) for vector in FRAMES["frames"])
    sent = [(vector["type"], bytes.fromhex(vector["payload"])) for vector in FRAMES["frames"]]
    assert list(frames.Reader().feed(wire)) == sent
    assert b"".join(frames.frame(kind, payload) for kind, payload in sent) == wire


@pytest.mark.parametrize("vector", FRAMES["refused"], ids=named)
def test_a_bad_frame_is_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(FrameRefused):
        list(frames.Reader().feed(bytes.fromhex(vector["bytes"])))


def test_padding_holds() -> None:
    for vector in FRAMES["padding"]:
        assert padded(vector["piece"].encode(), vector["multiple"]).decode() == vector["padded"]


def test_a_seed_gives_its_key_configuration() -> None:
    configuration = hpke.KeyConfiguration.parse(json.dumps(HPKE["configuration"]).encode())
    keys = hpke.EpochKeys.derive(bytes.fromhex(HPKE["seed"]))
    assert configuration == keys.configuration(
        epoch=configuration.epoch, expires_ms=configuration.expires_ms, token=configuration.token
    )
    assert configuration.fingerprint().hex() == HPKE["fingerprint"]
    assert keys.x25519.private_bytes_raw().hex() == HPKE["x25519_private_key"]


@pytest.mark.parametrize("vector", HPKE["life"])
def test_the_life_of_an_epoch_has_an_end_that_is_near(vector: Mapping[str, Any]) -> None:
    assert hpke.epoch_fault(HPKE["configuration"]["expires_ms"], vector["now_ms"]) == vector["fault"]


@pytest.mark.parametrize("vector", HPKE["exchanges"], ids=lambda vector: vector["kem"])
def test_an_exchange_in_hpke_holds(vector: Mapping[str, Any]) -> None:
    answer = vector["answer"]
    plaintext, sealer, replay_key = hpke.open_request(
        bytes.fromhex(vector["wire"]),
        hpke.EpochKeys.derive(bytes.fromhex(HPKE["seed"])),
        tenant=HPKE["tenant"],
        request_id=HPKE["request_id"],
        pool=HPKE["pool"],
        random=lambda _: bytes.fromhex(answer["response_nonce"]),
    )
    assert (plaintext.decode(), replay_key.hex()) == (HPKE["plaintext"], vector["replay_key"])
    for chunk in answer["chunks"]:
        assert sealer.seal(chunk["piece"].encode(), chunk["final"]).hex() == chunk["bytes"]

    opener = hpke.ResponseOpener(bytes.fromhex(answer["secret"]), bytes.fromhex(vector["enc"]))
    wire = bytes.fromhex("".join(chunk["bytes"] for chunk in answer["chunks"]))
    assert [piece.decode() for piece in opener.feed(wire)] == [chunk["piece"] for chunk in answer["chunks"]]
    opener.finish()


def test_a_request_in_hpke_is_sealed_again_to_the_byte() -> None:
    vector = HPKE["exchanges"][0]
    ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["ephemeral_private_key"]))
    public = hpke.EpochKeys.derive(bytes.fromhex(HPKE["seed"])).x25519.public_key()
    enc, context = hpke.SUITES[hpke.X25519].create_sender_context(
        KEMKey.from_pyca_cryptography_key(public),
        bytes.fromhex(vector["info"]),
        eks=KEMKeyPair(
            KEMKey.from_pyca_cryptography_key(ephemeral), KEMKey.from_pyca_cryptography_key(ephemeral.public_key())
        ),
    )
    head = bytes.fromhex(vector["aad"])
    assert head.endswith(enc)
    assert (head + context.seal(HPKE["plaintext"].encode(), head)).hex() == vector["wire"]
    assert context.export(b"cloister hpke v1 response", 32).hex() == vector["answer"]["secret"]


class Kms:
    """Knows one data key, and by which name and in which context it may be asked for it."""

    def __init__(self, context: Mapping[str, str]) -> None:
        self.context = context

    def generate_data_key(self, **_: object) -> dict[str, object]:
        raise AssertionError("opening makes no key")

    def decrypt(self, **asked: Any) -> dict[str, object]:
        assert (asked["KeyId"], asked["CiphertextBlob"].hex()) == (ESDK["key_arn"], ESDK["encrypted_data_key"])
        assert self.context.items() <= asked["EncryptionContext"].items()
        return {"Plaintext": bytes.fromhex(ESDK["data_key"]), "KeyId": ESDK["key_arn"]}


def open_at_once(vector: Mapping[str, Any]) -> bytes:
    return esdk.open(Kms(vector["context"]), ESDK["key_arn"], vector["context"], bytes.fromhex(vector["message"]))


def open_as_it_comes(vector: Mapping[str, Any]) -> bytes:
    source = io.BytesIO(bytes.fromhex(vector["message"]))
    opener = esdk.Opener(Kms(vector["context"]), ESDK["key_arn"], vector["context"], source)
    return b"".join(opener.pieces())


@pytest.mark.parametrize("vector", ESDK["messages"], ids=named)
def test_an_esdk_message_holds(vector: Mapping[str, Any]) -> None:
    assert open_at_once(vector).hex() == vector["plaintext"]
    assert esdk.replay_key(bytes.fromhex(vector["message"]), ESDK["key_arn"]).hex() == vector["replay_key"]


def test_the_streamed_answer_holds_frame_by_frame() -> None:
    vector = ESDK["messages"][2]
    assert open_as_it_comes(vector).hex() == vector["plaintext"]


@pytest.mark.parametrize("vector", ESDK["refused"], ids=named)
def test_a_bad_esdk_message_is_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(NotOpened):
        open_at_once(vector)


@pytest.mark.parametrize("vector", KMS["echoes"], ids=lambda vector: vector["nonce"])
def test_an_echo_holds(vector: Mapping[str, Any]) -> None:
    blob = bytes.fromhex(KMS["blob"])
    echoed = kms_mode.with_echo(KMS["answer"].encode(), nonce=vector["nonce"], blob=blob)
    assert echoed.decode() == vector["echoed"]
    assert kms_mode.checked(echoed, nonce=vector["nonce"], blob=blob) == echoed
    assert kms_mode.replay_key(blob).hex() == KMS["replay_key"]


@pytest.mark.parametrize("vector", KMS["refused"], ids=named)
def test_a_bad_echo_is_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(NotOpened):
        kms_mode.checked(vector["answer"].encode(), nonce=vector["nonce"], blob=bytes.fromhex(KMS["blob"]))
