"""The enclave's TLS: a certificate that lives as long as the process and that its attestation document vouches for,
and the containers that may come in."""

import datetime
import hashlib
import os
import socket
import ssl
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = datetime.timedelta(days=3650)  # nobody goes by it: the document is fresh, and the key dies with the process


class Identity:
    """`digest`: SHA-256 of the certificate's DER, the `user_data` of the documents that answer HELLO."""

    def __init__(self, container_certificates: Iterable[str], now: datetime.datetime) -> None:
        """Raises ValueError, ssl.SSLError for certificates that are none."""
        allowed = [x509.load_pem_x509_certificate(pem.encode()) for pem in container_certificates]
        key = ec.generate_private_key(ec.SECP256R1())
        own = _certificate(key, now)
        self.digest = hashlib.sha256(own.public_bytes(Encoding.DER)).digest()
        self._allowed = {certificate.public_bytes(Encoding.DER) for certificate in allowed}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.num_tickets = 0  # connections are kept, so sessions need not be
        for pem in container_certificates:
            self._context.load_verify_locations(cadata=pem)
        _load(self._context, own, key)

    def admits(self, tls: ssl.SSLSocket) -> bool:
        """Is this one of the containers, and not somebody whose certificate one of them has signed?"""
        return tls.getpeercert(binary_form=True) in self._allowed

    def wrap(self, accepted: socket.socket) -> ssl.SSLSocket:
        """The handshake is still to be done. Raises OSError."""
        return self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)


def _certificate(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloister enclave")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """`ssl` takes a certificate from a file only; this one is never on any disk."""
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    held = os.memfd_create("identity")
    try:
        os.write(held, pem)
        context.load_cert_chain(f"/proc/self/fd/{held}")
    finally:
        os.close(held)
