"""Is this an enclave, and which: the attestation documents of AWS's Nitro security module.

A document is an untagged COSE_Sign1 (RFC 9052) around a CBOR map, signed with ES384 by a certificate that lives
three hours and hangs from AWS's root.
https://github.com/aws/aws-nitro-enclaves-nsm-api/blob/main/docs/attestation_process.md

A document is not a name: the twin (r, n - s) of its signature, and another encoding of the array around what is
signed, verify as well. Never take its hash for a replay key.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cbor2
import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta

from . import cbor, chain
from .measurements import Measurements
from .refusal import DocumentRefused

# The SHA-256 of its DER. The archive that AWS serves has another: see the page above, section 2.1.
AWS_ROOT_SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"

MOST_DOCUMENT_BYTES = 16 * 1024
MAX_AGE_MS = 300_000
# How far the security module's clock may be ahead of ours.
CLOCK_SKEW_MS = 60_000

_T = TypeVar("_T")

_ES384 = {1: -35}
_COORDINATE_BYTES = 48


class Attestation(msgspec.Struct, frozen=True):
    """What the security module says of the enclave, and (the last three) what the enclave had it say."""

    module_id: str
    timestamp_ms: int
    pcrs: Mapping[int, bytes]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None


class _Sign1(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    protected: bytes
    # Nothing signs it, and AWS puts nothing there.
    unprotected: Annotated[dict[Any, Any], Meta(max_length=0)]
    payload: bytes
    signature: Annotated[bytes, Meta(min_length=2 * _COORDINATE_BYTES, max_length=2 * _COORDINATE_BYTES)]


_Certificate = Annotated[bytes, Meta(min_length=1, max_length=1024)]


class _Payload(msgspec.Struct, frozen=True):
    """Section 2.2 and 3.2.2 of the page above; members that AWS may add are left alone, for AWS signs them."""

    module_id: Annotated[str, Meta(pattern="-enc")]
    digest: Literal["SHA384"]
    timestamp: int
    pcrs: Annotated[
        dict[Annotated[int, Meta(ge=0, lt=32)], Annotated[bytes, Meta(min_length=48, max_length=48)]],
        Meta(min_length=1),
    ]
    certificate: _Certificate
    cabundle: Annotated[tuple[_Certificate, ...], Meta(min_length=1, max_length=chain.MOST_ISSUERS)]
    public_key: Annotated[bytes, Meta(min_length=1, max_length=1024)] | None = None
    user_data: Annotated[bytes, Meta(max_length=512)] | None = None
    nonce: Annotated[bytes, Meta(max_length=512)] | None = None
    nitrotpm_pcrs: msgspec.UnsetType = msgspec.UNSET


def verify(document: bytes, *, root: bytes, now_ms: int, max_age_ms: int = MAX_AGE_MS) -> Attestation:
    """What `document` says, once it is proved that a security module said so, lately, of a production enclave.

    `root` is the DER of the only certificate that is trusted. Whether this is the enclave that the caller wants
    is asked of `check`.

    Raises: DocumentRefused.
    """
    signed = _read(cbor.loads(document, most_bytes=MOST_DOCUMENT_BYTES), _Sign1)
    if cbor.loads(signed.protected, most_bytes=MOST_DOCUMENT_BYTES) != _ES384:
        raise DocumentRefused("The document is not signed with ES384.")
    payload = _read(cbor.loads(signed.payload, most_bytes=MOST_DOCUMENT_BYTES), _Payload)
    _check_time(payload.timestamp, now_ms, max_age_ms)
    key = chain.leaf_key(payload.cabundle, payload.certificate, root=root, at_ms=payload.timestamp)
    _check_signature(signed, key)
    _check_production(payload.pcrs)
    return Attestation(
        module_id=payload.module_id,
        timestamp_ms=payload.timestamp,
        pcrs=payload.pcrs,
        public_key=payload.public_key,
        user_data=payload.user_data,
        nonce=payload.nonce,
    )


def check(said: Attestation, *, nonce: bytes | None, allowed: Measurements, user_data: bytes | None) -> None:
    """Nothing, if this is an enclave that is allowed, and it answered with exactly this nonce and user data.

    None means that the document must carry none.

    Raises: DocumentRefused.
    """
    if said.nonce != nonce:
        raise DocumentRefused("The document was not made for this question: its nonce is another.")
    if said.user_data != user_data:
        raise DocumentRefused("The document vouches for something else: its user data is another.")
    if not allowed.permits(said.pcrs):
        measured = ", ".join(f"PCR{index}={said.pcrs[index].hex()}" for index in (0, 1, 2) if index in said.pcrs)
        raise DocumentRefused(
            f"The enclave's measurements are not allowed: {measured}. Allow them if a release that you trust has them."
        )


@functools.cache
def aws_root() -> bytes:
    """The DER of AWS's root certificate. Raises: DocumentRefused, if the file beside this one is not AWS's."""
    root = root_of(Path(__file__).with_name("aws_nitro_root.pem").read_bytes())
    if hashlib.sha256(root).hexdigest() != AWS_ROOT_SHA256:
        raise DocumentRefused("aws_nitro_root.pem is not the root certificate of AWS; install Cloister again.")
    return root


def root_of(pem: bytes) -> bytes:
    """The DER of the certificate in `pem`, for `verify`. Raises: DocumentRefused."""
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError as error:
        raise DocumentRefused("The trusted root is not one certificate in PEM.") from error


def _read(item: Any, shape: type[_T]) -> _T:
    try:
        # bytes are bytes here, never a text in base64.
        return msgspec.convert(item, shape, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise DocumentRefused(f"This is not an attestation document of an enclave: {error!s:.120}.") from error


def _check_time(timestamp_ms: int, now_ms: int, max_age_ms: int) -> None:
    if timestamp_ms > now_ms + CLOCK_SKEW_MS:
        raise DocumentRefused("The document comes from the future; check this machine's clock.")
    if timestamp_ms < now_ms - max_age_ms:
        raise DocumentRefused(f"The document is older than {max_age_ms // 1000} seconds; ask for a new one.")


def _check_signature(signed: _Sign1, key: ec.EllipticCurvePublicKey) -> None:
    # RFC 9052, section 4.4: what is signed is this array, the empty string being data of the application.
    message = cbor2.dumps(["Signature1", signed.protected, b"", signed.payload])
    r, s = signed.signature[:_COORDINATE_BYTES], signed.signature[_COORDINATE_BYTES:]
    try:
        key.verify(
            encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")), message, ec.ECDSA(hashes.SHA384())
        )
    except InvalidSignature as error:
        raise DocumentRefused("The document's signature does not fit.") from error


def _check_production(pcrs: Mapping[int, bytes]) -> None:
    # An enclave in debug mode can be looked into from outside, and its image is measured as zeros:
    # https://docs.aws.amazon.com/enclaves/latest/user/set-up-attestation.html
    if not any(any(pcrs.get(index, b"")) for index in (0, 1, 2)):
        raise DocumentRefused("The enclave runs in debug mode, or has no measurements.")
