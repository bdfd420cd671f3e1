"""Throws broken bytes at one parser for a while, and tells if anything happens that is not declared:

    python -m tests.sealed.fuzz document 60

The bytes are real ones, broken in the ways that wires and attackers break them. Behind a signature a parser is
reached only with bytes that are signed, so those are broken first and signed then.
"""

import functools
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import cbor2
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealed import attestation, cms, frames
from sealed.refusal import DocumentRefused, EnvelopeRefused, FrameRefused, SealedError
from tests.sealed import documents
from tests.sealed.documents import NOW_MS, issued

VECTORS = Path(__file__).parents[2] / "vectors"
BOUNDARIES = (0, 1, 2, 0x17, 0x18, 0x1F, 0x20, 0x5F, 0x7F, 0x80, 0x82, 0x84, 0x9F, 0xA0, 0xBF, 0xC0, 0xD8, 0xFE, 0xFF)


class Parser(msgspec.Struct, frozen=True):
    """What is tried, with which bytes, and the one exception that it may raise."""

    broken: Callable[[random.Random], bytes]
    read: Callable[[bytes], object]
    declared: type[SealedError]


def fuzz(parser: Parser, seconds: float, seed: int) -> int:
    """How many inputs the parser took. Raises AssertionError with the input that it did not."""
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < until:
        data = parser.broken(chance)
        try:
            parser.read(data)
        except parser.declared:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {tried}: {data.hex()}\n{traceback.format_exc()}") from error
        tried += 1
    return tried


def broken(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four faults."""
    faulty = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        chance.choice(FAULTS)(faulty, chance)
    return bytes(faulty)


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(BOUNDARIES)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randint(1, 32)]


def _insert(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = bytes(chance.choice(BOUNDARIES) for _ in range(chance.randint(1, 8)))


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.randint(1, 600)] * chance.choice((1, 1, 1, 100))


FAULTS = (_flip, _set, _cut, _remove, _insert, _repeat)


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


if __name__ == "__main__":
    name, seconds = sys.argv[1:]
    print(f"{name}: {fuzz(PARSERS[name], float(seconds), random.randrange(2**32))} inputs in {seconds} s")
