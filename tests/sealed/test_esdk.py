"""In mode esdk a message opens under its own key and context alone, whole and in order, at one call of KMS."""

import hashlib
import io
import socket
from typing import Any

import aws_encryption_sdk
import pytest
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput, CreateMultiKeyringInput
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from botocore.exceptions import ClientError, EndpointConnectionError

from sealed import esdk
from sealed.padding import padded
from sealed.refusal import BrokenOff, NotOpened
from tests.examples import every
from tests.sealed.served_kms import Client, Remembering

REQUEST = esdk.request_context(tenant="acme", request_id="r-1")
RESPONSE = esdk.response_context(tenant="acme", request_id="r-1")
PROMPT = b'{"messages":[]}'
UNSIGNED = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
SIGNED = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384


@pytest.fixture(scope="module")
def arn(served: str) -> str:
    """Of one key for all tests: this KMS draws an RSA key for every key it makes, which takes long."""
    return Client(served).create_key()


def made_by_the_sdk(
    *arns: str, endpoint: Client, policy: str = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT", **options: Any
) -> bytes:
    """A message as any client of AWS's may send it, for one key or for several."""
    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    rings = [
        providers.create_aws_kms_keyring(CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=endpoint.client))
        for arn in arns
    ]
    keyring = providers.create_multi_keyring(CreateMultiKeyringInput(generator=rings[0], child_keyrings=rings[1:]))
    sdk = EncryptionSDKClient(commitment_policy=CommitmentPolicy[policy])
    message: bytes = sdk.encrypt(source=PROMPT, keyring=keyring, **{"encryption_context": REQUEST, **options})[0]
    return message


def streamed(client: Client, arn: str, *pieces: bytes) -> bytes:
    sealer = esdk.Sealer(client, arn, RESPONSE)
    return b"".join(sealer.seal(piece, final=False) for piece in pieces) + sealer.seal(b"", final=True)


def pieces_of(client: Client, arn: str, message: bytes) -> list[bytes]:
    return list(esdk.Opener(client, arn, RESPONSE, io.BytesIO(message)).pieces())


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000])
def test_a_message_opens_at_one_call_to_seal_and_one_to_open(kms: Client, arn: str, size: int) -> None:
    message = esdk.seal(kms, arn, REQUEST, bytes(size))
    assert esdk.open(kms, arn, REQUEST, message) == bytes(size)
    assert kms.asked == ["GenerateDataKey", "Decrypt"]


def test_a_stream_opens_at_one_call_to_seal_and_one_to_open(kms: Client, arn: str) -> None:
    message = streamed(kms, arn, b"a" * 1500, b"b" * 1500)
    assert b"".join(pieces_of(kms, arn, message)) == b"a" * 1500 + b"b" * 1500
    assert kms.asked == ["GenerateDataKey", "Decrypt"]


@pytest.mark.parametrize("algorithm", [UNSIGNED, SIGNED])
def test_what_a_client_of_awss_seals_opens(kms: Client, arn: str, algorithm: Algorithm) -> None:
    assert esdk.open(kms, arn, REQUEST, made_by_the_sdk(arn, endpoint=kms, algorithm=algorithm)) == PROMPT


@pytest.mark.parametrize(
    "context",
    [
        {},
        {**REQUEST, "tenant_id": "other"},
        {**REQUEST, "request_id": "r-2"},
        RESPONSE,
        {**REQUEST, "more": "x"},
        {"tenant_id": "acme", "purpose": "request"},
    ],
)
def test_another_context_is_refused_without_asking_kms(kms: Client, arn: str, context: dict[str, str]) -> None:
    message = esdk.seal(kms, arn, REQUEST, PROMPT)
    kms.asked.clear()
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, context, message)
    assert kms.asked == []


def test_a_message_for_another_key_is_refused_without_asking_kms(kms: Client, arn: str) -> None:
    message = esdk.seal(kms, kms.create_key(), REQUEST, PROMPT)
    kms.asked.clear()
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, message)
    assert kms.asked == []


def test_a_message_for_two_keys_is_refused_though_one_is_right(kms: Client, arn: str) -> None:
    message = made_by_the_sdk(arn, kms.create_key(), endpoint=kms)
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, message)
    assert kms.asked == []


def test_a_message_that_does_not_commit_to_its_key_is_refused(kms: Client, arn: str) -> None:
    message = made_by_the_sdk(
        arn,
        endpoint=kms,
        policy="FORBID_ENCRYPT_ALLOW_DECRYPT",
        algorithm=Algorithm.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
    )
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, message)
    assert kms.asked == []


@pytest.mark.parametrize("frame_length", [128, esdk.LEAST_FRAME_BYTES - 128])
def test_a_message_of_tiny_frames_is_refused(kms: Client, arn: str, frame_length: int) -> None:
    message = made_by_the_sdk(arn, endpoint=kms, frame_length=frame_length, algorithm=UNSIGNED)
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, message)
    with pytest.raises(NotOpened):
        list(esdk.Opener(kms, arn, REQUEST, io.BytesIO(message)).pieces())


