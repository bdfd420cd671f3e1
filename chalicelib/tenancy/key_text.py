"""The text of an API key: `ck_<key id>_<secret>`; and that of a browser's session: `cs_<session id>_<secret>`.

The id is `<tenant>.<8 letters>`: the tenant is in it so that one look-up by full key finds the
record, and no index over all tenants' keys is needed. The secret has 256 bits of randomness, which is
why a plain SHA-256 is enough to store it (a slow hash protects guessable secrets; this is none).
"""

import base64
import hashlib
import hmac
import re
from typing import Literal

import msgspec

Kind = Literal["ck", "cs"]
"""Of a key, or of a session: how its text begins."""

_FORM = re.compile(
    r"(?P<kind>c[ks])_(?P<id>(?P<tenant>[a-z0-9][a-z0-9-]{0,39})\.[a-z2-7]{8})_(?P<secret>[A-Za-z0-9_-]{43})"
)


class KeyText(msgspec.Struct, frozen=True):
    """What was presented, taken apart; nothing about it is proved yet."""

    tenant: str
    key_id: str
    secret: str
    kind: Kind = "ck"

    def matches(self, digest: str) -> bool:
        """Whether the secret is the one with this digest; in constant time."""
        return hmac.compare_digest(digest_of(self.secret), digest)

    def __repr__(self) -> str:
        return f"KeyText({self.key_id})"

    @property
    def text(self) -> str:
        return f"{self.kind}_{self.key_id}_{self.secret}"


def mint(tenant: str, randomness: bytes, kind: Kind = "ck") -> KeyText:
    """A new one for the tenant from 37 random bytes."""
    name = base64.b32encode(randomness[:5]).decode().lower()
    secret = base64.urlsafe_b64encode(randomness[5:37]).decode().rstrip("=")
    return KeyText(tenant=tenant, key_id=f"{tenant}.{name}", secret=secret, kind=kind)


def parse(text: str, kind: Kind = "ck") -> KeyText | None:
    """Take it apart; None where it does not have the form of one."""
    found = _FORM.fullmatch(text)
    if found is None or found["kind"] != kind:
        return None
    return KeyText(tenant=found["tenant"], key_id=found["id"], secret=found["secret"], kind=kind)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
