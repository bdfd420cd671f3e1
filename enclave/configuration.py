"""What one fleet's enclaves are told. The file is part of the measured image: whoever changes it changes PCR0."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealed import ticket
from sealed.arn import KeyArn
from sealed.refusal import BadArn


class BadConfiguration(Exception):
    """The text says what to change."""


class ParentPorts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On which vsock ports the parent forwards (vsock-proxy): the way out of an enclave, which has no network."""

    kms: dict[str, int]  # by region
    imds: int


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ticket_keys: tuple[bytes, ...]  # raw Ed25519 public keys of the gateway, base64 in the file
    container_certificates: tuple[str, ...]  # PEM: the containers that may ask
    platform_key_arn: str  # the KMS key under which key epochs are; "" where mode hpke is not used
    regions: tuple[str, ...]  # whose KMS keys may be used
    kms_endpoints: dict[str, str] = {}  # by region, where it is not AWS's own
    parent_ports: ParentPorts | None = None

    @property
    def platform_key(self) -> KeyArn | None:
        return KeyArn.parse(self.platform_key_arn) if self.platform_key_arn else None

    @property
    def gateway_keys(self) -> Mapping[bytes, Ed25519PublicKey]:
        """By the id that a ticket names."""
        keys = [Ed25519PublicKey.from_public_bytes(raw) for raw in self.ticket_keys]
        return {ticket.kid_of(key): key for key in keys}


def read(path: Path) -> Configuration:
    """Raises BadConfiguration."""
    try:
        configuration = msgspec.json.decode(path.read_bytes(), type=Configuration)
    except (OSError, msgspec.DecodeError) as error:
        raise BadConfiguration(f"{path}: {error}") from error
    if any(len(key) != 32 for key in configuration.ticket_keys) or not configuration.ticket_keys:
        raise BadConfiguration(f"{path}: ticket_keys must hold the gateway's raw Ed25519 keys, 32 bytes each.")
    if not configuration.container_certificates or not configuration.regions:
        raise BadConfiguration(f"{path}: name at least one container certificate and one region.")
    try:
        platform_key = configuration.platform_key
    except BadArn as error:
        raise BadConfiguration(f"{path}: platform_key_arn: {error.text}") from error
    if platform_key and platform_key.region not in configuration.regions:
        raise BadConfiguration(f"{path}: the platform key's region is not among the regions.")
    ports = configuration.parent_ports
    if ports and not set(configuration.regions) <= ports.kms.keys():
        raise BadConfiguration(f"{path}: parent_ports.kms must name a port for each region.")
    return configuration
