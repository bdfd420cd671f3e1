"""Which enclaves are allowed: by the measurements (PCRs) that the security module vouches for.

They come from the operator, or from a release manifest that is signed with a key of its own, so that whoever
serves the manifest cannot allow an enclave of theirs:

    {"manifest": base64 of JSON, "signature": base64 of Ed25519 over CONTEXT + that JSON}
    {"releases": [{"version", "pcrs": {"0": hex, "1": hex, "2": hex}, "not_after_ms"}], "issued_ms"}
"""

import re
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .refusal import ManifestRefused

CONTEXT = b"cloister release manifest v1\0"
MOST_MANIFEST_BYTES = 256 * 1024
# How far the signer's clock may be ahead of ours.
CLOCK_SKEW_MS = 60_000

_SHA384_HEX = re.compile(r"[0-9a-f]{96}")


class Measurements(msgspec.Struct, frozen=True):
    """The enclaves that are allowed, each by some of its PCRs (index -> SHA-384 in lower-case hex), PCR0 always.

    Raises: ManifestRefused.
    """

    allowed: tuple[Mapping[int, str], ...]

    def __post_init__(self) -> None:
        for pcrs in self.allowed:
            if 0 not in pcrs:
                raise ManifestRefused("An enclave is allowed by its PCR0 at least; name it.")
            for index, value in pcrs.items():
                if index not in range(32) or _SHA384_HEX.fullmatch(value) is None:
                    raise ManifestRefused(f"PCR{index} must be one of 0 to 31, as 96 lower-case hex digits.")

    @classmethod
    def of(cls, *pcr0: str) -> Self:
        """The enclaves with these PCR0, whatever their other PCRs are."""
        return cls(tuple({0: value} for value in pcr0))

    def permits(self, pcrs: Mapping[int, bytes]) -> bool:
        """Whether one of the allowed enclaves has these PCRs. One that is all zero measures nothing and never fits."""
        return any(
            all(any(pcrs.get(index, b"")) and pcrs[index].hex() == value for index, value in enclave.items())
            for enclave in self.allowed
        )


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One build of the enclave, and until when it is allowed (ms since 1970; None: until a manifest leaves it out)."""

    version: str
    pcrs: dict[int, str]
    not_after_ms: int | None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    releases: tuple[Release, ...]
    issued_ms: int


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: bytes
    signature: bytes


def read_manifest(text: bytes, public_key: bytes, now_ms: int) -> Measurements:
    """The releases that are allowed now, by a manifest signed with the raw Ed25519 `public_key`.

    Raises: ManifestRefused.
    """
    if len(text) > MOST_MANIFEST_BYTES:
        raise ManifestRefused(f"The release manifest is larger than {MOST_MANIFEST_BYTES} bytes.")
    try:
        signed = msgspec.json.decode(text, type=_Signed)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.signature, CONTEXT + signed.manifest)
        manifest = msgspec.json.decode(signed.manifest, type=_Manifest)
    except InvalidSignature as error:
        raise ManifestRefused("The release manifest is not signed by the release key; fetch it again.") from error
    except ValueError as error:  # msgspec's too: not JSON, or of another shape.
        raise ManifestRefused(f"The release manifest cannot be read: {error}.") from error
    if manifest.issued_ms > now_ms + CLOCK_SKEW_MS:
        raise ManifestRefused("The release manifest comes from the future; check this machine's clock.")
    current = tuple(
        release.pcrs for release in manifest.releases if release.not_after_ms is None or now_ms <= release.not_after_ms
    )
    if not current:
        raise ManifestRefused("No release of the manifest is allowed any more; fetch a newer one.")
    return Measurements(current)


def sign_manifest(releases: Sequence[Release], issued_ms: int, private_key: Ed25519PrivateKey) -> bytes:
    """The release manifest, for `read_manifest`."""
    manifest = msgspec.json.encode(_Manifest(tuple(releases), issued_ms))
    return msgspec.json.encode(_Signed(manifest, private_key.sign(CONTEXT + manifest)))
