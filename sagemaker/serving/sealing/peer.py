"""Which enclave this container trusts with what it is sent, and how it shows who it is itself."""

import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sealed import attestation
from sealed.measurements import Measurements
from sealed.refusal import DocumentRefused, ManifestRefused
from serving.settings import ENCLAVE_ADDRESS, BadSettings, EnclaveSettings


class Address(msgspec.Struct, frozen=True):
    """`host` is a path for `unix`, a context id for `vsock`; `port` is 0 for `unix`."""

    kind: str
    host: str
    port: int


class Peer(msgspec.Struct, frozen=True):
    """`tls` shows our certificate and believes any: the enclave is known by its attestation, not by a name."""

    address: Address
    tls: ssl.SSLContext
    root: bytes
    allowed: Measurements


def peer_of(settings: EnclaveSettings) -> Peer:
    """Raises: BadSettings."""
    return Peer(
        _address(settings.address), _tls(settings.identity), _root(settings.root), _measurements(settings.measurements)
    )


def _address(text: str) -> Address:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(kind, rest, 0)
    host, _, port = rest.rpartition(":")
    if kind in ("tcp", "vsock") and host and port.isdecimal() and (kind == "tcp" or host.isdecimal()):
        return Address(kind, host, int(port))
    raise BadSettings(f"an enclave's address is {ENCLAVE_ADDRESS}, not {text!r}")


def _tls(identity: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # its certificate is vouched for by the attestation document
    try:
        context.load_cert_chain(identity)
    except (OSError, ssl.SSLError):
        raise BadSettings(f"{identity} does not hold a certificate and its key in PEM") from None
    return context


def _root(path: Path | None) -> bytes:
    if path is None:
        return attestation.aws_root()
    try:
        return attestation.root_of(path.read_bytes())
    except (OSError, DocumentRefused):
        raise BadSettings(f"{path} does not hold one root certificate in PEM") from None


def _measurements(pcrs: Sequence[str]) -> Measurements:
    try:
        return Measurements(tuple(_enclave(text) for text in pcrs))
    except ManifestRefused as error:
        raise BadSettings(f"--enclave-pcr: {error.text}") from None


def _enclave(text: str) -> dict[int, str]:
    named: dict[int, str] = {}
    for part in text.split(","):
        index, _, value = part.strip().partition("=")
        if not index.isdecimal() or int(index) in named:
            raise BadSettings(f"an enclave's measurements are given as 0=HEX,1=HEX, each index once, not {text!r}")
        named[int(index)] = value.lower()
    return named
