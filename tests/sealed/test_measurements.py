"""Which enclaves are allowed, and who may say so."""

import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealed.measurements import CONTEXT, Measurements, Release, read_manifest, sign_manifest
from sealed.refusal import ManifestRefused
from tests.examples import every

NOW_MS = 1_765_432_100_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
A, B, C = ("ab" * 48, "bc" * 48, "cd" * 48)
PCRS = {0: bytes.fromhex(A), 1: bytes.fromhex(B), 2: bytes.fromhex(C), 5: bytes(48)}
OLD = Release("1.0", {0: A, 1: B, 2: C}, NOW_MS + 1000)
NEW = Release("1.1", {0: B, 1: B, 2: C}, None)


def test_an_enclave_is_allowed_by_the_pcrs_that_are_named() -> None:
    assert Measurements.of(A).permits(PCRS)
    assert Measurements(({0: A, 2: C},)).permits(PCRS)


def test_each_pcr_that_is_named_must_fit() -> None:
    assert not Measurements.of(B).permits(PCRS)
    assert not Measurements(({0: A, 2: B},)).permits(PCRS)


def test_a_pcr_that_the_enclave_does_not_have_does_not_fit() -> None:
    assert not Measurements(({0: A, 9: B},)).permits(PCRS)


def test_any_one_of_the_allowed_enclaves_will_do_but_not_a_bit_of_each() -> None:
    assert Measurements.of(B, A).permits(PCRS)
    assert not Measurements(({0: A, 1: A}, {0: B, 1: B})).permits(PCRS)


def test_no_enclave_is_allowed_where_none_is_named() -> None:
    assert not Measurements(()).permits(PCRS)


def test_zeros_measure_nothing_and_never_fit() -> None:
    zeros = "00" * 48
    assert not Measurements.of(zeros).permits({0: bytes(48)})
    assert not Measurements(({0: A, 5: zeros},)).permits(PCRS)


@pytest.mark.parametrize(
    "pcrs",
    [{}, {1: A}, {0: A.upper()}, {0: A[2:]}, {0: A + "\n"}, {0: ""}, {0: A, 32: B}, {0: A, -1: B}],
    ids=["none", "no PCR0", "upper case", "short", "newline", "empty", "PCR32", "PCR-1"],
)
def test_measurements_that_make_no_sense_are_refused(pcrs: dict[int, str]) -> None:
    with pytest.raises(ManifestRefused):
        Measurements((pcrs,))


def test_a_manifest_allows_its_releases() -> None:
    allowed = read_manifest(sign_manifest([OLD, NEW], NOW_MS, KEY), PUBLIC, NOW_MS)
    assert allowed == Measurements((OLD.pcrs, NEW.pcrs))


def test_a_manifest_reads_as_it_is_documented() -> None:
    signed = json.loads(sign_manifest([OLD], NOW_MS, KEY))
    manifest = base64.b64decode(signed["manifest"], validate=True)
    assert json.loads(manifest) == {
        "releases": [{"version": "1.0", "pcrs": {"0": A, "1": B, "2": C}, "not_after_ms": NOW_MS + 1000}],
        "issued_ms": NOW_MS,
    }
    KEY.public_key().verify(
        base64.b64decode(signed["signature"], validate=True), b"cloister release manifest v1\0" + manifest
    )


def test_a_release_is_allowed_until_it_is_not() -> None:
    text = sign_manifest([OLD, NEW], NOW_MS, KEY)
    assert read_manifest(text, PUBLIC, NOW_MS + 1000) == Measurements((OLD.pcrs, NEW.pcrs))
    assert read_manifest(text, PUBLIC, NOW_MS + 1001) == Measurements((NEW.pcrs,))


@pytest.mark.parametrize("releases", [[], [OLD], [msgspec.structs.replace(NEW, not_after_ms=0)]])
def test_a_manifest_that_allows_nothing_is_refused(releases: list[Release]) -> None:
    with pytest.raises(ManifestRefused, match="fetch a newer one"):
        read_manifest(sign_manifest(releases, NOW_MS, KEY), PUBLIC, NOW_MS + 1001)


def test_a_manifest_by_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(ManifestRefused, match="not signed by the release key"):
        read_manifest(sign_manifest([NEW], NOW_MS, other), PUBLIC, NOW_MS)


def test_a_signature_without_its_context_is_refused() -> None:
    manifest = msgspec.json.encode({"releases": [NEW], "issued_ms": NOW_MS})
    text = msgspec.json.encode({"manifest": manifest, "signature": KEY.sign(manifest)})
    with pytest.raises(ManifestRefused, match="not signed by the release key"):
        read_manifest(text, PUBLIC, NOW_MS)


def test_a_manifest_with_a_changed_byte_anywhere_is_refused_or_says_the_same() -> None:
    text = sign_manifest([OLD, NEW], NOW_MS, KEY)
    said = read_manifest(text, PUBLIC, NOW_MS)
    for index in every(range(len(text))):
        for bit in range(8):
            changed = bytearray(text)
            changed[index] ^= 1 << bit
            try:
                assert read_manifest(bytes(changed), PUBLIC, NOW_MS) == said
            except ManifestRefused:
                continue


def test_a_manifest_from_the_future_is_refused() -> None:
    text = sign_manifest([NEW], NOW_MS + 60_001, KEY)
    with pytest.raises(ManifestRefused, match="clock"):
        read_manifest(text, PUBLIC, NOW_MS)
    assert read_manifest(text, PUBLIC, NOW_MS + 1)


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"releases":[],"issued_ms":"1"}',
        b'{"releases":[{"version":"1","pcrs":{"0":1},"not_after_ms":null}],"issued_ms":1}',
        b'{"releases":[{"version":"1","pcrs":{"x":""},"not_after_ms":null}],"issued_ms":1}',
        b'{"releases":[{"version":"1","pcrs":{},"not_after_ms":null}],"issued_ms":1}',
        b'{"releases":[],"issued_ms":1,"more":1}',
    ],
)
def test_a_signed_manifest_of_another_shape_is_refused(manifest: bytes) -> None:
    text = msgspec.json.encode({"manifest": manifest, "signature": KEY.sign(CONTEXT + manifest)})
    with pytest.raises(ManifestRefused):
        read_manifest(text, PUBLIC, NOW_MS)


def test_a_manifest_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(ManifestRefused, match="larger than 262144 bytes"):
        read_manifest(b"{" * 262_145, PUBLIC, NOW_MS)


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33)])
def test_a_release_key_that_is_none_is_refused(public_key: bytes) -> None:
    with pytest.raises(ManifestRefused):
        read_manifest(sign_manifest([NEW], NOW_MS, KEY), public_key, NOW_MS)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode))
def test_no_text_does_anything_else_than_to_be_refused(text: bytes) -> None:
    with pytest.raises(ManifestRefused):
        read_manifest(text, PUBLIC, NOW_MS)
