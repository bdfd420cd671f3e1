"""Attestation documents of any shape, good and bad. What is not named is as a real one has it.

They owe nothing to the simulated security module, so that the two cannot be wrong in the same way.
"""

import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

NOW_MS = 1_765_432_100_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MODULE_ID = "i-0aaaaaaaaaaaaaaa0-enc0bbbbbbbbbbbbbbb0"
PCRS = {index: bytes([index + 1]) * 48 for index in range(16)}

_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Link(msgspec.Struct, frozen=True):
    """How one certificate of the chain is made; None leaves an extension out."""

    name: str
    ca: bool | None = True
    path_length: int | None = None
    usages: tuple[str, ...] | None = ("key_cert_sign",)
    from_ms: int = NOW_MS - DAY_MS
    until_ms: int = NOW_MS + DAY_MS
    curve: type[ec.EllipticCurve] = ec.SECP384R1
    signed_with: type[hashes.SHA256 | hashes.SHA384] = hashes.SHA384
    issuer_name: str | None = None
    extension: x509.ExtensionType | None = None
    """One more, critical."""


ROOT = Link("root")
REGION = Link("region", path_length=2)
ZONE = Link("zone", path_length=1)
HOST = Link("host", path_length=0)
LEAF = Link("leaf", ca=False, usages=("digital_signature",), from_ms=NOW_MS - 2 * HOUR_MS, until_ms=NOW_MS + HOUR_MS)
LINKS = (ROOT, REGION, ZONE, HOST, LEAF)


class Issued(msgspec.Struct, frozen=True):
    """A chain of certificates (DER, the root first, the leaf last) and their keys."""

    certificates: tuple[bytes, ...]
    keys: tuple[ec.EllipticCurvePrivateKey, ...]

    @property
    def root(self) -> bytes:
        return self.certificates[0]


@functools.cache
def issued(links: tuple[Link, ...] = LINKS) -> Issued:
    """Each link's certificate, signed by the one before it."""
    keys = tuple(ec.generate_private_key(link.curve()) for link in links)
    issuers = (links[0], *links)
    issuer_keys = (keys[0], *keys)
    return Issued(
        tuple(
            _certificate(link, key, issuer, issuer_key)
            for link, key, issuer, issuer_key in zip(links, keys, issuers, issuer_keys, strict=False)
        ),
        keys,
    )


def members(chain: Issued | None = None, /, **changed: object) -> dict[str, Any]:
    """What a document holds; a member that is changed to `...` is left out."""
    chain = chain or issued()
    real = {
        "module_id": MODULE_ID,
        "digest": "SHA384",
        "timestamp": NOW_MS,
        "pcrs": PCRS,
        "certificate": chain.certificates[-1],
        "cabundle": list(chain.certificates[:-1]),
        "public_key": None,
        "user_data": None,
        "nonce": None,
    }
    return {name: value for name, value in {**real, **changed}.items() if value is not ...}


def document(chain: Issued | None = None, /, **changed: object) -> bytes:
    """A signed document, by the rule but for what is changed."""
    return sign1(cbor2.dumps(members(chain, **changed)), chain)


def sign1(
    payload: bytes,
    chain: Issued | None = None,
    *,
    protected: bytes = b"\xa1\x01\x38\x22",
    unprotected: Mapping[object, object] | None = None,
) -> bytes:
    """`payload`, signed by the chain's last key."""
    key = (chain or issued()).keys[-1]
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    return cbor2.dumps([protected, unprotected or {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def cbor_map(entries: Sequence[tuple[object, object]]) -> bytes:
    """A map of these entries, the same key twice if they say so."""
    assert len(entries) < 24
    return bytes([0xA0 | len(entries)]) + b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in entries)


def certificate(tbs: bytes, issuer_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The certificate of which `tbs` is what is to be signed, be that well formed or not."""
    signature = b"\0" + issuer_key.sign(tbs, ec.ECDSA(hashes.SHA384()))
    ecdsa_with_sha384 = bytes.fromhex("300a06082a8648ce3d040303")
    inside = tbs + ecdsa_with_sha384 + bytes([0x03, len(signature)]) + signature
    return b"\x30\x82" + (len(inside) % 2**16).to_bytes(2, "big") + inside


def tbs_of(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).tbs_certificate_bytes


def _certificate(
    link: Link, key: ec.EllipticCurvePrivateKey, issuer: Link, issuer_key: ec.EllipticCurvePrivateKey
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(link.name))
        .issuer_name(_name(link.issuer_name or issuer.name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_instant(link.from_ms))
        .not_valid_after(_instant(link.until_ms))
    )
    if link.ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(link.ca, link.path_length), critical=True)
    if link.usages is not None:
        usages = x509.KeyUsage(**{usage: usage in link.usages for usage in _KEY_USAGES})
        builder = builder.add_extension(usages, critical=True)
    if link.extension is not None:
        builder = builder.add_extension(link.extension, critical=True)
    return builder.sign(issuer_key, link.signed_with()).public_bytes(Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _instant(ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
