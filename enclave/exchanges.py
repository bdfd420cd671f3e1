"""One sealed request with its answer, mode by mode: opened once, answered under the key that opened it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from enclave.attested_kms import AttestedKms, KeyUse
from enclave.epochs import Epochs
from enclave.refusal import AnswerTooLarge, NotOpened, ProtocolBroken, Refusal, TooLarge
from enclave.replays import FOR_EVER, ReplayMemory
from sealed import esdk, hpke, kms_mode, padding, refusal
from sealed.arn import KeyArn
from sealed.ticket import Claims


class Exchange(Protocol):
    """An opened request whose answer is still to be sealed. Used by one thread."""

    refused: bool
    """Whether a rule has refused the rest: nothing more is sealed then."""

    def prepare(self) -> None:
        """Do now, while the model thinks, what the first `seal` would wait for."""
        ...

    def seal(self, piece: bytes, *, final: bool) -> bytes:
        """Bytes for the client, perhaps none yet. Raises Refusal."""
        ...


class Opener:
    """Opens what a ticket permits. Thread-safe."""

    def __init__(
        self,
        kms: AttestedKms,
        epochs: Epochs,
        now_ms: Callable[[], int],
        *,
        by_kms: ReplayMemory,
        by_epoch: ReplayMemory,
    ) -> None:
        """Two memories, so that one mode cannot fill another's."""
        self._kms = kms
        self._epochs = epochs
        self._now_ms = now_ms
        self._by_kms = by_kms
        self._by_epoch = by_epoch

    def open(self, claims: Claims, blob: bytes) -> tuple[bytes, Exchange]:
        """The plaintext, which is remembered before anybody learns what it says. Raises Refusal."""
        match claims.mode:
            case "hpke":
                return self._open_hpke(claims, blob)
            case "esdk":
                return self._open_esdk(claims, blob)
            case "kms":
                return self._open_kms(claims, blob)
            case "":
                raise NotOpened("mode")

    def check(self, claims: Claims, blob: bytes) -> None:
        """See that whoever sealed this holds the tenant's key. It is not remembered: it is yet to be opened.

        Raises Refusal, also for what was opened before: whoever has seen a request would hold the key otherwise. And
        for each mode but esdk: hpke has no key of the tenant's, and what kms:Encrypt makes without a context is also
        made by the enclave's own host.
        """
        if claims.mode != "esdk":
            raise NotOpened("mode")
        key = self.key(claims)
        _esdk_plaintext(key, claims, blob)
        self._by_kms.must_be_new(esdk.replay_key(blob, key.arn))

    def key(self, claims: Claims) -> KeyUse:
        """The key that is registered to the ticket's tenant. Raises NotOpened."""
        try:
            return self._kms.under(KeyArn.parse(claims.key_arn))
        except refusal.BadArn as error:
            raise NotOpened("key arn") from error

    def _open_kms(self, claims: Claims, blob: bytes) -> tuple[bytes, Exchange]:
        key = self.key(claims)
        plaintext = _kms_plaintext(key, blob)
        self._by_kms.remember(kms_mode.replay_key(blob), until_ms=FOR_EVER, now_ms=self._now_ms())
        return plaintext, _KmsExchange(key, blob, _nonce_of(plaintext))

    def _open_esdk(self, claims: Claims, blob: bytes) -> tuple[bytes, Exchange]:
        key = self.key(claims)
        plaintext = _esdk_plaintext(key, claims, blob)
        self._by_kms.remember(esdk.replay_key(blob, key.arn), until_ms=FOR_EVER, now_ms=self._now_ms())
        return plaintext, _EsdkExchange(key, claims)

    def _open_hpke(self, claims: Claims, blob: bytes) -> tuple[bytes, Exchange]:
        try:
            token = hpke.token_of(blob)
            plaintext, sealer, replay_key = hpke.open_request(
                blob,
                self._epochs.keys(token),
                tenant=claims.tenant,
                request_id=claims.request_id,
                pool=claims.pool,
            )
        except refusal.NotOpened as error:
            raise NotOpened("hpke") from error
        self._by_epoch.remember(replay_key, until_ms=token.expires_ms, now_ms=self._now_ms())
        return plaintext, _HpkeExchange(sealer, hpke.STREAM_MULTIPLE_BYTES if claims.stream else 1)