def test_a_stream_of_huge_frames_is_refused_without_asking_kms(kms: Client, arn: str) -> None:
    message = made_by_the_sdk(arn, endpoint=kms, frame_length=esdk.MOST_FRAME_BYTES + 128, algorithm=UNSIGNED)
    with pytest.raises(NotOpened):
        list(esdk.Opener(kms, arn, REQUEST, io.BytesIO(message)).pieces())
    assert kms.asked == []


def test_a_signed_stream_is_refused_since_its_signature_would_come_too_late(kms: Client, arn: str) -> None:
    message = made_by_the_sdk(arn, endpoint=kms, algorithm=SIGNED)
    with pytest.raises(NotOpened):
        list(esdk.Opener(kms, arn, REQUEST, io.BytesIO(message)).pieces())
    assert kms.asked == []


def test_an_oversize_message_is_refused_unread(kms: Client, arn: str) -> None:
    message = esdk.seal(kms, arn, REQUEST, PROMPT)
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, message + bytes(esdk.MOST_BYTES))
    assert kms.asked == ["GenerateDataKey"]


@pytest.mark.parametrize("algorithm", [UNSIGNED, SIGNED])
def test_a_flipped_bit_anywhere_is_refused(kms: Client, arn: str, algorithm: Algorithm) -> None:
    message = made_by_the_sdk(arn, endpoint=kms, algorithm=algorithm)
    kms = Remembering(kms)
    for at in every(range(len(message))):
        changed = bytearray(message)
        changed[at] ^= 1 << at % 8
        try:
            esdk.open(kms, arn, REQUEST, bytes(changed))
        except NotOpened:
            continue
        except ClientError as error:
            # The data key itself: KMS refuses it, and says so in its own words.
            assert error.response["Error"]["Code"] in ("InvalidCiphertextException", "AccessDeniedException")
            continue
        pytest.fail(f"opened with a flipped bit in byte {at}")


def test_a_flipped_bit_anywhere_in_a_stream_yields_nothing_that_was_not_sealed(kms: Client, arn: str) -> None:
    message = streamed(kms, arn, b"a" * 1024, b"b" * 10)
    sealed = [b"a" * 1024, b"b" * 10]
    kms = Remembering(kms)
    for at in every(range(0, len(message), 3)):
        changed = bytearray(message)
        changed[at] ^= 1 << at % 8
        got = []
        # A length that grew makes its reader look for bytes that are not there.
        with pytest.raises((NotOpened, BrokenOff, ClientError)):
            for piece in esdk.Opener(kms, arn, RESPONSE, io.BytesIO(bytes(changed))).pieces():
                got.append(piece)
        assert got == sealed[: len(got)]


def test_a_stream_cut_anywhere_is_broken_off(kms: Client, arn: str) -> None:
    message = streamed(kms, arn, b"a" * 1024, b"b" * 10)
    header = len(esdk.Sealer(kms, arn, RESPONSE).seal(b"", final=False))
    kms = Remembering(kms)
    for end in every([*range(header + 40), *range(header + 40, len(message), 13), len(message) - 1]):
        with pytest.raises(BrokenOff):
            pieces_of(kms, arn, message[:end])


@pytest.mark.parametrize("end", [0, 1, 34, 200, -60, -1])
def test_a_message_cut_anywhere_is_refused(kms: Client, arn: str, end: int) -> None:
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, esdk.seal(kms, arn, REQUEST, PROMPT)[:end])


def test_what_follows_a_message_is_refused(kms: Client, arn: str) -> None:
    with pytest.raises(NotOpened):
        esdk.open(kms, arn, REQUEST, esdk.seal(kms, arn, REQUEST, PROMPT) + b"x")
    with pytest.raises(NotOpened):
        pieces_of(kms, arn, streamed(kms, arn, b"a") + b"x")


def test_frames_out_of_order_dropped_or_repeated_are_refused(kms: Client, arn: str) -> None:
    sealer = esdk.Sealer(kms, arn, RESPONSE)
    head = sealer.seal(b"", final=False)
    frames = [sealer.seal(bytes((at,)) * 1024, final=False) for at in range(3)] + [sealer.seal(b"", final=True)]
    for order in ([1, 0, 2, 3], [0, 2, 3], [0, 0, 1, 2, 3], [0, 1, 3]):
        with pytest.raises(NotOpened):
            pieces_of(kms, arn, head + b"".join(frames[at] for at in order))


def test_each_piece_that_fills_its_frames_leaves_whole_and_at_once(kms: Client, arn: str) -> None:
    left, right = socket.socketpair()
    with left, right, right.makefile("rb") as source:
        sealer = esdk.Sealer(kms, arn, RESPONSE)
        pieces = esdk.Opener(kms, arn, RESPONSE, source).pieces()
        for text in (b"data: one\n\n", b"data: two\n\n"):
            piece = padded(text, esdk.STREAM_FRAME_BYTES)
            left.sendall(sealer.seal(piece, final=False))
            assert next(pieces) == piece  # would wait for ever, were any of it held back
        left.sendall(sealer.seal(b"", final=True))
        left.shutdown(socket.SHUT_WR)
        assert list(pieces) == []


