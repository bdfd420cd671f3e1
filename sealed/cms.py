"""KMS's `CiphertextForRecipient`: what KMS says to an enclave, sealed under the key of its attestation document.

It is CMS EnvelopedData (RFC 5652) in BER: AES-256-CBC for the content, its key wrapped by RSAES-OAEP with SHA-256
(RFC 4055) for one recipient. KMS writes indefinite lengths, and the content in one piece or in several.

Nothing in it authenticates the content: whoever holds the public key can make an envelope. What KMS said is
known to be KMS's by the TLS connection that ends in the enclave.
https://docs.aws.amazon.com/kms/latest/developerguide/cryptographic-attestation.html
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .refusal import EnvelopeRefused

MOST_ENVELOPE_BYTES = 64 * 1024

_SEQUENCE, _SET, _OCTETS, _EXPLICIT_0, _IMPLICIT_0 = 0x30, 0x31, 0x04, 0xA0, 0x80
_INDEFINITE, _END = 0x80, b"\0\0"

_ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
_DATA = bytes.fromhex("06092a864886f70d010701")
_VERSION_2 = bytes.fromhex("020102")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")
# RSAES-OAEP with SHA-256 twice, as KMS writes it and, without the NULLs, as OpenSSL does. RFC 4055, section 2.1,
# has both read.
_OAEP = bytes.fromhex(
    "303c06092a864886f70d010107302fa00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d0609608648016503"
    "0402010500"
)
_OAEP_WITHOUT_NULLS = bytes.fromhex(
    "303806092a864886f70d010107302ba00d300b0609608648016503040201a11a301806092a864886f70d010108300b06096086480165030402"
    "01"
)
_OAEP_SHA256 = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)

_KEY_ID_BYTES = 32
_KEY_BYTES = 32
_BLOCK_BYTES = 16


class Envelope(msgspec.Struct, frozen=True):
    """One envelope, still sealed."""

    recipient: bytes
    """Names the recipient's key (its subjectKeyIdentifier, 32 bytes); who has but one key need not look."""
    wrapped_key: bytes
    iv: bytes
    content: bytes


def open_envelope(ber: bytes, key: RSAPrivateKey) -> bytes:
    """What KMS sealed for the holder of `key`.

    Raises: EnvelopeRefused, with one text and by one way, wherever it fails after the parsing (no padding oracle).
    """
    envelope = parse(ber)
    content_key, unwrapped = _unwrap(envelope.wrapped_key, key)
    decryptor = Cipher(algorithms.AES256(content_key), modes.CBC(envelope.iv)).decryptor()
    padded = decryptor.update(envelope.content) + decryptor.finalize()
    unpadder = PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        plaintext = unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise EnvelopeRefused from error
    if not unwrapped:
        raise EnvelopeRefused
    return plaintext


def parse(ber: bytes) -> Envelope:
    """The parts of an envelope, which must be exactly what KMS writes. Raises: EnvelopeRefused."""
    if len(ber) > MOST_ENVELOPE_BYTES:
        raise EnvelopeRefused
    reader = _Reader(ber)
    with reader.inside(_SEQUENCE):
        reader.skip(_ENVELOPED_DATA)
        with reader.inside(_EXPLICIT_0), reader.inside(_SEQUENCE):
            reader.skip(_VERSION_2)
            with reader.inside(_SET), reader.inside(_SEQUENCE):
                reader.skip(_VERSION_2)
                recipient = reader.primitive(_IMPLICIT_0)
                reader.skip(_OAEP, _OAEP_WITHOUT_NULLS)
                wrapped_key = reader.primitive(_OCTETS)
            with reader.inside(_SEQUENCE):
                reader.skip(_DATA)
                with reader.inside(_SEQUENCE):
                    reader.skip(_AES_256_CBC)
                    iv = reader.primitive(_OCTETS)
                content = reader.content()
    reader.finish()
    if len(recipient) != _KEY_ID_BYTES or len(iv) != _BLOCK_BYTES or not content or len(content) % _BLOCK_BYTES:
        raise EnvelopeRefused
    return Envelope(recipient, wrapped_key, iv, content)


