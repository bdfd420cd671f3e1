"""Which attestation documents are believed. The real ones were made by AWS, the others by `documents`."""

import hashlib
from pathlib import Path

import cbor2
import msgspec
import pytest

from sealed import attestation
from sealed.attestation import Attestation, check, verify
from sealed.measurements import Measurements
from sealed.refusal import DocumentRefused
from tests.examples import every
from tests.sealed.documents import (
    HOST,
    HOUR_MS,
    LEAF,
    LINKS,
    MODULE_ID,
    NOW_MS,
    PCRS,
    ROOT,
    Issued,
    cbor_map,
    document,
    issued,
    members,
    sign1,
)

REAL = Path(__file__).parents[2] / "vectors" / "attestation"
PRODUCTION = (REAL / "01_evervault_nondebug_2022-10-13.cose").read_bytes()
PRODUCTION_MS = 1_665_651_482_136
DEBUG = (REAL / "02_evervault_debugmode_2022-10-12.cose").read_bytes()
DEBUG_MS = 1_665_582_606_081
SELF_MADE = (REAL / "05_NEGATIVE_marlin_selfmade_root.cose").read_bytes()
SELF_MADE_MS = 1_734_080_745_008

P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def verified(made: bytes, chain: Issued | None = None) -> Attestation:
    return verify(made, root=(chain or issued()).root, now_ms=NOW_MS)


def refused(why: str, made: bytes, chain: Issued | None = None) -> None:
    with pytest.raises(DocumentRefused, match=why):
        verified(made, chain)


# What AWS made.


def test_a_real_production_document_says_which_enclave_it_vouches_for() -> None:
    said = verify(PRODUCTION, root=attestation.aws_root(), now_ms=PRODUCTION_MS)
    assert said.module_id == "i-020b6af9246d90e92-enc0183d09086c24190"
    assert said.timestamp_ms == PRODUCTION_MS
    assert said.pcrs[0].hex().startswith("f4d48b81a460c991")
    assert sorted(said.pcrs) == list(range(16))
    assert said.nonce is not None
    assert said.nonce.hex().startswith("cb3dc2eb76c0c134")
    assert (said.public_key, said.user_data) == (None, None)


def test_a_real_document_is_too_old_years_later() -> None:
    with pytest.raises(DocumentRefused, match="older than 300 seconds"):
        verify(PRODUCTION, root=attestation.aws_root(), now_ms=NOW_MS)


def test_a_real_document_of_an_enclave_in_debug_mode_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="debug mode"):
        verify(DEBUG, root=attestation.aws_root(), now_ms=DEBUG_MS)


def test_a_document_under_a_root_that_somebody_made_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="root that is not trusted"):
        verify(SELF_MADE, root=attestation.aws_root(), now_ms=SELF_MADE_MS)


def test_the_root_is_the_one_that_aws_publishes() -> None:
    published = attestation.root_of((REAL / "AWS_NitroEnclaves_Root-G1.pem").read_bytes())
    assert attestation.aws_root() == published
    assert hashlib.sha256(published).hexdigest() == attestation.AWS_ROOT_SHA256


def test_what_is_no_certificate_is_no_root() -> None:
    with pytest.raises(DocumentRefused, match="not one certificate in PEM"):
        attestation.root_of(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


# Its shape.


def test_a_document_says_what_the_enclave_had_it_say() -> None:
    said = verified(document(public_key=b"key", user_data=b"data", nonce=b"nonce"))
    assert said == Attestation(MODULE_ID, NOW_MS, PCRS, b"key", b"data", b"nonce")


def test_members_that_are_absent_and_members_that_are_null_are_the_same() -> None:
    assert verified(document(public_key=..., user_data=..., nonce=...)) == verified(document())


def test_a_map_of_indefinite_length_is_read() -> None:
    entries = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in members().items())
    assert verified(sign1(b"\xbf" + entries + b"\xff")) == verified(document())


@pytest.mark.parametrize("twice", ["pcrs", "timestamp", "nonce", "public_key"])
def test_a_member_that_stands_twice_is_refused(twice: str) -> None:
    real = members()
    refused("Duplicate", sign1(cbor_map([*real.items(), (twice, real[twice])])))


def test_a_pcr_that_stands_twice_is_refused() -> None:
    real = {**members(), "pcrs": {}}
    payload = cbor_map(list(real.items()))
    twice = cbor_map([(0, PCRS[0]), (0, PCRS[1])])
    refused("Duplicate", sign1(payload.replace(cbor2.dumps("pcrs") + b"\xa0", cbor2.dumps("pcrs") + twice)))


