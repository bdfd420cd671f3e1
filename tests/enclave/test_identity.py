"""Whom the enclave lets in by TLS."""

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from enclave.identity import Identity

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def container(certificate: Path) -> Path:
    """The certificate of a container, which as it happens may issue others."""
    return certificate


def issued_by(container: Path, folder: Path) -> Path:
    """A certificate that the container's key has signed, with its chain and key."""
    pem = container.read_bytes()
    issuer, issuers_key = x509.load_pem_x509_certificate(pem), load_pem_private_key(pem, None)
    assert isinstance(issuers_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "friend")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(hours=1))
        .sign(issuers_key, hashes.SHA256())
    )
    path = folder / "friend.pem"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def admitted(identity: Identity, shown: Path) -> bool:
    """Whether who shows this certificate is let in, its handshake being done."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(shown)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    with identity.wrap(ours) as inside:
        caller = threading.Thread(target=lambda: context.wrap_socket(theirs).close())
        caller.start()
        inside.do_handshake()
        caller.join()
        return identity.admits(inside)


def test_a_container_lets_in_nobody_by_signing_for_them(container: Path, tmp_path: Path) -> None:
    identity = Identity([container.read_text().partition("-----BEGIN PRIVATE")[0]], NOW)
    assert admitted(identity, container)
    assert not admitted(identity, issued_by(container, tmp_path))
