"""Mode `kms`: a request is what `kms.encrypt` makes, an answer what `kms.decrypt` opens. For clients with boto3 alone.

KMS's Encrypt takes no attestation document, so whoever may use the tenant's key could make an answer. Therefore an
answer repeats what only the enclave learned by opening this request: the request's nonce, and its hash. Those who
need more than that take `esdk` or `hpke`.
"""

import hashlib

import msgspec

from .refusal import NotOpened, TooLong

# https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html, API_Decrypt.html
MOST_PLAINTEXT_BYTES = 4096
MOST_BLOB_BYTES = 6144


class Echo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By which an answer proves that it is the answer to this request."""

    nonce: str | None
    request_sha256: str


class _Answer(msgspec.Struct):
    echo: Echo


def replay_key(blob: bytes) -> bytes:
    """By what the enclave remembers that it has opened this request (the blob is authenticated as a whole)."""
    return hashlib.sha256(blob).digest()


def with_echo(answer: bytes, *, nonce: str | None, blob: bytes) -> bytes:
    """The answer, a JSON object, with the echo of the request `blob` and of its `nonce` as last member.

    Raises: TooLong when KMS could not encrypt it; msgspec.DecodeError when it is no JSON object.
    """
    members = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
    echoed = msgspec.json.encode({**members, "echo": _echo(nonce, blob)})
    if len(echoed) > MOST_PLAINTEXT_BYTES:
        raise TooLong(
            f"The answer is longer than the {MOST_PLAINTEXT_BYTES} bytes that KMS encrypts: "
            "ask for fewer tokens, or use the mode esdk or hpke."
        )
    return echoed


def checked(answer: bytes, *, nonce: str | None, blob: bytes) -> bytes:
    """The answer, unchanged, once it is certain that it echoes this request.

    Raises: NotOpened.
    """
    if _echo_in(answer) != _echo(nonce, blob):
        raise NotOpened
    return answer


def is_answer(plaintext: bytes) -> bool:
    """Whether an enclave has made this: it carries an echo, which no request does."""
    return _echo_in(plaintext) is not None


def _echo_in(text: bytes) -> Echo | None:
    try:
        return msgspec.json.decode(text, type=_Answer).echo
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _echo(nonce: str | None, blob: bytes) -> Echo:
    return Echo(nonce, hashlib.sha256(blob).hexdigest())