@pytest.mark.parametrize("where", ["document", "payload", "protected header"])
def test_bytes_that_follow_are_refused(where: str) -> None:
    payload, protected = cbor2.dumps(members()), b"\xa1\x01\x38\x22"
    made = {
        "document": sign1(payload) + b"\0",
        "payload": sign1(payload + b"\0"),
        "protected header": sign1(payload, protected=protected + b"\0"),
    }
    refused("Bytes follow", made[where])


@pytest.mark.parametrize("tag", [18, 98, 24, 55799])
def test_a_tagged_document_is_refused(tag: int) -> None:
    refused("not plain CBOR", cbor2.dumps(cbor2.CBORTag(tag, cbor2.loads(document()))))


def test_a_tagged_payload_is_refused() -> None:
    refused("not plain CBOR", sign1(cbor2.dumps(cbor2.CBORTag(55799, members()))))


@pytest.mark.parametrize("algorithm", [{1: -7}, {1: -36}, {1: -8}, {}, {1: -35, 4: b"kid"}, {"alg": "ES384"}, []])
def test_another_algorithm_is_refused(algorithm: object) -> None:
    refused("ES384", sign1(cbor2.dumps(members()), protected=cbor2.dumps(algorithm)))


def test_anything_that_nobody_signs_is_refused() -> None:
    refused("not an attestation document", sign1(cbor2.dumps(members()), unprotected={4: b"kid"}))


@pytest.mark.parametrize("parts", [0, 3, 5])
def test_a_document_has_four_parts(parts: int) -> None:
    refused("not an attestation document", cbor2.dumps([*cbor2.loads(document()), b"more"][:parts]))


def test_a_document_larger_than_16_kib_is_refused_unread() -> None:
    refused("larger than 16384", b"\0" * 16_385)


WRONG: dict[str, list[object]] = {
    "module_id": [..., None, "", b"i-0-enc0", "i-0aaaaaaaaaaaaaaa0", 1],
    "digest": [..., None, "SHA256", "SHA512", b"SHA384"],
    "timestamp": [..., None, str(NOW_MS), float(NOW_MS), True, 2**63, -1],
    "pcrs": [
        *(..., None, {}, [PCRS[0]], {"0": PCRS[0]}, {32: PCRS[0]}, {-1: PCRS[0]}, {0.0: PCRS[0]}, {False: PCRS[0]}),
        *({0: PCRS[0][:32]}, {0: PCRS[0] + bytes(16)}, {0: PCRS[0].hex()}, {0: None}),
    ],
    "certificate": [..., None, b"", bytes(1025), "certificate"],
    "cabundle": [..., None, [], b"", {}, [None], [b""], [bytes(1025)], [b"x"] * 9],
    "public_key": [b"", bytes(1025), "key", 1, [b"key"]],
    "user_data": [bytes(513), "data", {}],
    "nonce": [bytes(513), "nonce", False],
}


@pytest.mark.parametrize(
    ("member", "value"),
    [(member, value) for member, values in WRONG.items() for value in values],
    ids=lambda value: repr(value)[:24],
)
def test_a_member_that_is_missing_or_of_another_type_or_size_is_refused(member: str, value: object) -> None:
    refused("not an attestation document|comes from the future|older", document(**{member: value}))


def test_a_document_of_a_nitro_tpm_is_refused() -> None:
    refused("not an attestation document", document(pcrs=..., nitrotpm_pcrs=PCRS))
    refused("nitrotpm_pcrs", document(nitrotpm_pcrs=PCRS))


def test_a_member_that_aws_may_add_is_left_alone() -> None:
    assert verified(document(another="member")) == verified(document())


# Its time.


@pytest.mark.parametrize("age_ms", [-60_000, 0, 300_000])
def test_a_document_is_good_for_five_minutes_by_clocks_that_differ_by_a_minute(age_ms: int) -> None:
    assert verified(document(timestamp=NOW_MS - age_ms)).timestamp_ms == NOW_MS - age_ms


def test_a_stale_document_is_refused() -> None:
    refused("older than 300 seconds", document(timestamp=NOW_MS - 300_001))


def test_a_document_from_the_future_is_refused() -> None:
    refused("from the future", document(timestamp=NOW_MS + 60_001))


def test_the_caller_says_how_old_a_document_may_be() -> None:
    made = document(timestamp=NOW_MS - HOUR_MS)
    assert verify(made, root=issued().root, now_ms=NOW_MS, max_age_ms=HOUR_MS).timestamp_ms == NOW_MS - HOUR_MS


# What it measures.


