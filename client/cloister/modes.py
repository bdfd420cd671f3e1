"""How each mode seals a request and opens its answer.

    hpke   to the key that the verified enclave vouched for; no KMS
    esdk   an AWS Encryption SDK message under the tenant's KMS key; one KMS call to seal, one to open
    kms    what kms.encrypt makes; small and unary; one KMS call to seal, one to open

All of it blocks: it computes, and may call KMS.
"""

import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal, cast

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from cloister._sealed import hpke, kms_mode, refusal
from cloister._sealed.arn import KeyArn
from cloister.refusal import BrokenOff, DocumentRefused, KmsRefused, NotConfigured, NotOpened, NotSealed
from cloister.trust import Believed

ModeName = Literal["kms", "esdk", "hpke"]
KmsClient = Any
"""What boto3.client("kms") makes."""
Source = Iterator[bytes]


class Call(msgspec.Struct, frozen=True):
    """One request of the OpenAI API, about to be sealed. `ceiling_tokens` is None where it names none."""

    tenant: str
    pool: str
    body: bytes
    stream: bool
    ceiling_tokens: int | None


class Sealed(msgspec.Struct, frozen=True):
    """A sealed request, and what opens the answer to it and to no other.

    `open` raises NotOpened, BrokenOff, KmsRefused, and what reading the source raises.
    """

    body: bytes
    open: Callable[[Source], Iterator[bytes]]


class Hpke:
    """RFC 9180, to a key that the attestation document vouches for; `hybrid` adds ML-KEM-768."""

    name: ModeName = "hpke"
    key_arn: str | None = None

    def __init__(self, *, hybrid: bool) -> None:
        self._hybrid = hybrid

    def seal(self, call: Call, request_id: str, believed: Believed) -> Sealed:
        """Raises: DocumentRefused when the enclave has no key for this."""
        if believed.configuration is None:
            raise DocumentRefused(f"The enclave of {call.pool!r} has no key for hpke: use mode='esdk', or ask later.")
        wire, opener = hpke.seal_request(
            believed.configuration,
            tenant=call.tenant,
            request_id=request_id,
            pool=call.pool,
            plaintext=call.body,
            hybrid=self._hybrid,
        )

        def pieces(source: Source) -> Iterator[bytes]:
            with _as_answer():
                for data in source:
                    yield from opener.feed(data)
                opener.finish()

        return Sealed(wire, pieces)


class Esdk:
    """AWS Encryption SDK messages, bound to tenant and request by their encryption context."""

    name: ModeName = "esdk"

    def __init__(self, key_arn: str, kms: KmsClient) -> None:
        self.key_arn = key_arn
        self._kms = kms

    def seal(self, call: Call, request_id: str, believed: Believed) -> Sealed:  # noqa: ARG002
        """Raises: KmsRefused."""
        from cloister._sealed import esdk  # a second to import; hpke and kms do without

        asked = esdk.request_context(tenant=call.tenant, request_id=request_id)
        with kms_calls(self.key_arn):
            body = esdk.seal(self._kms, self.key_arn, asked, call.body)

        def pieces(source: Source) -> Iterator[bytes]:
            answered = esdk.response_context(tenant=call.tenant, request_id=request_id)
            with _as_answer(), kms_calls(self.key_arn):
                yield from esdk.Opener(self._kms, self.key_arn, answered, cast(IO[bytes], _Pulled(source))).pieces()

        return Sealed(body, pieces)


class Kms:
    """The blob of kms.encrypt. KMS's Encrypt is not attested, so the answer must echo the request."""

    name: ModeName = "kms"

    def __init__(self, key_arn: str, kms: KmsClient) -> None:
        self.key_arn = key_arn
        self._kms = kms

    def seal(self, call: Call, request_id: str, believed: Believed) -> Sealed:  # noqa: ARG002
        """Raises: NotSealed for what the mode cannot carry; KmsRefused."""
        if call.stream:
            raise NotSealed("Mode kms cannot stream: ask without stream=True, or use mode='esdk' or 'hpke'.")
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(24)).decode()
        members = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
        plaintext = msgspec.json.encode({**members, "nonce": nonce})
        if len(plaintext) > kms_mode.MOST_PLAINTEXT_BYTES:
            raise NotSealed(
                f"The request is {len(plaintext):,} bytes; mode kms carries {kms_mode.MOST_PLAINTEXT_BYTES:,}. "
                "Use mode='esdk' or 'hpke'."
            )
        with kms_calls(self.key_arn):
            blob = self._kms.encrypt(KeyId=self.key_arn, Plaintext=plaintext)["CiphertextBlob"]

        def pieces(source: Source) -> Iterator[bytes]:
            answer = b"".join(source)
            with _as_answer(), kms_calls(self.key_arn):
                if not 0 < len(answer) <= kms_mode.MOST_BLOB_BYTES:
                    raise refusal.NotOpened
                opened = self._kms.decrypt(KeyId=self.key_arn, CiphertextBlob=answer)["Plaintext"]
                yield kms_mode.checked(opened, nonce=nonce, blob=blob)

        return Sealed(blob, pieces)


Mode = Hpke | Esdk | Kms


class _Pulled:
    """The pieces of a source as a file, read no further than is asked for: a stream must not wait for its end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while not self._held and (data := next(self._source, None)) is not None:
            self._held = data
        taken, self._held = self._held[:size], self._held[size:]
        return taken


def mode(name: str, *, kms_key_arn: str | None, kms_client: KmsClient | None, hybrid: bool) -> Mode:
    """The mode of that name; without a `kms_client`, boto3's own in the key's region.

    Raises: NotConfigured, BadArn.
    """
    if name == "hpke":
        return Hpke(hybrid=hybrid)
    if name not in ("esdk", "kms"):
        raise NotConfigured(f"There is no mode {name!r}: choose 'esdk', 'hpke' or 'kms'.")
    if kms_key_arn is None:
        raise NotConfigured(f"Mode {name} seals under your KMS key: give its full ARN as kms_key_arn.")
    key = KeyArn.parse(kms_key_arn)
    kms = kms_client or client_for(key)
    return Esdk(str(key), kms) if name == "esdk" else Kms(str(key), kms)


def client_for(key: KeyArn) -> KmsClient:
    """boto3's KMS client in the key's region. Raises: NotConfigured."""
    import boto3  # half a second to import; hpke does without

    try:
        # A session of its own: boto3's default one is not thread-safe, and keeps the credentials that it found first.
        return boto3.Session().client("kms", region_name=key.region)
    except BotoCoreError as error:
        raise NotConfigured(f"boto3 makes no KMS client: {error}.") from error


@contextmanager
def _as_answer() -> Iterator[None]:
    """The refusals of the formats, with what the client's user should do about them."""
    try:
        yield
    except refusal.NotOpened as error:
        raise NotOpened from error
    except refusal.BrokenOff as error:
        raise BrokenOff from error


@contextmanager
def kms_calls(key_arn: str) -> Iterator[None]:
    """What boto3 raises, as refusals of ours. Raises: KmsRefused, NotOpened."""
    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        if problem.get("Code") in ("InvalidCiphertextException", "IncorrectKeyException"):
            raise refusal.NotOpened from error
        raise KmsRefused(
            f"KMS answered {problem.get('Code')} for {key_arn}: {str(problem.get('Message')).rstrip('.')}. "
            f"Check the ARN, and that your credentials may use kms:{error.operation_name} with this key."
        ) from error
    except BotoCoreError as error:
        raise KmsRefused(f"KMS could not be asked about {key_arn}: {str(error).rstrip('.')}.") from error
