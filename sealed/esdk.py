"""Mode `esdk`: messages of the AWS Encryption SDK, which open with the SDK of any language.

Beyond what the SDK checks: the encryption context is exactly the expected one, there is exactly one encrypted data
key, made by the expected KMS key, and nothing follows the message. To seal and to open costs one call of KMS each.

What the KMS client or the source of bytes raises goes through unchanged: only their owner knows what to make of it.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any, Protocol

from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsKeyringInput,
    CreateDefaultCryptographicMaterialsManagerInput,
)
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from aws_encryption_sdk.materials_managers.mpl.cmm import CryptoMaterialsManagerFromMPL

from .refusal import BrokenOff, NotOpened

FRAME_BYTES = 4096
STREAM_FRAME_BYTES = 1024  # small, because a frame leaves only when it is full
MOST_BYTES = 8 * 2**20  # of a message that is opened at once
LEAST_FRAME_BYTES, MOST_FRAME_BYTES = 512, 64 * 1024  # a message of tiny frames costs 30 times the CPU of any other

# https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html: u8 version | u16 suite | id
_VERSION = 2
_MESSAGE_ID = slice(3, 35)
_REPLAY_DOMAIN = b"cloister esdk v1 replay\0"

_UNSIGNED = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
_SIGNER = "aws-crypto-public-key"

_sdk = EncryptionSDKClient(
    commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
)
_providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())


class KmsClient(Protocol):
    """What is used of a KMS client, by boto3's names."""

    def generate_data_key(self, **asked: Any) -> Mapping[str, Any]: ...

    def decrypt(self, **asked: Any) -> Mapping[str, Any]: ...


def request_context(*, tenant: str, request_id: str) -> dict[str, str]:
    """The encryption context of a request."""
    return {"tenant_id": tenant, "request_id": request_id, "purpose": "request"}


def response_context(*, tenant: str, request_id: str) -> dict[str, str]:
    """The encryption context of the answer to that request."""
    return {"tenant_id": tenant, "request_id": request_id, "purpose": "response"}


def seal(kms_client: KmsClient, key_arn: str, context: Mapping[str, str], source: bytes) -> bytes:
    """A whole message for the key. Calls GenerateDataKey once; raises what the client raises."""
    sealer = Sealer(kms_client, key_arn, context, frame_bytes=FRAME_BYTES)
    return sealer.seal(source, final=True)


def open(kms_client: KmsClient, key_arn: str, context: Mapping[str, str], message: bytes) -> bytes:  # noqa: A001
    """What was sealed, signed or not. Calls Decrypt once, and only for a message of the right key and context.

    Raises: NotOpened, and what the client raises.
    """
    if not message.startswith(bytes((_VERSION,))) or len(message) > MOST_BYTES:
        raise NotOpened
    outside = _Outside()
    source = io.BytesIO(message)
    stream = _sdk.stream(
        mode="decrypt", source=source, materials_manager=_OneKey(_Kms(kms_client, outside), key_arn, context)
    )
    with _refusing(outside):
        if stream.header.frame_length < LEAST_FRAME_BYTES:
            raise NotOpened
        plaintext: bytes = stream.read()
    if source.tell() < len(message):
        raise NotOpened
    return plaintext


def replay_key(message: bytes, key_arn: str) -> bytes:
    """By what the enclave remembers that it has opened this message: the key that opened it, and its id, which the
    message's header authenticates. (A hash of the message would not do: who signed it can sign it again.)

    The id alone would not do either: whoever seals chooses it, and could use up that of somebody else's message.

    Raises: NotOpened.
    """
    if not message.startswith(bytes((_VERSION,))) or len(message) < _MESSAGE_ID.stop:
        raise NotOpened
    return hashlib.sha256(_REPLAY_DOMAIN + key_arn.encode() + b"\0" + message[_MESSAGE_ID]).digest()


