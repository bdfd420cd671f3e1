"""Key epochs of mode hpke: one seed for all enclaves with the same measurements, which KMS gives to nobody else for as
long as the platform key's policy says so. Whoever changes that has the seeds of the past as well: epochs end here and
in clients, and KMS knows of no end.

The seed was made by KMS and never leaves it but sealed to an attested enclave. Its ciphertext, the token, travels
with each request, so enclaves need nothing but KMS to share a key; what was opened once is kept, and a warm request
makes no call.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from enclave.attested_kms import AttestedKms
from enclave.refusal import NotOpened, Unavailable
from sealed.arn import KeyArn
from sealed.hpke import SEED_BYTES, EpochKeys, EpochToken, epoch_fault

T = TypeVar("T")

MOST_EPOCHS = 64
MOST_FAILURES = 1_024
FAILURE_LIFE_MS = 10_000


class Epochs:
    """Thread-safe. A call to KMS holds nobody else up: two that need the same epoch at once may both make it."""

    def __init__(self, kms: AttestedKms, platform_key: KeyArn | None, now_ms: Callable[[], int]) -> None:
        self._kms = kms
        self._platform_key = platform_key
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, EpochKeys] = OrderedDict()
        self._failures: OrderedDict[bytes, int] = OrderedDict()  # until when

    def new(self, epoch: str, expires_ms: int) -> bytes:
        """The token of a new epoch. Raises NotOpened, also for one that is over or would live too long; Unavailable."""
        self._must_live(expires_ms)
        key = self._key()
        answer = self._kms.under(key).generate_data_key(
            KeyId=str(key), NumberOfBytes=SEED_BYTES, EncryptionContext=_context(epoch, expires_ms)
        )
        token: bytes = answer["CiphertextBlob"]
        return token

    def keys(self, token: EpochToken) -> EpochKeys:
        """Raises NotOpened for an epoch that is over, lives longer than any of ours, or was never ours; Unavailable."""
        self._must_live(token.expires_ms)
        name = _name(token)
        with self._lock:
            if known := self._known.get(name):
                self._known.move_to_end(name)
                return known
            if self._failures.get(name, 0) > self._now_ms():
                raise NotOpened("epoch failed just now")
        try:
            keys = self._fetch(token)
        except NotOpened:
            with self._lock:
                self._failures[name] = self._now_ms() + FAILURE_LIFE_MS
                _trim(self._failures, MOST_FAILURES)
            raise
        with self._lock:
            self._known[name] = keys
            _trim(self._known, MOST_EPOCHS)
        return keys

    def _fetch(self, token: EpochToken) -> EpochKeys:
        key = self._key()
        answer = self._kms.under(key).decrypt(
            KeyId=str(key), CiphertextBlob=token.token, EncryptionContext=_context(token.epoch, token.expires_ms)
        )
        return EpochKeys.derive(answer["Plaintext"])

    def _must_live(self, expires_ms: int) -> None:
        # Known epochs too: KMS opens a token for ever, whatever its context says, and the clock may be set back.
        if fault := epoch_fault(expires_ms, self._now_ms()):
            raise NotOpened(f"epoch is {fault}")

    def _key(self) -> KeyArn:
        if self._platform_key is None:
            raise Unavailable("This enclave has no platform key, and so no mode hpke.")
        return self._platform_key


def _context(epoch: str, expires_ms: int) -> Mapping[str, str]:
    return {"purpose": "cloister-hpke-epoch", "epoch": epoch, "expires_ms": str(expires_ms)}


def _name(token: EpochToken) -> bytes:
    """Over all that KMS authenticates: a token that is known under one expiry says nothing about another."""
    said = f"{token.epoch}\0{token.expires_ms}\0".encode() + token.token
    return hashlib.sha256(said).digest()


def _trim(cache: "OrderedDict[bytes, T]", most: int) -> None:
    while len(cache) > most:
        cache.popitem(last=False)
