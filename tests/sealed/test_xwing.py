"""X-Wing, and the suites under mode hpke, agree with their specifications and with another implementation."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke as other
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import KEMKey, KEMKeyPair

from sealed import xwing
from sealed.hpke import SUITES, X25519, XWING

VECTORS = Path(__file__).parents[2] / "vectors" / "hpke"
DRAFT = json.loads((VECTORS / "xwing-draft.json").read_text())["vectors"]
INFO = b"what both sides know"

OTHER_HYBRID = other.Suite(other.KEM.MLKEM768_X25519, other.KDF.HKDF_SHA256, other.AEAD.AES_256_GCM)
OTHER_X25519 = other.Suite(other.KEM.X25519, other.KDF.HKDF_SHA256, other.AEAD.AES_256_GCM)


@pytest.mark.parametrize("vector", DRAFT, ids=range(len(DRAFT)))
def test_the_drafts_vectors_hold(vector: dict[str, str]) -> None:
    key = xwing.PrivateKey(bytes.fromhex(vector["sk"]))
    assert key.public_key().to_public_bytes().hex() == vector["pk"]
    assert xwing.XWing().decap(bytes.fromhex(vector["ct"]), key).hex() == vector["ss"]


def test_what_is_encapsulated_is_decapsulated() -> None:
    key = xwing.PrivateKey(bytes(32))
    public = xwing.PublicKey.from_bytes(key.public_key().to_public_bytes())
    secret, enc = xwing.XWing().encap(public)
    assert xwing.XWing().decap(enc, key) == secret
    assert xwing.XWing().encap(public) != (secret, enc)


def test_the_hybrid_is_the_one_of_cryptography_both_ways() -> None:
    key = xwing.PrivateKey(bytes(range(32)))
    theirs = other.MLKEM768X25519PrivateKey(key.mlkem, key.x25519)
    enc, sender = SUITES[XWING].create_sender_context(key.public_key(), INFO)
    assert OTHER_HYBRID.decrypt(enc + sender.seal(b"to them"), theirs, INFO) == b"to them"

    wire = OTHER_HYBRID.encrypt(b"to us", theirs.public_key(), INFO)
    recipient = SUITES[XWING].create_recipient_context(wire[: xwing.ENC_BYTES], key, INFO)
    assert recipient.open(wire[xwing.ENC_BYTES :]) == b"to us"


def test_the_classic_suite_is_the_one_of_cryptography_both_ways() -> None:
    theirs = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    ours, public = KEMKey.from_pyca_cryptography_key(theirs), KEMKey.from_pyca_cryptography_key(theirs.public_key())
    enc, sender = SUITES[X25519].create_sender_context(public, INFO)
    assert OTHER_X25519.decrypt(enc + sender.seal(b"to them"), theirs, INFO) == b"to them"

    wire = OTHER_X25519.encrypt(b"to us", theirs.public_key(), INFO)
    assert SUITES[X25519].create_recipient_context(wire[:32], ours, INFO).open(wire[32:]) == b"to us"


def test_rfc_9180s_vector_holds() -> None:
    vector = json.loads((VECTORS / "rfc9180.json").read_text())
    raw = {name: bytes.fromhex(value) for name, value in vector.items() if isinstance(value, str) and name != "source"}
    suite = SUITES[X25519]
    key = suite.kem.deserialize_private_key(raw["skRm"])
    ephemeral = suite.kem.derive_key_pair(raw["ikmE"])
    enc, sender = suite.create_sender_context(
        suite.kem.deserialize_public_key(raw["pkRm"]),
        raw["info"],
        eks=KEMKeyPair(ephemeral.private_key, ephemeral.public_key),
    )
    assert (enc, sender.seal(raw["pt"], raw["aad"])) == (raw["enc"], raw["ct"])
    recipient = suite.create_recipient_context(raw["enc"], key, raw["info"])
    assert recipient.open(raw["ct"], raw["aad"]) == raw["pt"]
    for export in vector["exports"]:
        assert recipient.export(bytes.fromhex(export["context"]), 32).hex() == export["value"]


@pytest.mark.parametrize("raw", [b"", bytes(xwing.PUBLIC_BYTES - 1), bytes(xwing.PUBLIC_BYTES + 1)])
def test_a_public_key_of_another_length_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="1216 bytes"):
        xwing.PublicKey.from_bytes(raw)


def test_a_public_key_that_is_no_encoding_is_refused() -> None:
    # ML-KEM's coefficients are below 3329 (FIPS 203, 7.2: the modulus check).
    with pytest.raises(ValueError, match="ML-KEM"):
        xwing.PublicKey.from_bytes(b"\xff" * xwing.PUBLIC_BYTES)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33)])
def test_a_seed_of_another_length_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        xwing.PrivateKey(raw)


def test_an_encapsulation_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1120 bytes"):
        xwing.XWing().decap(bytes(xwing.ENC_BYTES - 1), xwing.PrivateKey(bytes(32)))
