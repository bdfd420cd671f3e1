"""Which chains of certificates an attestation document may hang from."""

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from sealed.attestation import Attestation, verify
from sealed.refusal import DocumentRefused
from tests.sealed.documents import (
    HOST,
    HOUR_MS,
    LEAF,
    LINKS,
    NOW_MS,
    REGION,
    ROOT,
    ZONE,
    Issued,
    Link,
    certificate,
    document,
    issued,
    tbs_of,
)


def verified(made: bytes, chain: Issued | None = None) -> Attestation:
    return verify(made, root=(chain or issued()).root, now_ms=NOW_MS)


def refused(why: str, made: bytes, chain: Issued | None = None) -> None:
    with pytest.raises(DocumentRefused, match=why):
        verified(made, chain)


def changed(link: Link, **how: object) -> tuple[Link, ...]:
    """The chain with `link` made otherwise."""
    return tuple(msgspec.structs.replace(link, **how) if each is link else each for each in LINKS)


def test_the_root_that_a_document_brings_along_is_not_trusted() -> None:
    somebodys = issued((msgspec.structs.replace(ROOT, name="somebody's"), *LINKS[1:]))
    assert verified(document(somebodys), somebodys)
    refused("root that is not trusted", document(somebodys))


def test_a_chain_that_only_claims_the_trusted_root_is_refused() -> None:
    somebodys = issued((msgspec.structs.replace(ROOT, until_ms=NOW_MS + HOUR_MS), *LINKS[1:]))
    claimed = [issued().root, *somebodys.certificates[1:-1]]
    refused("not issued by the one above", document(somebodys, cabundle=claimed))


@pytest.mark.parametrize(
    "order", [(0, 2, 1, 3), (0, 1, 3, 2), (0, 1, 3), (0, 2, 3), (0,), (0, 1, 1, 2, 3), (0, 1, 2, 3, 4)], ids=str
)
def test_links_that_are_swapped_missing_or_double_are_refused(order: tuple[int, ...]) -> None:
    made = document(cabundle=[issued().certificates[index] for index in order])
    refused("not issued by the one above|longer than one of them allows|that may not issue any", made)


def test_the_root_stands_first() -> None:
    refused("root that is not trusted", document(cabundle=list(issued().certificates[1:-1])))


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
@pytest.mark.parametrize("when", [{"until_ms": NOW_MS - 1000}, {"from_ms": NOW_MS + 1000}], ids=["before", "after"])
def test_a_certificate_that_was_not_valid_then_is_refused(link: Link, when: dict[str, int]) -> None:
    chain = issued(changed(link, **when))
    refused("not valid when", document(chain), chain)


def test_certificates_are_judged_at_the_time_of_the_document() -> None:
    chain = issued(changed(LEAF, until_ms=NOW_MS - 60_000))
    assert verified(document(chain, timestamp=NOW_MS - 120_000), chain)
    refused("not valid when", document(chain, timestamp=NOW_MS - 30_000), chain)


@pytest.mark.parametrize("link", LINKS[:-1], ids=lambda link: link.name)
@pytest.mark.parametrize(
    "how", [{"ca": False, "path_length": None}, {"usages": ("crl_sign", "digital_signature")}], ids=["no CA", "usage"]
)
def test_an_issuer_that_may_not_issue_is_refused(link: Link, how: dict[str, object]) -> None:
    chain = issued(changed(link, **how))
    refused("may not issue any", document(chain), chain)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
@pytest.mark.parametrize("how", [{"ca": None}, {"usages": None}], ids=["constraints", "usage"])
def test_a_certificate_that_does_not_say_what_it_is_for_is_refused(link: Link, how: dict[str, object]) -> None:
    chain = issued(changed(link, **how))
    refused("does not say what it is for", document(chain), chain)


def test_an_enclave_cannot_vouch_for_another_with_its_own_certificate() -> None:
    unlimited = [msgspec.structs.replace(link, path_length=None) for link in LINKS]
    chain = issued((*unlimited, msgspec.structs.replace(LEAF, name="another")))
    refused("may not issue any", document(chain), chain)


@pytest.mark.parametrize("how", [{"ca": True}, {"usages": ("content_commitment",)}], ids=["CA", "usage"])
def test_a_certificate_that_is_not_for_signing_documents_is_refused(how: dict[str, object]) -> None:
    chain = issued(changed(LEAF, **how))
    refused("not one that signs documents", document(chain), chain)


@pytest.mark.parametrize("link", [REGION, ZONE], ids=lambda link: link.name)
def test_a_chain_longer_than_an_issuer_allows_is_refused(link: Link) -> None:
    chain = issued(changed(link, path_length=0))
    refused("longer than one of them allows", document(chain), chain)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_a_key_on_another_curve_is_refused(link: Link) -> None:
    chain = issued(changed(link, curve=ec.SECP256R1))
    refused("not one of P-384", document(chain), chain)


@pytest.mark.parametrize("link", LINKS[1:], ids=lambda link: link.name)
def test_a_certificate_signed_over_another_digest_is_refused(link: Link) -> None:
    chain = issued(changed(link, signed_with=hashes.SHA256))
    refused("not signed with ECDSA and SHA-384", document(chain), chain)


@pytest.mark.parametrize("link", [HOST, LEAF], ids=lambda link: link.name)
def test_a_certificate_that_names_another_issuer_is_refused(link: Link) -> None:
    chain = issued(changed(link, issuer_name="another"))
    refused("not issued by the one above", document(chain), chain)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_a_certificate_that_demands_what_is_unknown_is_refused(link: Link) -> None:
    chain = issued(changed(link, extension=x509.InhibitAnyPolicy(0)))
    refused("demands what is unknown here: 2.5.29.54", document(chain), chain)


@pytest.mark.parametrize("place", ["certificate", "cabundle"])
def test_a_certificate_that_is_none_is_refused(place: str) -> None:
    none = b"\x30\x03\x02\x01\x00"
    value: object = none if place == "certificate" else [issued().root, none]
    refused("cannot be read", document(**{place: value}))


def test_a_certificate_that_demands_the_same_twice_is_refused() -> None:
    key_usage, basic_constraints = b"\x55\x1d\x0f", b"\x55\x1d\x13"
    tbs = tbs_of(issued().certificates[-1]).replace(key_usage, basic_constraints)
    refused("cannot be read", document(certificate=certificate(tbs, issued().keys[-2])))


def test_a_certificate_with_names_that_cannot_be_read_is_refused() -> None:
    x400_address = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00")
    chain = issued(changed(LEAF, extension=x400_address))
    refused("cannot be read", document(chain), chain)


def test_a_certificate_on_a_curve_that_nobody_knows_is_refused() -> None:
    p384 = bytes.fromhex("06052b81040022")
    tbs = tbs_of(issued().certificates[-1]).replace(p384, bytes.fromhex("06052b8104007f"))
    refused("cannot be read", document(certificate=certificate(tbs, issued().keys[-2])))
