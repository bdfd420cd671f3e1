"""`Recipient`: who is to open the answer, proved by an attestation document.

https://docs.aws.amazon.com/kms/latest/developerguide/cryptographic-attestation.html
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from emulators.kms.refusal import invalid
from sealed import attestation, cms
from sealed.attestation import Attestation
from sealed.refusal import DocumentRefused

LEAST_KEY_BITS = 2048
_MOST_PROVED = 256

# The DER of the only root that is trusted; None as long as it is not known.
AttestationRoot = Callable[[], bytes | None]


class RecipientInfo(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_RecipientInfo.html"""

    attestation_document: Annotated[bytes, msgspec.Meta(min_length=1, max_length=262_144)]
    key_encryption_algorithm: Literal["RSAES_OAEP_SHA_256"]


class Recipient(msgspec.Struct, frozen=True):
    said: Attestation
    public_key: RSAPublicKey

    def seal(self, secret: bytes) -> bytes:
        """`CiphertextForRecipient`."""
        return cms.seal_envelope(secret, self.public_key)


def root_in(path: Path) -> AttestationRoot:
    """The root in a PEM file, looked up anew for each call: the file may be written later, and again."""

    def root() -> bytes | None:
        try:
            pem = path.read_bytes()
        except FileNotFoundError:
            return None
        return attestation.root_of(pem)

    return root


class Recipients:
    """Whoever proves to be one. Threads may share it.

    The signatures of a document are verified once, for that is most of the work of a call; its age at every call.
    """

    def __init__(self, root: AttestationRoot) -> None:
        self._root = root
        self._proved: dict[tuple[bytes, bytes], Recipient] = {}

    def verified(self, info: RecipientInfo, now_ms: int) -> Recipient:
        """Raises Refused (ValidationException), saying what is wrong with the document."""
        try:
            trusted = self._root()
            if trusted is None:
                raise invalid("Recipient: no attestation root is known here yet; write its PEM file and try again.")
            return self._verified(info.attestation_document, trusted, now_ms)
        except DocumentRefused as refused:
            raise invalid(f"Recipient: {refused.text}") from None

    def _verified(self, document: bytes, trusted: bytes, now_ms: int) -> Recipient:
        proved = self._proved.get((document, trusted))
        if proved is not None and proved.said.timestamp_ms >= now_ms - attestation.MAX_AGE_MS:
            return proved
        said = attestation.verify(document, root=trusted, now_ms=now_ms)
        if len(self._proved) >= _MOST_PROVED:
            self._proved.clear()
        recipient = self._proved[document, trusted] = Recipient(said, _public_key(said.public_key))
        return recipient


def _public_key(der: bytes | None) -> RSAPublicKey:
    if der is None:
        raise invalid("Recipient: the attestation document carries no public key; attest with one.")
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise invalid("Recipient: the document's public key is not a SubjectPublicKeyInfo in DER.") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise invalid(f"Recipient: the document's public key must be RSA of at least {LEAST_KEY_BITS} bits.")
    return key