def test_a_piece_that_fills_no_frame_waits_for_the_next(kms: Client, arn: str) -> None:
    sealer = esdk.Sealer(kms, arn, RESPONSE)
    head = sealer.seal(b"a" * 1000, final=False)
    frame = sealer.seal(b"b" * 1000, final=False)
    last = sealer.seal(b"c", final=True)
    assert (len(frame), len(last)) == (1024 + 32, 977 + 40)
    assert pieces_of(kms, arn, head + frame + last) == [b"a" * 1000 + b"b" * 24, b"b" * 976 + b"c"]


def test_nothing_is_sealed_behind_the_final_piece(kms: Client, arn: str) -> None:
    sealer = esdk.Sealer(kms, arn, RESPONSE)
    sealer.seal(b"", final=True)
    with pytest.raises(RuntimeError, match="no more pieces"):
        sealer.seal(b"more", final=False)


def test_a_message_has_one_replay_key_and_each_message_its_own(kms: Client, arn: str) -> None:
    one, other = (esdk.seal(kms, arn, REQUEST, PROMPT) for _ in range(2))
    _, header = aws_encryption_sdk.EncryptionSDKClient().decrypt(
        source=one,
        keyring=AwsCryptographicMaterialProviders(config=MaterialProvidersConfig()).create_aws_kms_keyring(
            CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=kms.client)
        ),
    )
    named = hashlib.sha256(b"cloister esdk v1 replay\0" + arn.encode() + b"\0" + header.message_id).digest()
    assert esdk.replay_key(one, arn) == named != esdk.replay_key(other, arn)


def test_one_message_id_under_two_keys_are_two_messages(kms: Client, arn: str) -> None:
    message = esdk.seal(kms, arn, REQUEST, PROMPT)
    elsewhere = arn.replace(":us-", ":eu-")
    assert esdk.replay_key(message, arn) != esdk.replay_key(message, elsewhere)


@pytest.mark.parametrize("message", [b"", b"\x02" + bytes(33), b"\x01" + bytes(100)])
def test_what_is_no_message_has_no_replay_key(message: bytes) -> None:
    with pytest.raises(NotOpened):
        esdk.replay_key(message, "arn")


def test_what_kms_says_goes_through_unchanged(kms: Client, arn: str) -> None:
    message = streamed(kms, arn, b"a")
    elsewhere = Client(kms.endpoint, region="eu-west-1")  # where there is no such key
    for attempt in (
        lambda: esdk.seal(elsewhere, arn, REQUEST, PROMPT),
        lambda: esdk.open(elsewhere, arn, RESPONSE, message),
        lambda: pieces_of(elsewhere, arn, message),
    ):
        with pytest.raises(ClientError, match=r"NotFoundException|AccessDeniedException"):
            attempt()


def test_a_kms_that_does_not_answer_is_no_refusal(kms: Client, arn: str) -> None:
    message = streamed(kms, arn, b"a")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        silent = Client(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(EndpointConnectionError):
            pieces_of(silent, arn, message)


def test_a_source_that_breaks_is_no_refusal(kms: Client, arn: str) -> None:
    left, right = socket.socketpair()
    with left, right:
        right.settimeout(0.01)
        left.sendall(streamed(kms, arn, b"a" * 2000)[:-10])
        pieces = esdk.Opener(kms, arn, RESPONSE, right.makefile("rb")).pieces()
        assert next(pieces) == b"a" * 1024
        with pytest.raises(TimeoutError):
            next(pieces)


def test_an_attested_answer_of_kms_serves_too(kms: Client, arn: str) -> None:
    class Attested(Client):
        def decrypt(self, **asked: Any) -> Any:
            return {**super().decrypt(**asked), "CiphertextForRecipient": b"an envelope"}

    assert esdk.open(Attested(kms.endpoint), arn, REQUEST, esdk.seal(kms, arn, REQUEST, PROMPT)) == PROMPT


def test_whoever_may_encrypt_can_make_an_answer_unless_the_key_policy_looks_at_the_context(
    kms: Client, arn: str
) -> None:
    """Why docs/sealed-formats.md says in which contexts the enclave's role may Encrypt."""

    class Forger(Client):
        def generate_data_key(self, **asked: Any) -> Any:
            key = bytes(asked["NumberOfBytes"])
            wrapped = self.client.encrypt(
                KeyId=asked["KeyId"], Plaintext=key, EncryptionContext=asked["EncryptionContext"]
            )
            return {"CiphertextBlob": wrapped["CiphertextBlob"], "Plaintext": key, "KeyId": asked["KeyId"]}

    forged = esdk.seal(Forger(kms.endpoint), arn, RESPONSE, b"not from the enclave")
    assert esdk.open(kms, arn, RESPONSE, forged) == b"not from the enclave"