@pytest.mark.parametrize(
    "pcrs", [{**PCRS, 0: bytes(48), 1: bytes(48), 2: bytes(48)}, {3: PCRS[3]}], ids=["zeros", "none"]
)
def test_an_enclave_in_debug_mode_is_refused(pcrs: dict[int, bytes]) -> None:
    refused("debug mode", document(pcrs=pcrs))


# Its signature.


def test_a_document_signed_with_another_key_is_refused() -> None:
    other = issued((*LINKS[:-1], msgspec.structs.replace(LEAF, name="other")))
    payload = cbor2.dumps(members())
    refused("signature does not fit", sign1(payload, other))


@pytest.mark.parametrize("signature", [bytes(96), b"\xff" * 96, bytes(48) + b"\1" * 48], ids=["0", "huge", "r is 0"])
def test_a_signature_that_is_none_is_refused(signature: bytes) -> None:
    refused("signature does not fit", cbor2.dumps([*cbor2.loads(document())[:3], signature]))


@pytest.mark.parametrize("length", [0, 64, 95, 97, 128])
def test_a_signature_of_another_size_is_refused(length: int) -> None:
    refused("not an attestation document", cbor2.dumps([*cbor2.loads(document())[:3], bytes(length)]))


def test_a_flipped_bit_anywhere_is_refused() -> None:
    """Every bit of what stands around the payload, and one of each byte of the payload, which is signed as a whole."""
    chain = issued((ROOT, HOST, LEAF))
    made = document(chain, pcrs={index: PCRS[index] for index in (0, 1, 2)}, nonce=b"nonce")
    assert verified(made, chain)
    payload = range(made.index(b"\xa9imodule_id"), len(made) - 98)
    for index in every(range(len(made))):
        for bit in (index % 8,) if index in payload else range(8):
            flipped = bytearray(made)
            flipped[index] ^= 1 << bit
            with pytest.raises(DocumentRefused):
                verified(bytes(flipped), chain)


def test_a_document_cut_off_anywhere_is_refused() -> None:
    made = document()
    for length in range(len(made)):
        with pytest.raises(DocumentRefused):
            verified(made[:length])


def test_a_document_has_a_twin_that_says_the_same_so_its_hash_names_nothing() -> None:
    made = document()
    protected, unprotected, payload, signature = cbor2.loads(made)
    twin_s = P384_ORDER - int.from_bytes(signature[48:], "big")
    twin = cbor2.dumps([protected, unprotected, payload, signature[:48] + twin_s.to_bytes(48, "big")])
    assert twin != made
    assert verified(twin) == verified(made)


# What the caller wants to hear.

ALLOWED = Measurements.of(PCRS[0].hex())


def test_an_allowed_enclave_that_answers_the_question_passes() -> None:
    said = verified(document(nonce=b"asked", user_data=b"bound"))
    check(said, nonce=b"asked", allowed=ALLOWED, user_data=b"bound")


@pytest.mark.parametrize("nonce", [None, b"", b"other"])
def test_an_answer_to_another_question_is_refused(nonce: bytes | None) -> None:
    with pytest.raises(DocumentRefused, match="nonce"):
        check(verified(document(nonce=nonce)), nonce=b"asked", allowed=ALLOWED, user_data=None)


@pytest.mark.parametrize("user_data", [None, b"", b"other"])
def test_a_document_for_something_else_is_refused(user_data: bytes | None) -> None:
    with pytest.raises(DocumentRefused, match="user data"):
        check(verified(document(user_data=user_data)), nonce=None, allowed=ALLOWED, user_data=b"bound")


def test_what_was_not_asked_for_is_refused() -> None:
    with pytest.raises(DocumentRefused, match="user data"):
        check(verified(document(user_data=b"unasked")), nonce=None, allowed=ALLOWED, user_data=None)


def test_an_enclave_that_is_not_allowed_is_refused_and_its_measurements_are_named() -> None:
    said = verified(document())
    with pytest.raises(DocumentRefused, match=f"not allowed: PCR0={'01' * 48}, PCR1={'02' * 48}, PCR2={'03' * 48}"):
        check(said, nonce=None, allowed=Measurements.of("ab" * 48), user_data=None)


def test_a_refusal_quotes_little_of_what_it_refuses() -> None:
    with pytest.raises(DocumentRefused) as refusal:
        verified(sign1(cbor_map([("a" * 9000, 1), ("a" * 9000, 2)])))
    assert len(refusal.value.text) < 200
    with pytest.raises(DocumentRefused) as refusal:
        verified(document(digest="a" * 9000))
    assert len(refusal.value.text) < 200