def _kms_plaintext(key: KeyUse, blob: bytes) -> bytes:
    """What `kms.encrypt` made under this key, without an encryption context. Raises Refusal."""
    if len(blob) > kms_mode.MOST_BLOB_BYTES:
        raise TooLarge(f"Mode kms takes at most {kms_mode.MOST_BLOB_BYTES} bytes: use esdk or hpke.")
    plaintext: bytes = key.decrypt(KeyId=key.arn, CiphertextBlob=blob)["Plaintext"]
    if kms_mode.is_answer(plaintext):
        # Made under the same key: whoever has seen one could send it in as a request of the tenant's.
        raise NotOpened("an answer")
    return plaintext


def _esdk_plaintext(key: KeyUse, claims: Claims, blob: bytes) -> bytes:
    """What was sealed under this key for the ticket's tenant and request. Raises Refusal."""
    context = esdk.request_context(tenant=claims.tenant, request_id=claims.request_id)
    try:
        return esdk.open(key, key.arn, context, blob)
    except refusal.NotOpened as error:
        raise NotOpened("esdk") from error


class _KmsExchange:
    refused = False

    def __init__(self, key: KeyUse, blob: bytes, nonce: str | None) -> None:
        self._key = key
        self._blob = blob
        self._nonce = nonce

    def prepare(self) -> None:
        """Nothing: KMS itself encrypts the answer."""

    def seal(self, piece: bytes, *, final: bool) -> bytes:
        if not final:
            raise ProtocolBroken("Mode kms seals an answer in one piece.")
        try:
            echoed = kms_mode.with_echo(piece, nonce=self._nonce, blob=self._blob)
        except refusal.TooLong as error:
            raise AnswerTooLarge from error
        except msgspec.DecodeError as error:
            raise ProtocolBroken("An answer in mode kms is a JSON object.") from error
        sealed: bytes = self._key.encrypt(KeyId=self._key.arn, Plaintext=echoed)["CiphertextBlob"]
        return sealed


class _EsdkExchange:
    refused = False

    def __init__(self, key: KeyUse, claims: Claims) -> None:
        self._key = key
        self._context = esdk.response_context(tenant=claims.tenant, request_id=claims.request_id)
        self._frame_bytes = esdk.STREAM_FRAME_BYTES if claims.stream else esdk.FRAME_BYTES
        self._multiple = esdk.STREAM_FRAME_BYTES if claims.stream else 1
        self._sealer: esdk.Sealer | None = None

    def prepare(self) -> None:
        """The answer's data key is a call to KMS. Should it fail, `seal` makes it again, and says so."""
        with suppress(Refusal):
            self._get_sealer()

    def seal(self, piece: bytes, *, final: bool) -> bytes:
        return self._get_sealer().seal(_padded(piece, self._multiple), final)

    def _get_sealer(self) -> esdk.Sealer:
        if self._sealer is None:
            self._sealer = esdk.Sealer(self._key, self._key.arn, self._context, frame_bytes=self._frame_bytes)
        return self._sealer


class _HpkeExchange:
    refused = False

    def __init__(self, sealer: hpke.ResponseSealer, multiple: int) -> None:
        self._sealer = sealer
        self._multiple = multiple

    def prepare(self) -> None:
        """Nothing: the answer's key came with the request."""

    def seal(self, piece: bytes, *, final: bool) -> bytes:
        return self._sealer.seal(_padded(piece, self._multiple), final)


class _Request(msgspec.Struct):
    nonce: str | None = None


def _nonce_of(plaintext: bytes) -> str | None:
    """Of a request that is no JSON there is none; the container refuses it for being none."""
    try:
        return msgspec.json.decode(plaintext, type=_Request).nonce
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _padded(piece: bytes, multiple: int) -> bytes:
    if multiple == 1:
        return piece
    try:
        return padding.padded(piece, multiple)
    except ValueError as error:
        raise ProtocolBroken("A stream's pieces are whole events.") from error
