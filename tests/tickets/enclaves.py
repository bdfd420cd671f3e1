"""An enclave and a KMS for tests of the gateway: what they are told by tickets they do, and what is forged they refuse.

kms = Kms()
arn = kms.key()
enclave = Enclave(kms, clock, TICKET_KEY)     # answers as `consult` of an engine does
"""

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.clock import Clock
from chalicelib.pool import Target
from chalicelib.refusal import NotOpened, Refusal
from sealed import ticket
from sealed.refusal import TicketRefused


class Kms:
    """Keys in us-east-1, each known to whoever knows its ARN. An encryption context is authenticated, as in AWS's."""

    def __init__(self) -> None:
        self._keys: dict[str, AESGCM] = {}

    def key(self) -> str:
        """A new key's ARN."""
        number = f"{len(self._keys):012d}"
        arn = f"arn:aws:kms:us-east-1:111122223333:key/00000000-0000-4000-8000-{number}"
        self._keys[arn] = AESGCM(os.urandom(32))
        return arn

    def encrypt(self, arn: str, plaintext: bytes, **context: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._key(arn).encrypt(nonce, plaintext, _sorted(context))

    def decrypt(self, arn: str, blob: bytes, **context: str) -> bytes:
        """Raises NotOpened."""
        try:
            return self._key(arn).decrypt(blob[:12], blob[12:], _sorted(context))
        except (InvalidTag, ValueError):
            raise NotOpened from None

    def _key(self, arn: str) -> AESGCM:
        if arn not in self._keys:
            raise NotOpened
        return self._keys[arn]


class Enclave:
    """Answers questions that come with a ticket for them."""

    def __init__(self, kms: Kms, clock: Clock, ticket_key: bytes) -> None:
        public = Ed25519PrivateKey.from_private_bytes(ticket_key).public_key()
        self._kms = kms
        self._clock = clock
        self._gateways = {ticket.kid_of(public): public}
        self.permitted: list[ticket.Claims] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """Done after each answer, before the gateway hears it: a test's way to let time pass, or others be first."""

    def __call__(self, _: Target, question: bytes) -> bytes | Refusal:
        end = 2 + int.from_bytes(question[:2], "big")
        body = question[end:]
        try:
            claims = ticket.verify(question[2:end], body, self._gateways, self._clock())
            self.permitted.append(claims)
            told = msgspec.json.encode(self._answer(claims, body))
        except (TicketRefused, NotOpened):
            return NotOpened()
        self.meanwhile()
        return told

    def _answer(self, claims: ticket.Claims, body: bytes) -> Any:
        match claims.use:
            case "challenge":
                secret = base64.urlsafe_b64encode(os.urandom(32))
                purpose = "cloister-key-registration"
                challenge = self._kms.encrypt(claims.key_arn, secret, tenant_id=claims.tenant, purpose=purpose)
                return {"challenge": challenge, "digest": hashlib.sha256(secret).hexdigest()}
            case "prove":
                secret = self._kms.decrypt(claims.key_arn, body, tenant_id=claims.tenant, purpose="cloister-key-proof")
                return {"digest": hashlib.sha256(secret).hexdigest()}
            case "epoch":
                return {"token": b"token of " + msgspec.json.decode(body)["epoch"].encode()}
            case "attest":
                asked = msgspec.json.decode(body)
                shown = asked["configuration"]
                keys = {"x25519": base64.b64encode(bytes(32)).decode(), "xwing": base64.b64encode(bytes(1216)).decode()}
                return {
                    "document": b"nonce " + base64.b64decode(asked["nonce"]),
                    "configuration": shown and shown | keys,
                }
            case "probe":
                return {"document": b"nonce " + base64.b64decode(msgspec.json.decode(body)["nonce"])}
        raise AssertionError(claims.use)


def _sorted(context: dict[str, str]) -> bytes:
    return msgspec.json.encode(context, order="sorted")
