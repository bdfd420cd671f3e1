"""The files that let the local system's enclave, container and clients trust each other.

authority.pem    what stands behind the simulated security module
root.pem         its root certificate: what a verifier trusts in place of AWS's
container.pem    the container's certificate and key, by which the enclave knows it
enclave.json     the enclave's configuration, new at each start

The others stay, so that who trusts the root once need not do so again; a container's certificate is made anew in time.
"""

import datetime
import shutil
import tempfile
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from emulators.clock import now_ms
from emulators.security_module import PCRS, Authority
from local.state import write_privately

PCR0 = PCRS[0].hex()

_LIFETIME = datetime.timedelta(days=365)


class SealingFiles:
    """Made by entering it; the enclave's socket is gone when it is left. The directory is its owner's alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = directory / "authority.pem"
        self.root = directory / "root.pem"
        self.container = directory / "container.pem"
        self.configuration = directory / "enclave.json"
        # Apart: the path of a Unix socket has 107 bytes at most, and the state directory may lie deep.
        self._socket_directory = Path(tempfile.mkdtemp(prefix="cloister-"))
        self.socket = self._socket_directory / "enclave"
        self._make()

    def configure(self, *, ticket_key: str, platform_key_arn: str, region: str, kms_endpoint: str) -> None:
        """Write what the enclave is told. On EC2 this file is part of the measured image."""
        _write(
            self.configuration,
            msgspec.json.encode(
                {
                    "ticket_keys": [ticket_key],
                    "container_certificates": [self.container.read_text().partition("-----BEGIN PRIVATE")[0]],
                    "platform_key_arn": platform_key_arn,
                    "regions": [region],
                    "kms_endpoints": {region: kms_endpoint},
                }
            ),
        )

    def close(self) -> None:
        shutil.rmtree(self._socket_directory, ignore_errors=True)

    def _make(self) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        authority = _authority(self.authority) or Authority.made(now_ms())
        _write(self.authority, authority.pem())
        _write(self.root, authority.root_pem())
        if not _lives(self.container):
            _write(self.container, _identity())


def _authority(path: Path) -> Authority | None:
    """That of the last start; None where it was killed before it had written one."""
    try:
        return Authority.read(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _lives(path: Path) -> bool:
    """Whether a certificate and its key are there, and last for a while."""
    try:
        pem = path.read_bytes()
        load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], None)
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except (FileNotFoundError, ValueError):
        return False
    return ends > datetime.datetime.now(datetime.UTC) + _LIFETIME / 12


def _identity() -> bytes:
    """A self-signed certificate, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloister container")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private


def _write(path: Path, content: bytes) -> None:
    write_privately(path, content.decode())
