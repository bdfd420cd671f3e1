"""Mode `hpke`: a request to a key that the enclave's attestation document vouches for (RFC 9180, base mode).

    request    u8 1 | u16 KEM | u8, epoch | u64 expires_ms | u16, token | u16, enc | ciphertext
    answer     u8 1 | response nonce, 32 bytes | chunks
    chunk      u32 length of the ciphertext | u8 flags (1: final) | u32 sequence | ciphertext

`info` binds tenant, request id, pool and epoch; everything ahead of the ciphertext is authenticated with it. The
answer's key comes from the request's context and a nonce of the enclave's: should one request ever be opened twice,
its two answers still do not share a key. The whole of it, with vectors: docs/sealed-formats.md.
"""

import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, PyHPKEError
from pyhpke.aead import AEAD
from pyhpke.context_interface import ContextInterface
from pyhpke.kdf import KDF
from pyhpke.keys.x25519_key import X25519Key

from . import xwing
from .hpke_keys import EPOCH, MOST_TOKEN_BYTES, SEED_BYTES, EpochKeys, KeyConfiguration, epoch_fault
from .refusal import BrokenOff, NotOpened, TooLong

__all__ = [
    "MOST_CHUNK_BYTES",
    "MOST_REQUEST_BYTES",
    "SEED_BYTES",
    "STREAM_MULTIPLE_BYTES",
    "EpochKeys",
    "EpochToken",
    "KeyConfiguration",
    "ResponseOpener",
    "ResponseSealer",
    "epoch_fault",
    "open_request",
    "seal_request",
    "token_of",
]

VERSION = 1
X25519 = KEMId.DHKEM_X25519_HKDF_SHA256.value
XWING = xwing.KEM_ID
MOST_REQUEST_BYTES = 8 * 2**20  # of its wire
MOST_CHUNK_BYTES = 8 * 2**20  # of plaintext in one chunk of an answer
STREAM_MULTIPLE_BYTES = 256  # to which the pieces of a stream are padded

RESPONSE_NONCE_BYTES = 32
_TAG_BYTES = 16
_FINAL = 1
_MOST_SEQUENCE = 2**32 - 1
_CHUNK = struct.Struct(">IBI")


def _hybrid_suite() -> CipherSuite:
    suite_id = b"HPKE" + struct.pack(">HHH", XWING, KDFId.HKDF_SHA256.value, AEADId.AES256_GCM.value)
    return CipherSuite(xwing.XWing(), KDF(KDFId.HKDF_SHA256, suite_id), AEAD(AEADId.AES256_GCM))


SUITES = {
    X25519: CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM),
    XWING: _hybrid_suite(),
}
_ENC_BYTES = {X25519: 32, XWING: xwing.ENC_BYTES}


class EpochToken(NamedTuple):
    """By what an enclave that does not have the keys of a request's epoch gets them: KMS decrypts `token`."""

    epoch: str
    expires_ms: int
    token: bytes


class _Request(NamedTuple):
    """A request's wire, taken apart. Nothing in it is authenticated yet."""

    kem: int
    token: EpochToken
    enc: bytes
    head: bytes
    ciphertext: bytes


def seal_request(
    configuration: KeyConfiguration,
    *,
    tenant: str,
    request_id: str,
    pool: str,
    plaintext: bytes,
    hybrid: bool = True,
) -> tuple[bytes, "ResponseOpener"]:
    """The request's wire, and what opens its answer.

    Raises: ValueError when the configuration's keys are none, or a name has more than 65,535 bytes.
    """
    kem, raw = (XWING, configuration.xwing) if hybrid else (X25519, configuration.x25519)
    suite = SUITES[kem]
    info = _info(tenant, request_id, pool, configuration.epoch)
    enc, context = suite.create_sender_context(suite.kem.deserialize_public_key(raw), info)
    epoch = configuration.epoch.encode()
    head = b"".join(
        (
            struct.pack(">BHB", VERSION, kem, len(epoch)),
            epoch,
            struct.pack(">QH", configuration.expires_ms, len(configuration.token)),
            configuration.token,
            struct.pack(">H", len(enc)),
            enc,
        )
    )
    return head + context.seal(plaintext, head), ResponseOpener(_secret(context), enc)


def token_of(wire: bytes) -> EpochToken:
    """The key epoch that the request is sealed for. Unauthenticated: the epoch's keys open it, or nothing does.

    Raises: NotOpened.
    """
    return _parsed(wire).token


def open_request(
    wire: bytes,
    keys: EpochKeys,
    *,
    tenant: str,
    request_id: str,
    pool: str,
    random: Callable[[int], bytes] = os.urandom,
) -> tuple[bytes, "ResponseSealer", bytes]:
    """The plaintext, what seals its answer, and the key by which a replay of the request is recognised.

    Raises: NotOpened.
    """
    request = _parsed(wire)
    suite = SUITES[request.kem]
    key = keys.xwing if request.kem == XWING else X25519Key(keys.x25519)
    try:
        context = suite.create_recipient_context(request.enc, key, _info(tenant, request_id, pool, request.token.epoch))
        plaintext = context.open(request.ciphertext, request.head)
    except (PyHPKEError, ValueError):
        raise NotOpened from None
    sealer = ResponseSealer(_secret(context), request.enc, random(RESPONSE_NONCE_BYTES))
    # Two requests with one `enc` would share their keys, so it names a request better than the whole wire would.
    return plaintext, sealer, hashlib.sha256(request.enc).digest()


