"""What the commands need to know, from flags or the environment, read once."""

import argparse
import base64
import binascii
import re
from collections.abc import Mapping

import msgspec

from cloister._sealed.measurements import Measurements
from cloister.cli.signed_in import SignIns
from cloister.refusal import NotConfigured
from cloister.trust import ANY_ENCLAVE, Allowed, ReleaseManifest, Trust, root

_FLAGS = {
    "base_url": ("CLOISTER_BASE_URL", "the gateway, as https://HOST, without /tenants"),
    "tenant": ("CLOISTER_TENANT", "your tenant's id"),
    "api_key": ("CLOISTER_API_KEY", "an API key of the tenant's, where you are not signed in (cloister login)"),
    "kms_key_arn": ("CLOISTER_KMS_KEY_ARN", "the full ARN of the KMS key that requests are sealed under"),
    "attestation_root": ("CLOISTER_ATTESTATION_ROOT", "PEM file of the only trusted root [AWS's]"),
    "release_manifest": ("CLOISTER_RELEASE_MANIFEST", "file with the signed list of enclaves to trust"),
    "release_key": ("CLOISTER_RELEASE_KEY", "base64 of the Ed25519 public key that signs that list"),
}
_BASE_URL = re.compile(r"https?://(?!.*/tenants(?:/|$)).+")
_PCR = re.compile(r"([0-9]{1,2})=([0-9A-Fa-f]{96})")


class Settings(msgspec.Struct, frozen=True):
    """Settings as they were given; what is missing is reported by who needs it. `pcrs` are of one enclave."""

    base_url: str | None
    tenant: str | None
    api_key: str | None
    kms_key_arn: str | None
    attestation_root: str | None
    release_manifest: str | None
    release_key: str | None
    pcrs: dict[int, str]
    any_enclave: bool

    def must(self, name: str) -> str:
        """A setting that cannot be done without. Raises: NotConfigured."""
        value: str | None = getattr(self, name)
        if value:
            return value
        variable, meaning = _FLAGS[name]
        raise NotConfigured(f"Set {variable} or --{name.replace('_', '-')}: {meaning}.")

    @property
    def tenant_url(self) -> str:
        """Raises: NotConfigured."""
        return f"{base_url(self.must('base_url'))}/tenants/{self.must('tenant')}"

    @property
    def measurements(self) -> Allowed | None:
        """Which enclaves to trust; None when nothing says it. Raises: NotConfigured, ManifestRefused."""
        if self.any_enclave:
            return ANY_ENCLAVE
        if self.release_manifest:
            try:
                key = base64.b64decode(self.must("release_key"), validate=True)
            except binascii.Error as error:
                raise NotConfigured("The release key is not base64.") from error
            return ReleaseManifest.at(self.release_manifest, key)
        return Measurements((self.pcrs,)) if self.pcrs else None

    def trust(self) -> Trust:
        """Raises: NotConfigured, ManifestRefused."""
        if self.measurements is None:
            raise NotConfigured(
                "Say which enclave you trust: CLOISTER_PCR0 or --pcr 0=HEX with the published value, "
                "--release-manifest with --release-key, or --any-enclave to try things out."
            )
        return Trust(root(self.attestation_root), self.measurements)

    def trust_or_any(self) -> Trust:
        """To look at an enclave rather than rely on it: without measurements, any will do."""
        return Trust(root(self.attestation_root), self.measurements or ANY_ENCLAVE)


def base_url(text: str) -> str:
    """A gateway's address without its last slash. Raises: NotConfigured."""
    url = text.rstrip("/")
    if _BASE_URL.fullmatch(url) is None:
        raise NotConfigured(f"The base URL must be http(s)://HOST, without /tenants; {url} is not.")
    return url


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command has."""
    group = parser.add_argument_group("settings")
    for name, (variable, meaning) in _FLAGS.items():
        group.add_argument("--" + name.replace("_", "-"), metavar="…", help=f"{meaning}; {variable}")
    group.add_argument(
        "--pcr", action="append", default=[], metavar="N=HEX", help="a PCR of the enclave to trust; CLOISTER_PCR0, …"
    )
    group.add_argument("--any-enclave", action="store_true", help="trust every production enclave of AWS's: for trials")
    parser.set_defaults(read=read, signs_in=False)


def read(flags: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The flags, and the environment where there is none. Raises: NotConfigured."""
    given = {name: getattr(flags, name) or environment.get(variable) for name, (variable, _) in _FLAGS.items()}
    if not given["api_key"] and given["base_url"] and not flags.signs_in:
        given["api_key"] = SignIns(environment).token(base_url(given["base_url"]))
    return Settings(**given, pcrs=_pcrs(flags.pcr, environment), any_enclave=flags.any_enclave)


def _pcrs(flags: list[str], environment: Mapping[str, str]) -> dict[int, str]:
    texts = flags or [f"{index}={value}" for index in range(32) if (value := environment.get(f"CLOISTER_PCR{index}"))]
    found = [_PCR.fullmatch(text) for text in texts]
    pcrs = {int(each[1]): each[2].lower() for each in found if each is not None}
    if len(pcrs) != len(texts):
        raise NotConfigured("A PCR is given as N=HEX with 96 hex digits, each once: --pcr 0=…, or CLOISTER_PCR0=….")
    return pcrs
