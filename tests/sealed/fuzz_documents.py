"""What an enclave shows and what KMS answers it: broken documents, envelopes and frames, and what reads them."""

import functools
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealed import attestation, cms, frames
from sealed.refusal import DocumentRefused, EnvelopeRefused, FrameRefused
from tests.sealed import documents
from tests.sealed.documents import NOW_MS, issued
from tests.sealed.fuzz import Parser, broken

VECTORS = Path(__file__).parents[2] / "vectors"


# Attestation documents.


@functools.cache
def _documents() -> list[bytes]:
    real = [path.read_bytes() for path in sorted((VECTORS / "attestation").glob("*.cose"))]
    return [*real, documents.document(), documents.document(public_key=b"k" * 294, user_data=b"u", nonce=b"n" * 32)]


def _broken_document(chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return broken(chance.choice(_documents()), chance)
        case 1:
            return documents.sign1(broken(cbor2.loads(chance.choice(_documents()))[2], chance))
        case 2:
            return _with_certificate(chance, lambda certificate, _: broken(certificate, chance))
        case _:
            return _with_certificate(
                chance,
                lambda certificate, key: documents.certificate(broken(documents.tbs_of(certificate), chance), key),
            )


def _with_certificate(chance: random.Random, change: Callable[[bytes, ec.EllipticCurvePrivateKey], bytes]) -> bytes:
    """A document whose chain has one link changed; `change` gets its DER, and its issuer's key."""
    chain = issued()
    changed = list(chain.certificates)
    link = chance.randrange(1, len(changed))
    changed[link] = change(changed[link], chain.keys[link - 1])
    return documents.document(certificate=changed[-1], cabundle=changed[:-1])


def _read_document(data: bytes) -> None:
    attestation.verify(data, root=issued().root, now_ms=NOW_MS)


# KMS's envelopes.


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def _envelopes() -> list[bytes]:
    real = [path.read_bytes() for path in sorted((VECTORS / "cms").glob("*.ber"))]
    public = _key().public_key()
    return [*real, cms.seal_envelope(bytes(64), public), cms.seal_envelope(bytes(5), public, constructed=False)]


def _read_envelope(data: bytes) -> None:
    cms.open_envelope(data, _key())


# Frames.


def _frames(kinds: Iterable[int] = (1, 0x81, 0xFF)) -> bytes:
    return b"".join(frames.frame(kind, bytes(kind)) for kind in kinds)


def _read_frames(data: bytes) -> None:
    """In pieces, as they come from a socket."""
    reader = frames.Reader()
    for start in range(0, len(data), 7):
        list(reader.feed(data[start : start + 7]))


PARSERS = {
    "document": Parser(_broken_document, _read_document, DocumentRefused),
    "envelope": Parser(lambda chance: broken(chance.choice(_envelopes()), chance), _read_envelope, EnvelopeRefused),
    "frames": Parser(lambda chance: broken(_frames(), chance), _read_frames, FrameRefused),
}