def seal_envelope(plaintext: bytes, public_key: RSAPublicKey, *, constructed: bool = True) -> bytes:
    """An envelope as KMS makes it; `constructed` is whether the content stands in octet strings of its own."""
    content_key, iv = os.urandom(_KEY_BYTES), os.urandom(_BLOCK_BYTES)
    padder = PKCS7(8 * _BLOCK_BYTES).padder()
    encryptor = Cipher(algorithms.AES256(content_key), modes.CBC(iv)).encryptor()
    content = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    recipient = (
        _VERSION_2
        + _definite(_IMPLICIT_0, hashlib.sha256(spki).digest())
        + _OAEP
        + _definite(_OCTETS, public_key.encrypt(content_key, _OAEP_SHA256))
    )
    encrypted = (
        _DATA
        + _definite(_SEQUENCE, _AES_256_CBC + _definite(_OCTETS, iv))
        + (_indefinite(_EXPLICIT_0, _definite(_OCTETS, content)) if constructed else _definite(_IMPLICIT_0, content))
    )
    enveloped = _VERSION_2 + _definite(_SET, _definite(_SEQUENCE, recipient)) + _indefinite(_SEQUENCE, encrypted)
    return _indefinite(_SEQUENCE, _ENVELOPED_DATA + _indefinite(_EXPLICIT_0, _indefinite(_SEQUENCE, enveloped)))


def _unwrap(wrapped: bytes, key: RSAPrivateKey) -> tuple[bytes, bool]:
    """The content's key, and whether it is: a random one takes its place, so that failing takes the same way."""
    substitute = os.urandom(_KEY_BYTES)
    try:
        unwrapped = key.decrypt(wrapped, _OAEP_SHA256)
    except ValueError:
        return substitute, False
    return (unwrapped, True) if len(unwrapped) == _KEY_BYTES else (substitute, False)


def _definite(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _indefinite(tag: int, content: bytes) -> bytes:
    return bytes([tag, _INDEFINITE]) + content + _END


class _Reader:
    """Reads BER (X.690) from the front, never past the element that it is inside of."""

    def __init__(self, ber: bytes) -> None:
        self._ber = ber
        self._at = 0
        self._end = len(ber)

    @contextmanager
    def inside(self, tag: int) -> Iterator[None]:
        """In the element that comes next, of the constructed type `tag`; on leaving, it must have been read whole."""
        length = self._header(tag)
        if length is None:
            yield
            self.skip(_END)
            return
        outer, self._end = self._end, self._at + length
        yield
        self.finish()
        self._end = outer

    def primitive(self, tag: int) -> bytes:
        length = self._header(tag)
        if length is None:
            raise EnvelopeRefused
        return self._take(length)

    def content(self) -> bytes:
        """The encrypted content: one octet string, or the pieces of one."""
        if not self._sees(_EXPLICIT_0):
            return self.primitive(_IMPLICIT_0)
        pieces = []
        with self.inside(_EXPLICIT_0):
            while self._sees(_OCTETS):
                pieces.append(self.primitive(_OCTETS))
        return b"".join(pieces)

    def skip(self, *choices: bytes) -> None:
        for expected in choices:
            if self._ber.startswith(expected, self._at, self._end):
                self._at += len(expected)
                return
        raise EnvelopeRefused

    def finish(self) -> None:
        if self._at != self._end:
            raise EnvelopeRefused

    def _sees(self, tag: int) -> bool:
        return self._ber.startswith(bytes([tag]), self._at, self._end)

    def _header(self, tag: int) -> int | None:
        """The length of the element that comes next, None if it is indefinite."""
        self.skip(bytes([tag]))
        first = self._take(1)[0]
        if first == _INDEFINITE:
            return None
        length = first if first < _INDEFINITE else int.from_bytes(self._take(first & 0x7F), "big")
        if length > self._end - self._at:
            raise EnvelopeRefused
        return length

    def _take(self, length: int) -> bytes:
        if length > self._end - self._at:
            raise EnvelopeRefused
        self._at += length
        return self._ber[self._at - length : self._at]
