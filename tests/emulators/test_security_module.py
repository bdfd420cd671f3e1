"""The simulated security module vouches as AWS's does, so far as the verifier and the real documents tell."""

import threading
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from emulators.security_module import MODULE_ID, PCRS, Authority, SimulatedSecurityModule
from enclave.security_module import ModuleFailed, SecurityModule
from sealed import attestation
from sealed.attestation import Attestation, verify
from sealed.refusal import DocumentRefused

NOW_MS = 1_765_432_100_000
YEAR_MS = 365 * 24 * 3_600_000
REAL = Path(__file__).parents[2] / "vectors" / "attestation" / "01_evervault_nondebug_2022-10-13.cose"

AUTHORITY = Authority.made(NOW_MS)


def module(
    authority: Authority = AUTHORITY, at_ms: int = NOW_MS, pcrs: dict[int, bytes] | None = None
) -> SecurityModule:
    return SimulatedSecurityModule(authority, clock=lambda: at_ms, pcrs=pcrs)


def verified(document: bytes, authority: Authority = AUTHORITY, at_ms: int = NOW_MS) -> Attestation:
    return verify(document, root=attestation.root_of(authority.root_pem()), now_ms=at_ms)


def test_its_documents_are_believed_by_who_trusts_its_root() -> None:
    said = verified(module().attest(public_key=b"key", user_data=b"data", nonce=b"nonce"))
    assert said == Attestation(MODULE_ID, NOW_MS, PCRS, b"key", b"data", b"nonce")


def test_its_documents_are_believed_by_nobody_else() -> None:
    with pytest.raises(DocumentRefused, match="root that is not trusted"):
        verify(module().attest(), root=attestation.aws_root(), now_ms=NOW_MS)
    with pytest.raises(DocumentRefused, match="root that is not trusted"):
        verified(module().attest(), Authority.made(NOW_MS))


def test_its_documents_have_the_shape_of_todays() -> None:
    protected, unprotected, payload, signature = cbor2.loads(module().attest())
    assert (protected, unprotected, len(signature)) == (b"\xa1\x01\x38\x22", {}, 96)
    assert (payload[:1], payload[-1:]) == (b"\xbf", b"\xff")
    said, real = cbor2.loads(payload), cbor2.loads(cbor2.loads(REAL.read_bytes())[2])
    assert set(said) == set(real)
    assert (said["public_key"], said["user_data"], said["nonce"]) == (None, None, None)
    assert said["pcrs"].keys() == real["pcrs"].keys()
    assert len(said["cabundle"]) == len(real["cabundle"])


def test_its_certificate_lives_three_hours() -> None:
    document = module().attest()
    root = attestation.root_of(AUTHORITY.root_pem())
    assert verify(document, root=root, now_ms=NOW_MS + 3 * 3_600_000, max_age_ms=3 * 3_600_000)
    assert verified(module(at_ms=NOW_MS + YEAR_MS).attest(), at_ms=NOW_MS + YEAR_MS)


def test_an_enclave_measures_the_same_each_time_and_never_zeros() -> None:
    other = Authority.made(NOW_MS)
    said = verified(module(other).attest(), other)
    assert said.pcrs == verified(module().attest()).pcrs
    assert all(any(said.pcrs[index]) for index in (0, 1, 2))


def test_pcrs_can_be_given() -> None:
    said = verified(module(pcrs={0: b"\1" * 48}).attest())
    assert said.pcrs == {**PCRS, 0: b"\1" * 48}


def test_a_module_can_play_an_enclave_in_debug_mode() -> None:
    with pytest.raises(DocumentRefused, match="debug mode"):
        verified(module(pcrs={0: bytes(48), 1: bytes(48), 2: bytes(48)}).attest())


def test_modules_of_one_fleet_share_their_root_across_processes() -> None:
    other = Authority.read(AUTHORITY.pem())
    assert verified(module(other).attest()).pcrs == verified(module().attest()).pcrs


def test_what_is_no_authority_is_not_read() -> None:
    ed25519 = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="not the key of an authority"):
        Authority.read(ed25519 + AUTHORITY.root_pem())


@pytest.mark.parametrize(
    "asked",
    [{"public_key": b""}, {"public_key": bytes(1025)}, {"user_data": bytes(513)}, {"nonce": bytes(513)}],
    ids=["no key", "key", "data", "nonce"],
)
def test_it_refuses_what_aws_refuses(asked: dict[str, bytes]) -> None:
    with pytest.raises(ModuleFailed, match=next(iter(asked))):
        module().attest(**asked)


def test_it_takes_what_aws_takes_at_most() -> None:
    said = verified(module().attest(public_key=bytes(1024), user_data=bytes(512), nonce=bytes(512)))
    assert (len(said.public_key or b""), len(said.user_data or b""), len(said.nonce or b"")) == (1024, 512, 512)


def test_threads_may_share_it() -> None:
    shared, documents = module(), []
    threads = [threading.Thread(target=lambda: documents.append(shared.attest(nonce=b"n"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [verified(document).nonce for document in documents] == [b"n"] * 8


def test_its_random_bytes_are_never_the_same() -> None:
    assert len({module().random() for _ in range(10)}) == 10
    assert len(module().random()) == 256
