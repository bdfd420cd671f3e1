"""A token, verified: its form, its claims, then whose key has signed it. What is wrong with it, nobody is told."""

import hashlib
import threading
from collections.abc import Sequence

import msgspec

from chalicelib.identity.claims import Claims, Identity
from chalicelib.identity.tokens.form import form_of
from chalicelib.identity.tokens.judging import holds, judged, judged_of_sign_in
from chalicelib.identity.tokens.keys import Key
from chalicelib.identity.tokens.keysets import KeySets
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer

MOST_KNOWN = 10_000


class _Known(msgspec.Struct, frozen=True):
    issuer: Issuer  # as it was configured then
    claims: Claims
    kid: str
    key: Key

    def good_for(self, issuers: Sequence[Issuer], now_ms: int) -> bool:
        return self.issuer in issuers and holds(self.claims.expires_ms, now_ms)


class Tokens:
    """Those of this process. Thread-safe."""

    def __init__(self, keysets: KeySets, operators: Sequence[Issuer] = (), most: int = MOST_KNOWN) -> None:
        """`operators`: issuers for all tenants. `most`: tokens are remembered."""
        self._most = most
        self._keysets = keysets
        self._operators = tuple(operators)
        self._known: dict[bytes, _Known] = {}
        self._lock = threading.Lock()

    def verified(self, text: str, issuers: Sequence[Issuer], now_ms: int) -> Claims:
        """Implements Verify. The issuer is asked only where its keys are not kept; of claims that are good."""
        digest = _digest_of(text)
        known = self._known.get(digest)
        taken = (*self._operators, *issuers)
        if known is not None and known.good_for(taken, now_ms) and self._has_key_of(known, now_ms):
            return known.claims
        if not taken or (known is not None and all(each.url != known.claims.issuer for each in taken)):
            raise Unauthenticated  # it need not be read for that
        form = form_of(text)
        issuer, claims = judged(form.claims, taken, now_ms)
        key = self._keysets.key(issuer.url, form.kid, now_ms)
        if not key.verifies(form.signed, form.signature, form.algorithm):
            raise Unauthenticated
        self._remember(digest, _Known(issuer, claims, form.kid, key))
        return claims

    def signed_in(self, text: str, issuer: Issuer, client_id: str, nonce: str, now_ms: int) -> Identity:
        """Whom an ID token is about. Raises Unauthenticated; NoCapacity."""
        form = form_of(text)
        identity = judged_of_sign_in(form.claims, issuer, client_id, nonce, now_ms)
        if not self._keysets.key(issuer.url, form.kid, now_ms).verifies(form.signed, form.signature, form.algorithm):
            raise Unauthenticated
        return identity

    def remembered(self, text: str, issuers: Sequence[Issuer], now_ms: int) -> Claims:
        """Implements Verify, of what has been verified: asks nobody, and computes nothing that takes long."""
        known = self._known.get(_digest_of(text))
        if known is None or not known.good_for((*self._operators, *issuers), now_ms):
            raise Unauthenticated
        if self._keysets.held(known.claims.issuer, known.kid, now_ms) is not known.key:
            raise Unauthenticated
        return known.claims

    def _has_key_of(self, known: _Known, now_ms: int) -> bool:
        """Whether its key is its issuer's still, who may have changed it under the same name."""
        return self._keysets.key(known.claims.issuer, known.kid, now_ms) is known.key

    def _remember(self, digest: bytes, known: _Known) -> None:
        with self._lock:
            if digest not in self._known and len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[digest] = known


def _digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
