"""The certificates between AWS's root and the key that signs an attestation document.

The rules are those of RFC 5280, section 6.1, for one order, one algorithm and one curve. By hand, because
`cryptography.x509.verification` looks for any path through certificates in any order, takes RSA and other curves,
and by its own rules refuses AWS's leaf, which has no authorityKeyIdentifier and no subjectAltName.
"""

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import SignatureAlgorithmOID

from .refusal import DocumentRefused

# AWS's are four: the root's, a region's, a zone's and a host's.
MOST_ISSUERS = 8

# What `cryptography` raises for a certificate that is no certificate, or none that can be used for this.
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def leaf_key(cabundle: Sequence[bytes], leaf: bytes, *, root: bytes, at_ms: int) -> ec.EllipticCurvePublicKey:
    """The key of the certificate `leaf`, for which `root` stands by way of `cabundle` (DER, the root first).

    All must be valid at `at_ms` (ms since 1970). Only `root` is trusted; a `cabundle` that begins with another is
    refused.

    Raises: DocumentRefused.
    """
    if cabundle[0] != root:
        raise DocumentRefused(
            "The document hangs from a root that is not trusted. Only a simulated enclave has another than AWS's, "
            "which must be named."
        )
    at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    links = [*cabundle[1:], leaf]
    try:
        issuer = x509.load_der_x509_certificate(root)
        # From the root down, so that nothing of a certificate is believed before its signature is checked.
        for issuers_below, der in zip(reversed(range(len(links))), links, strict=True):
            _check_certificate(issuer, at)
            _check_may_issue(issuer, issuers_below)
            issuer = _issued(der, issuer)
        _check_certificate(issuer, at)
        _check_may_sign(issuer)
        return _key(issuer)
    except x509.ExtensionNotFound as error:
        raise DocumentRefused("A certificate of the document does not say what it is for.") from error
    except _UNREADABLE as error:
        raise DocumentRefused("A certificate of the document cannot be read.") from error


def _issued(der: bytes, issuer: x509.Certificate) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(der)
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        raise DocumentRefused("A certificate of the document is not signed with ECDSA and SHA-384.")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature) as error:
        raise DocumentRefused("A certificate of the document was not issued by the one above it.") from error
    return certificate


def _check_certificate(certificate: x509.Certificate, at: datetime.datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise DocumentRefused("A certificate of the document was not valid when the document was made.")
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
            raise DocumentRefused(f"A certificate demands what is unknown here: {extension.oid.dotted_string}.")
    _key(certificate)


def _check_may_issue(certificate: x509.Certificate, issuers_below: int) -> None:
    constraints, usage = _constraints(certificate), _usage(certificate)
    if not (constraints.ca and usage.key_cert_sign):
        raise DocumentRefused("A certificate of the document was issued by one that may not issue any.")
    if constraints.path_length is not None and constraints.path_length < issuers_below:
        raise DocumentRefused("The document's chain of certificates is longer than one of them allows.")


def _check_may_sign(certificate: x509.Certificate) -> None:
    if _constraints(certificate).ca or not _usage(certificate).digital_signature:
        raise DocumentRefused("The document's certificate is not one that signs documents.")


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def _usage(certificate: x509.Certificate) -> x509.KeyUsage:
    return certificate.extensions.get_extension_for_class(x509.KeyUsage).value


def _key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DocumentRefused("A key of the document's certificates is not one of P-384.")
    return key
