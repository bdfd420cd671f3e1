"""Which enclave is believed: a document that hangs from the pinned root, answers our nonce, and measures as allowed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from cloister._sealed import attestation
from cloister._sealed.attestation import Attestation
from cloister._sealed.hpke import KeyConfiguration, epoch_fault
from cloister._sealed.measurements import Measurements, read_manifest
from cloister.refusal import AttestationUnavailable, DocumentRefused, NotConfigured

NONCE_BYTES = 32
TRUST_MS = 300_000
"""How long a verified document counts. The enclave's measurements cannot change while it runs."""
CONFIGURATION_MARGIN_MS = 30_000
"""So long before a key configuration ends, another one is asked for: requests travel, and clocks differ."""


class AnyEnclave(msgspec.Struct, frozen=True):
    """Every production enclave of AWS's, whoever built it: only for trying things out."""


ANY_ENCLAVE: Final = AnyEnclave()


class ReleaseManifest(msgspec.Struct, frozen=True):
    """The enclaves of a signed list of releases; `public_key` is the releaser's raw Ed25519 key, 32 bytes.

    The list is read again for each document, so that a release ends when the list says so.
    """

    text: bytes
    public_key: bytes

    @classmethod
    def at(cls, path: str | Path, public_key: bytes) -> "ReleaseManifest":
        """The manifest in a file. Raises: NotConfigured."""
        try:
            return cls(Path(path).read_bytes(), public_key)
        except OSError as error:
            raise NotConfigured(f"The release manifest cannot be read: {error}.") from error


Allowed = Measurements | ReleaseManifest | AnyEnclave
Given = Allowed | Iterable[Mapping[int, str]] | None


def allowed(given: Given) -> Allowed:
    """What a caller gave as `measurements`; lists of PCRs become Measurements.

    Raises: NotConfigured when there are none, for then nothing tells the right enclave from another one.
    """
    if isinstance(given, Measurements | ReleaseManifest | AnyEnclave):
        return given
    if isinstance(given, str | Mapping):
        raise NotConfigured("Give measurements as a list with one entry for each enclave: measurements=[{0: PCR0}].")
    found = Measurements(tuple(given or ()))
    if not found.allowed:
        raise NotConfigured(
            "Say which enclave you trust: measurements=[{0: PCR0}] with the published value, a "
            "cloister.ReleaseManifest, or cloister.ANY_ENCLAVE to try things out."
        )
    return found


def root(given: str | Path | bytes | None) -> bytes:
    """The DER of the only root that is trusted: from PEM, from the path of a PEM file, or AWS's own.

    Raises: NotConfigured.
    """
    if given is None:
        return attestation.aws_root()
    try:
        return attestation.root_of(given if isinstance(given, bytes) else Path(given).read_bytes())
    except OSError as error:
        raise NotConfigured(f"The attestation root cannot be read: {error}.") from error
    except DocumentRefused as error:
        raise NotConfigured(
            "The attestation root is not one certificate in PEM; without one, AWS's is used."
        ) from error


class Believed(msgspec.Struct, frozen=True):
    """An enclave that was verified, its key configuration if there is one, and until when both count."""

    attestation: Attestation
    configuration: KeyConfiguration | None
    until_ms: int


_NONE = msgspec.Raw(b"null")


class _Told(msgspec.Struct, frozen=True):
    document: bytes
    configuration: msgspec.Raw = _NONE


class Trust(msgspec.Struct, frozen=True):
    """What a document must prove: the root (DER) and the measurements."""

    root: bytes
    allowed: Allowed

    def believe(self, told: bytes, *, nonce: bytes, now_ms: int) -> Believed:
        """The enclave behind the gateway's answer `told`.

        Raises: AttestationUnavailable when it is no such answer; DocumentRefused; ManifestRefused.
        """
        document, configuration = _read(told)
        said = self.verify(document, nonce=nonce, now_ms=now_ms)
        if said.user_data != (None if configuration is None else configuration.fingerprint()):
            raise DocumentRefused("The enclave does not vouch for this key configuration: it was changed on its way.")
        until_ms = now_ms + TRUST_MS
        if configuration is not None:
            _must_live(configuration, now_ms)
            until_ms = min(until_ms, configuration.expires_ms - CONFIGURATION_MARGIN_MS)
        return Believed(said, configuration, until_ms)

    def verify(self, document: bytes, *, nonce: bytes, now_ms: int) -> Attestation:
        """What an enclave that is trusted says; its `user_data` is the caller's to judge.

        Raises: DocumentRefused, ManifestRefused.
        """
        said = attestation.verify(document, root=self.root, now_ms=now_ms)
        attestation.check(said, nonce=nonce, allowed=self._allowed(said, now_ms), user_data=said.user_data)
        return said

    def _allowed(self, said: Attestation, now_ms: int) -> Measurements:
        match self.allowed:
            case ReleaseManifest(text, public_key):
                return read_manifest(text, public_key, now_ms)
            case AnyEnclave():
                return Measurements.of(said.pcrs.get(0, bytes(48)).hex())  # all zero fits nothing
            case measurements:
                return measurements


def _must_live(configuration: KeyConfiguration, now_ms: int) -> None:
    match epoch_fault(configuration.expires_ms, now_ms):
        case "over":
            raise DocumentRefused("The enclave's key configuration has expired; check this machine's clock.")
        case "too long":
            # No enclave makes such an epoch, nor opens what is sealed in it.
            raise DocumentRefused(
                "The enclave's key configuration would last for more than 91 days: nothing is sealed to it. Check this "
                "machine's clock, and tell the operator."
            )


def _read(told: bytes) -> tuple[bytes, KeyConfiguration | None]:
    try:
        answer = msgspec.json.decode(told, type=_Told)
    except ValueError as error:  # msgspec's: not JSON, or of another shape
        raise AttestationUnavailable(
            "The gateway's answer is not an attestation. Check the base URL: it ends in /tenants/TENANT/v1."
        ) from error
    configuration = bytes(answer.configuration)
    return answer.document, None if configuration == bytes(_NONE) else KeyConfiguration.parse(configuration)
