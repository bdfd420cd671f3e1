"""The keys of an issuer, from where it says that they are (OpenID Connect Discovery, section 4)."""

from collections.abc import Mapping

import msgspec

from chalicelib.egress import Egress, NotCallable
from chalicelib.http1.failure import Failed
from chalicelib.identity.tokens.keys import Key, keys_of

MOST_BYTES = 131_072
WELL_KNOWN = "/.well-known/openid-configuration"


class Unreadable(Exception):
    """The text is for the operator's log: nothing of it is the issuer's."""


class _Configuration(msgspec.Struct):
    issuer: str
    jwks_uri: str


class Discovery:
    """Asks issuers that somebody has configured."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    def __call__(self, issuer: str, known: Mapping[str, Key]) -> Mapping[str, Key]:
        """Its keys now; those that are `known` stay the same objects. Raises Unreadable."""
        try:
            found = msgspec.json.decode(self._got(issuer.rstrip("/") + WELL_KNOWN), type=_Configuration)
            if found.issuer != issuer:
                raise Unreadable("its configuration is another issuer's")
            return keys_of(self._got(found.jwks_uri), known)
        except msgspec.MsgspecError:
            raise Unreadable("what it answers is not what was asked for") from None

    def _got(self, url: str) -> bytes:
        try:
            fetched = self._egress.get(url, limit_bytes=MOST_BYTES)
        except NotCallable as error:
            raise Unreadable(error.why) from None
        except Failed as failed:
            raise Unreadable(failed.symptom) from None
        if fetched.status != 200:
            raise Unreadable(f"status {fetched.status}")
        return fetched.body
