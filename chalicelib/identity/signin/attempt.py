"""One sign-in that is under way. All that is known of it is in a cookie of the browser that began it. Pure.

Whoever sends a browser back to us with a code of their own, or of another sign-in, has not its `state`; a code that was
stolen on its way is worth nothing without the `verifier` (RFC 7636), an ID token of another sign-in has another
`nonce`. All three follow from one secret, so that none of them tells another.
"""

import base64
import hashlib
import hmac
import re

import msgspec

SEED_BYTES = 32
_FORM = re.compile(r"(?P<tenant>[a-z0-9-]{1,40})\.(?P<seed>[A-Za-z0-9_-]{43})")


class Attempt(msgspec.Struct, frozen=True):
    """To sign in at this tenant."""

    tenant: str
    seed: str

    @property
    def text(self) -> str:
        """As the browser keeps it."""
        return f"{self.tenant}.{self.seed}"

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """Of the verifier, by S256."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())

    def is_answered_by(self, state: str) -> bool:
        """Whether somebody comes back from this one; in constant time."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    def _derived(self, what: str) -> str:
        return _base64(hmac.digest(self.seed.encode(), f"{what} of {self.tenant}".encode(), "sha256"))

    def __repr__(self) -> str:
        return f"Attempt({self.tenant})"


def begun(tenant: str, randomness: bytes) -> Attempt:
    """From 32 random bytes."""
    return Attempt(tenant, _base64(randomness))


def attempt_of(text: str) -> Attempt | None:
    """From what the browser kept; None where it is none."""
    found = _FORM.fullmatch(text)
    return Attempt(found["tenant"], found["seed"]) if found else None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
