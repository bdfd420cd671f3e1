"""What is asked of the enclave apart from exchanges: who it is, and whether a key is what its tenant says it is."""

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from enclave.epochs import Epochs
from enclave.exchanges import Opener
from enclave.refusal import NotOpened, ProtocolBroken, Refusal, Unavailable
from enclave.security_module import ModuleFailed, SecurityModule
from sealed.hpke import EpochToken
from sealed.hpke_keys import Epoch, TimeMs, Token
from sealed.ticket import Claims

SECRET_BYTES = 32
MOST_NONCE_BYTES = 64

T = TypeVar("T")


class _Token(msgspec.Struct, frozen=True):
    epoch: Epoch
    expires_ms: TimeMs
    token: Token


class _Attest(msgspec.Struct, frozen=True):
    nonce: bytes
    configuration: _Token | None


class _Epoch(msgspec.Struct, frozen=True):
    epoch: Epoch
    expires_ms: TimeMs


class _Probe(msgspec.Struct, frozen=True):
    nonce: bytes
    ciphertext: bytes


class Questions:
    """Thread-safe."""

    def __init__(self, module: SecurityModule, opener: Opener, epochs: Epochs) -> None:
        self._module = module
        self._opener = opener
        self._epochs = epochs
        self._by_use: dict[str, Callable[[Claims, bytes], Any]] = {
            "attest": self._attest,
            "epoch": self._epoch,
            "challenge": self._challenge,
            "prove": self._prove,
            "check": self._check,
            "probe": self._probe,
        }

    def answer(self, claims: Claims, body: bytes) -> bytes:
        """JSON. Raises Refusal."""
        if claims.use not in self._by_use:
            raise NotOpened("use")
        return msgspec.json.encode(self._by_use[claims.use](claims, body))

    def document(self, nonce: bytes, user_data: bytes | None) -> bytes:
        """A fresh attestation document. Raises Unavailable."""
        try:
            return self._module.attest(nonce=nonce, user_data=user_data)
        except ModuleFailed as error:
            raise Unavailable("The security module does not answer.", str(error)) from error

    def _attest(self, _: Claims, body: bytes) -> Any:
        asked = _parsed(body, _Attest)
        _check_nonce(asked.nonce)
        if asked.configuration is None:
            return {"document": self.document(asked.nonce, None), "configuration": None}
        epoch, expires_ms, token = msgspec.structs.astuple(asked.configuration)
        keys = self._epochs.keys(EpochToken(epoch, expires_ms, token))
        configuration = keys.configuration(epoch=epoch, expires_ms=expires_ms, token=token)
        return {"document": self.document(asked.nonce, configuration.fingerprint()), "configuration": configuration}

    def _epoch(self, _: Claims, body: bytes) -> Any:
        asked = _parsed(body, _Epoch)
        return {"token": self._epochs.new(asked.epoch, asked.expires_ms)}

    def _challenge(self, claims: Claims, _: bytes) -> Any:
        secret = base64.urlsafe_b64encode(os.urandom(SECRET_BYTES))
        key = self._opener.key(claims)
        sealed = key.encrypt(KeyId=key.arn, Plaintext=secret, EncryptionContext=_context(claims, "key-registration"))
        return {"challenge": sealed["CiphertextBlob"], "digest": hashlib.sha256(secret).hexdigest()}

    def _prove(self, claims: Claims, body: bytes) -> Any:
        key = self._opener.key(claims)
        proof = key.decrypt(KeyId=key.arn, CiphertextBlob=body, EncryptionContext=_context(claims, "key-proof"))
        return {"digest": hashlib.sha256(proof["Plaintext"]).hexdigest()}

    def _check(self, claims: Claims, body: bytes) -> Any:
        self._opener.check(claims, body)
        return {"opened": True}

    def _probe(self, claims: Claims, body: bytes) -> Any:
        asked = _parsed(body, _Probe)
        _check_nonce(asked.nonce)
        key = self._opener.key(claims)
        parameters = {
            "KeyId": key.arn,
            "CiphertextBlob": asked.ciphertext,
            "EncryptionContext": _context(claims, "doctor"),
        }
        found = {
            "key_sha256": hashlib.sha256(key.arn.encode()).hexdigest(),
            "attested": _outcome(key.decrypt, parameters),
            "unattested": _outcome(key.decrypt_unattested, parameters),
        }
        return {"document": self.document(asked.nonce, msgspec.json.encode(found))}


def _outcome(call: Callable[..., Any], parameters: dict[str, Any]) -> str:
    try:
        call(**parameters)
    except Refusal as refusal:
        return refusal.why
    return "ok"


def _context(claims: Claims, purpose: str) -> dict[str, str]:
    return {"tenant_id": claims.tenant, "purpose": f"cloister-{purpose}"}


def _parsed(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolBroken("The question's body is not what its use asks for.") from error


def _check_nonce(nonce: bytes) -> None:
    if len(nonce) > MOST_NONCE_BYTES:
        raise ProtocolBroken(f"A nonce has at most {MOST_NONCE_BYTES} bytes.")
