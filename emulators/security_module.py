"""A security module for enclaves that run on no Nitro host: it vouches for them in the shape that AWS's does today,
under a root certificate of its own. Whoever trusts that root trusts this program, so never trust it in production.
"""

import datetime
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Self

import cbor2
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from enclave.security_module import ModuleFailed

MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef"
# As in a real document: sixteen, of which the image, kernel, application, role, instance and signer are measured.
PCRS: Mapping[int, bytes] = {
    index: hashlib.sha384(f"simulated PCR{index}".encode()).digest() if index in (0, 1, 2, 3, 4, 8) else bytes(48)
    for index in range(16)
}

# https://github.com/aws/aws-nitro-enclaves-nsm-api/blob/main/docs/attestation_process.md, section 3.2.2.2
_LENGTHS = {"public_key": range(1, 1025), "user_data": range(513), "nonce": range(513)}
_RANDOM_BYTES = 256

_CA_LIFETIME = datetime.timedelta(days=30 * 365)
_LEAF_LIFETIME = datetime.timedelta(hours=3)
# AWS's begin a little before they are made, too.
_BACKDATED = datetime.timedelta(minutes=1)
_COORDINATE_BYTES = 48


class Authority(msgspec.Struct, frozen=True):
    """What stands behind the security modules of one fleet: the chain of certificates, and the key of its last."""

    host_key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    """The root's, a region's, a zone's and a host's."""

    @classmethod
    def made(cls, now_ms: int) -> Self:
        """A new root with a chain below it, valid for 30 years: a local system outlives AWS's, which last days."""
        at = _instant(now_ms)
        key = ec.generate_private_key(ec.SECP384R1())
        chain = [_ca("simulated.nitro-enclaves", key, None, key, at, None)]
        for path_length, subject in ((2, "region"), (1, "zonal"), (0, "i-0123456789abcdef0")):
            below = ec.generate_private_key(ec.SECP384R1())
            name = f"{subject}.local.simulated.nitro-enclaves"
            chain.append(_ca(name, below, chain[-1], key, at, path_length))
            key = below
        return cls(key, tuple(chain))

    @classmethod
    def read(cls, pem: bytes) -> Self:
        """What `pem` wrote. Raises ValueError."""
        key = load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("This is not the key of an authority of security modules.")
        return cls(key, tuple(x509.load_pem_x509_certificates(pem)))

    def pem(self) -> bytes:
        """The key and the chain, so that modules in other processes can be of this fleet. A secret."""
        key = self.host_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    def root_pem(self) -> bytes:
        """What a verifier has to trust."""
        return self.chain[0].public_bytes(Encoding.PEM)


class SimulatedSecurityModule:
    """An `enclave.security_module.SecurityModule`.

    `clock` tells ms since 1970; `pcrs` are those that differ from PCRS.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        clock: Callable[[], int],
        pcrs: Mapping[int, bytes] | None = None,
        module_id: str = MODULE_ID,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._pcrs = {**PCRS, **(pcrs or {})}
        self._module_id = module_id

    def attest(
        self, *, nonce: bytes | None = None, user_data: bytes | None = None, public_key: bytes | None = None
    ) -> bytes:
        """A document that holds these. Raises ModuleFailed."""
        asked = {"public_key": public_key, "user_data": user_data, "nonce": nonce}
        for name, value in asked.items():
            if value is not None and len(value) not in _LENGTHS[name]:
                raise ModuleFailed(f"The security module refused Attestation: {name} of {len(value)} bytes.")
        now_ms = self._clock()
        # AWS's module keeps one key for hours. A new one each time needs neither state nor a lock.
        key = ec.generate_private_key(ec.SECP384R1())
        payload = {
            "module_id": self._module_id,
            "digest": "SHA384",
            "timestamp": now_ms,
            "pcrs": self._pcrs,
            "certificate": self._leaf(key, now_ms).public_bytes(Encoding.DER),
            "cabundle": [certificate.public_bytes(Encoding.DER) for certificate in self._authority.chain],
            **asked,
        }
        return _sign1(_indefinite_map(payload), key)

    def random(self) -> bytes:
        """256 bytes, as AWS's module gives."""
        return os.urandom(_RANDOM_BYTES)

    def _leaf(self, key: ec.EllipticCurvePrivateKey, now_ms: int) -> x509.Certificate:
        at = _instant(now_ms)
        host = self._authority.chain[-1].subject
        return (
            _certificate(f"{self._module_id}.local.simulated", key, host, at, at + _LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=False)
            .sign(self._authority.host_key, hashes.SHA384())
        )


def _indefinite_map(members: Mapping[str, object]) -> bytes:
    """As AWS's module writes it since late 2025; cbor2 writes a whole value either way, and its inner ones definite."""
    return b"\xbf" + b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in members.items()) + b"\xff"


def _sign1(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """An untagged COSE_Sign1 with ES384 (RFC 9052, section 4.4)."""
    protected = cbor2.dumps({1: -35})
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
    return cbor2.dumps([protected, {}, payload, signature])


def _ca(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    at: datetime.datetime,
    path_length: int | None,
) -> x509.Certificate:
    """The certificate of one who may issue others; without an `issuer` it is a root's."""
    return (
        _certificate(name, key, issuer.subject if issuer else _name(name), at, at + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(issuer_key, hashes.SHA384())
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    at: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BACKDATED)
        .not_valid_after(until)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cloister"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _instant(ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