class ResponseSealer:
    """Seals the pieces of one answer, in order. Not thread-safe."""

    def __init__(self, secret: bytes, enc: bytes, response_nonce: bytes) -> None:
        self._key, self._base = _schedule(secret, enc, response_nonce)
        self._sequence = 0
        self._head = bytes((VERSION,)) + response_nonce
        self._ended = False

    def seal(self, piece: bytes, final: bool) -> bytes:
        """The bytes to send next. Every answer ends with one final piece, which may be empty.

        Raises: RuntimeError after the final piece. TooLong when the piece, or the number of pieces, is.
        """
        if self._ended:
            raise RuntimeError("The answer is sealed to its end: it takes no more pieces.")
        if len(piece) > MOST_CHUNK_BYTES:
            raise TooLong(f"A piece of a sealed answer has at most {MOST_CHUNK_BYTES} bytes: cut it.")
        if self._sequence > _MOST_SEQUENCE:
            raise TooLong(f"A sealed answer has at most {_MOST_SEQUENCE + 1} pieces: make them longer.")
        flags = _FINAL if final else 0
        ciphertext = self._key.encrypt(_nonce(self._base, self._sequence), piece, _aad(flags, self._sequence))
        sealed = self._head + _CHUNK.pack(len(ciphertext), flags, self._sequence) + ciphertext
        self._head = b""
        self._sequence += 1
        self._ended = final
        return sealed


class ResponseOpener:
    """Opens one answer, however its bytes were cut. Not thread-safe."""

    def __init__(self, secret: bytes, enc: bytes) -> None:
        self._secret = secret
        self._enc = enc
        self._held = bytearray()
        self._keys: tuple[AESGCM, int] | None = None
        self._sequence = 0
        self._ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take these bytes, and yield the pieces that they complete, each authenticated.

        Pieces are opened as they are asked for, so that those ahead of a bad one are not lost.
        Raises: NotOpened. Nothing more is opened after it.
        """
        self._held += data
        return self._pieces()

    def finish(self) -> None:
        """Say that no more bytes come, once every piece was taken.

        Raises: BrokenOff when the final piece has not been opened, NotOpened when bytes follow it.
        """
        if not self._ended:
            raise BrokenOff
        if self._held:
            raise NotOpened

    def _pieces(self) -> Iterator[bytes]:
        if self._keys is None:
            self._begin()
        while self._keys and not self._ended and len(self._held) >= _CHUNK.size:
            length, flags, sequence = _CHUNK.unpack_from(self._held)
            if sequence != self._sequence or not _TAG_BYTES <= length <= MOST_CHUNK_BYTES + _TAG_BYTES:
                raise NotOpened
            end = _CHUNK.size + length
            if len(self._held) < end:
                return
            key, base = self._keys
            try:
                piece = key.decrypt(_nonce(base, sequence), bytes(self._held[_CHUNK.size : end]), _aad(flags, sequence))
            except InvalidTag:
                raise NotOpened from None
            del self._held[:end]
            self._sequence += 1
            self._ended = flags == _FINAL
            yield piece
        if self._ended and self._held:
            raise NotOpened

    def _begin(self) -> None:
        if self._held and self._held[0] != VERSION:
            raise NotOpened
        end = 1 + RESPONSE_NONCE_BYTES
        if len(self._held) >= end:
            self._keys = _schedule(self._secret, self._enc, bytes(self._held[1:end]))
            del self._held[:end]


def _parsed(wire: bytes) -> _Request:
    if len(wire) > MOST_REQUEST_BYTES:
        raise NotOpened
    try:
        version, kem, epoch_bytes = struct.unpack_from(">BHB", wire)
        at = 4
        epoch = wire[at : at + epoch_bytes].decode("ascii")
        at += epoch_bytes
        expires_ms, token_bytes = struct.unpack_from(">QH", wire, at)
        at += 10
        token = wire[at : at + token_bytes]
        at += token_bytes
        (enc_bytes,) = struct.unpack_from(">H", wire, at)
        at += 2
        enc, head, ciphertext = wire[at : at + enc_bytes], wire[: at + enc_bytes], wire[at + enc_bytes :]
    except (struct.error, UnicodeDecodeError):
        raise NotOpened from None
    if version != VERSION or enc_bytes != _ENC_BYTES.get(kem) or len(ciphertext) < _TAG_BYTES:
        raise NotOpened
    if re.match(EPOCH, epoch) is None or not 1 <= token_bytes <= MOST_TOKEN_BYTES:
        raise NotOpened
    return _Request(kem, EpochToken(epoch, expires_ms, token), enc, head, ciphertext)


def _info(*names: str) -> bytes:
    encoded = [name.encode() for name in names]
    if any(len(name) > 0xFFFF for name in encoded):
        raise ValueError("A tenant, request id, pool or epoch has at most 65,535 bytes.")
    return b"cloister hpke v1 request\0" + b"".join(struct.pack(">H", len(name)) + name for name in encoded)


def _secret(context: ContextInterface) -> bytes:
    return context.export(b"cloister hpke v1 response", 32)


def _schedule(secret: bytes, enc: bytes, response_nonce: bytes) -> tuple[AESGCM, int]:
    """The answer's key, and the nonce of its first chunk as a number (like Oblivious HTTP's, RFC 9458, 4.4)."""
    extract = hmac.HMAC(enc + response_nonce, SHA256())
    extract.update(secret)
    prk = extract.finalize()
    key = HKDFExpand(SHA256(), 32, b"key").derive(prk)
    base = HKDFExpand(SHA256(), 12, b"nonce").derive(prk)
    return AESGCM(key), int.from_bytes(base)


def _nonce(base: int, sequence: int) -> bytes:
    return (base ^ sequence).to_bytes(12)


def _aad(flags: int, sequence: int) -> bytes:
    return b"cloister hpke v1 chunk\0" + struct.pack(">BI", flags, sequence)
