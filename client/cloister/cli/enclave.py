"""`cloister attest` and `cloister policy`: which enclave is there, and a key policy that lets it alone decrypt."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from cloister._sealed.arn import KeyArn
from cloister._sealed.measurements import read_manifest
from cloister.cli.gateway import Gateway
from cloister.cli.settings import Settings
from cloister.clock import now_ms
from cloister.key_policy import key_policy, placeholder
from cloister.refusal import NotConfigured
from cloister.trust import NONCE_BYTES, AnyEnclave, Believed, ReleaseManifest, Trust

_IMAGE_PCRS = (0, 1, 2)  # of the whole image, its kernel, its application; the others differ from host to host


def attest(settings: Settings, options: argparse.Namespace) -> int:
    """Ask for the enclave's document, verify it, and say what it measures. Raises: SealError."""
    trust = settings.trust_or_any()
    believed = _believed(settings, trust, options.pool)
    said = believed.attestation
    if isinstance(trust.allowed, AnyEnclave):
        _note("Genuine, and compared with no measurements: set CLOISTER_PCR0 to the published value.")
    measured = {f"PCR{index}": value.hex() for index, value in sorted(said.pcrs.items()) if any(value)}
    if options.json:
        epoch = believed.configuration and believed.configuration.epoch
        told = {"module_id": said.module_id, "timestamp_ms": said.timestamp_ms, "pcrs": measured, "key_epoch": epoch}
        print(json.dumps(told, indent=2))
        return 0
    print(f"module  {said.module_id}")
    for name, value in measured.items():
        print(f"{name:<7} {value}")
    return 0


def policy(settings: Settings, options: argparse.Namespace) -> int:
    """Print a key policy for the enclaves that are trusted, or else for the one that is there. Raises: SealError."""
    key = KeyArn.parse(options.arn)
    tenant = options.principal or [_assumed(key, "CloisterTenant", "--principal", "of your programs")]
    administrators = options.admin or tenant
    role = options.enclave_role or _assumed(key, "CloisterEnclave", "--enclave-role", "of the enclave's host")
    for principal in (*tenant, *administrators, role):
        if not principal.startswith((f"arn:{key.partition}:iam::", f"arn:{key.partition}:sts::")):
            raise NotConfigured(
                f"Name users and roles by ARNs in the key's partition, arn:{key.partition}:iam::…; {principal} is none."
            )
    document = key_policy(
        _enclaves(settings, options.pool), tenant=tenant, administrators=administrators, enclave_role=role
    )
    print(json.dumps(document, indent=2))
    return 0


def _enclaves(settings: Settings, pool: str | None) -> Sequence[Mapping[int, str]]:
    match settings.measurements:
        case None | AnyEnclave():
            said = _believed(settings, settings.trust_or_any(), pool).attestation
            _note("The policy is for the enclave that answered now: compare its PCR0 with the published value.")
            return [{index: said.pcrs[index].hex() for index in _IMAGE_PCRS if any(said.pcrs.get(index, b""))}]
        case ReleaseManifest(text, public_key):
            return read_manifest(text, public_key, now_ms()).allowed
        case measurements:
            return measurements.allowed


def _believed(settings: Settings, trust: Trust, pool: str | None) -> Believed:
    nonce = os.urandom(NONCE_BYTES)
    return trust.believe(Gateway.of(settings).attestation(nonce, pool), nonce=nonce, now_ms=now_ms())


def _assumed(key: KeyArn, role: str, flag: str, whose: str) -> str:
    arn = placeholder(key, role)
    _note(f"No {flag} was given: put the role {whose} in place of {arn}.")
    return arn


def _note(text: str) -> None:
    print(text, file=sys.stderr)