class Sealer:
    """Seals one message piece by piece, unsigned, so that its reader need not wait for the end. Not thread-safe."""

    def __init__(
        self,
        kms_client: KmsClient,
        key_arn: str,
        context: Mapping[str, str],
        *,
        frame_bytes: int = STREAM_FRAME_BYTES,
    ) -> None:
        """Calls GenerateDataKey; raises what the client raises."""
        outside = _Outside()
        self._pieces = _Pieces()
        self._frame_bytes = frame_bytes
        self._stream = _sdk.stream(
            mode="encrypt",
            source=self._pieces,
            materials_manager=_OneKey(_Kms(kms_client, outside), key_arn, context),
            encryption_context=dict(context),
            algorithm=_UNSIGNED,
            frame_length=frame_bytes,
        )
        with _raising(outside):
            _ = self._stream.header
        self._ended = False

    def seal(self, piece: bytes, final: bool) -> bytes:
        """The bytes to send next: the header once, and every frame that this piece fills.

        A piece whose length is a multiple of the frames' leaves whole and at once. The message ends with one final
        piece, which may be empty. Raises: RuntimeError after the final piece.
        """
        if self._ended:
            raise RuntimeError("The answer is sealed to its end: it takes no more pieces.")
        self._pieces.held += piece
        self._ended = final
        if final:
            return self._taken(-1)
        # The header waits in the SDK's buffer; once it is out, a read of whole frames reads no further.
        head = self._taken(len(self._stream.output_buffer))
        frames = self._taken(len(self._pieces.held) // self._frame_bytes * self._frame_bytes)
        # The frames are longer than what is in them; the rest is ready.
        return head + frames + self._taken(len(self._stream.output_buffer))

    def _taken(self, count: int) -> bytes:
        taken: bytes = self._stream.read(count)
        return taken


class Opener:
    """Opens one unsigned message as it comes. Not thread-safe."""

    def __init__(self, kms_client: KmsClient, key_arn: str, context: Mapping[str, str], source: IO[bytes]) -> None:
        """`source` is read to its end: a read of n bytes may give fewer, and none only at the end."""
        self._outside = _Outside()
        self._source = _Source(source, self._outside)
        self._stream = _sdk.stream(
            mode="decrypt-unsigned",
            source=self._source,
            materials_manager=_OneKey(_Kms(kms_client, self._outside), key_arn, context),
            max_body_length=MOST_FRAME_BYTES,
        )

    def pieces(self) -> Iterator[bytes]:
        """Each frame as soon as it is there, authenticated. Calls Decrypt once.

        Raises: NotOpened. BrokenOff when the source ends where the message does not. And what the KMS client and the
        source raise.
        """
        with _refusing(self._outside, self._source):
            frame_bytes = self._stream.header.frame_length
            if frame_bytes < LEAST_FRAME_BYTES:
                raise NotOpened
        while piece := self._read(frame_bytes):
            yield piece
        if self._source.read(1):
            raise NotOpened

    def _read(self, count: int) -> bytes:
        with _refusing(self._outside, self._source):
            piece: bytes = self._stream.read(count)
        return piece


class _OneKey(CryptoMaterialsManagerFromMPL):  # type: ignore[misc]
    """The SDK's own materials manager over AWS's strict KMS keyring, asked only when all is exactly as expected."""

    def __init__(self, kms: "_Kms", key_arn: str, context: Mapping[str, str]) -> None:
        self._key_arn = key_arn
        self._context = dict(context)
        keyring = _providers.create_aws_kms_keyring(CreateAwsKmsKeyringInput(kms_key_id=key_arn, kms_client=kms))
        super().__init__(
            _providers.create_default_cryptographic_materials_manager(
                CreateDefaultCryptographicMaterialsManagerInput(keyring=keyring)
            )
        )

    def decrypt_materials(self, request: Any) -> Any:
        context = dict(request.encryption_context)
        if request.algorithm.is_signing():
            context.pop(_SIGNER, None)
        makers = [(key.key_provider.provider_id, key.key_provider.key_info) for key in request.encrypted_data_keys]
        if context != self._context or makers != [("aws-kms", self._key_arn.encode())]:
            raise NotOpened
        return super().decrypt_materials(request)


class _Outside:
    """Remembers what somebody else's object raised, below a library that wraps it in errors of its own."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.failure = error
            raise


class _Kms:
    """The KMS client as the keyring sees it."""

    def __init__(self, client: KmsClient, outside: _Outside) -> None:
        self._client = client
        self._outside = outside
        # The keyring writes its name into the client's configuration; the client is shared, and not ours.
        self.meta = SimpleNamespace(config=SimpleNamespace(user_agent_extra=None))

    def generate_data_key(self, **asked: Any) -> dict[str, Any]:
        with self._outside.watched():
            return _only(self._client.generate_data_key(**asked), "CiphertextBlob", "Plaintext", "KeyId")

    def decrypt(self, **asked: Any) -> dict[str, Any]:
        with self._outside.watched():
            return _only(self._client.decrypt(**asked), "Plaintext", "KeyId")


class _Source:
    """The source of a message as the SDK sees it; knows whether the source ended early."""

    closed = False

    def __init__(self, source: IO[bytes], outside: _Outside) -> None:
        self._source = source
        self._outside = outside
        self.ended = False

    def read(self, count: int) -> bytes:
        with self._outside.watched():
            data = self._source.read(count)
        self.ended = self.ended or (not data and count > 0)
        return data


class _Pieces(io.RawIOBase):
    """What was given to be sealed and is not sealed yet: for the SDK a file that ends where it was read to."""

    def __init__(self) -> None:
        self.held = bytearray()

    def read(self, count: int = -1) -> bytes:
        taken = bytes(self.held[:count])
        del self.held[:count]
        return taken


def _only(answer: Mapping[str, Any], *names: str) -> dict[str, Any]:
    # Attested answers carry CiphertextForRecipient beside it, and every answer carries metadata.
    return {name: answer[name] for name in names}


@contextmanager
def _raising(outside: _Outside) -> Iterator[None]:
    try:
        yield
    except Exception:
        if outside.failure:
            raise outside.failure from None
        raise


@contextmanager
def _refusing(outside: _Outside, source: _Source | None = None) -> Iterator[None]:
    """Whatever goes wrong in here is one refusal. The SDK has no list of what it raises on a malformed message."""
    try:
        yield
    except Exception:
        if outside.failure:
            raise outside.failure from None
        if source and source.ended:
            raise BrokenOff from None
        raise NotOpened from None
