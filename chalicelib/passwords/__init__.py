"""Signing in with a mail address and a password, for programs that have no browser: tokens of the operator's issuer.

    attempts    how many are taken, of an address and of an account: its seam; store and memory behind it
    cognito     who knows the passwords, behind the seam that is here

Nothing here keeps a password, or tells why one was not taken: that somebody is not there, has not confirmed their
address, was disabled or needs a second factor is one text. An attempt is counted before anybody is asked.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

import msgspec

from chalicelib.clock import Clock
from chalicelib.identity.claims import Claims, Verify, verified_mail
from chalicelib.passwords.attempts import Attempts, has_signed_in, must_be_few
from chalicelib.refusal import Conflict, NoCapacity, Unauthenticated
from chalicelib.tenancy.people import Around, People

Enters = Callable[[str, str, str], AbstractContextManager[object]]
"""`enters(tenant, subject, said)`: a member has signed in, of which this is to be said."""

NOT_SIGNED_IN = (
    "The mail address or the password is wrong, or this person cannot sign in by a password alone. Nobody is told "
    "which. Sign in on the page of your issuer to see what it asks for."
)
NOT_RENEWED = "The refresh token is unknown, revoked or expired. Sign in again."
BROKEN = "Nobody can sign in right now. Try again shortly; if that does not help, tell the operator of the service."


class Issued(msgspec.Struct, frozen=True):
    """Tokens, as an issuer has just made them."""

    access: str
    id: str
    refresh: str
    expires_s: int  # of the access token, from now


class Issuer(Protocol):
    """Who knows the passwords. Raises Unauthenticated, whatever is wrong with them; NoCapacity."""

    def by_password(self, mail: str, password: str) -> Issued:
        """Tokens of the person with this address, if the password is theirs and all that they need."""

    def by_refresh(self, token: str) -> Issued:
        """New tokens of whoever has signed in before."""


class Passwords:
    """Raises: RateLimited, Unauthenticated, NoCapacity; StoreUnavailable."""

    def __init__(self, issuer: Issuer, attempts: Attempts, verify: Verify, people: People, clock: Clock) -> None:
        """`verify`: as for callers, for nobody is given a token that nobody here takes."""
        self._issuer = issuer
        self._attempts = attempts
        self._verify = verify
        self._people = people
        self._clock = clock

    def sign_in(self, mail: str, password: str, address: str, joins: Around, enters: Enters) -> Issued:
        """Their tokens; and they are a member wherever they were invited. `address`: where the request came from.

        Each tenant of theirs is told by `enters`, before anybody has the tokens, and of how many attempts it was the
        last: so its people hear of those that failed, and whoever fails writes nothing.
        """
        attempt = must_be_few(self._attempts, address, mail, self._clock())
        issued = self._issuer.by_password(mail, password)
        has_signed_in(self._attempts, address, mail, self._clock())
        claims = self._joined(issued, joins)
        said = f"attempt {attempt} for this account in a quarter of an hour" if attempt > 1 else ""
        for tenant, member in self._people.tenants_of(claims.issuer, claims.subject):
            with enters(tenant, member.subject, said):
                pass
        return issued

    def renew(self, token: str, address: str, joins: Around) -> Issued:
        """The same, for who has signed in before; that does not count as signing in."""
        must_be_few(self._attempts, address, None, self._clock())
        issued = self._issuer.by_refresh(token)
        self._joined(issued, joins)
        return issued

    def _joined(self, issued: Issued, joins: Around) -> Claims:
        try:
            claims = self._verify(issued.access, (), self._clock())
        except Unauthenticated:  # the deployment takes no tokens of this client
            raise NoCapacity(BROKEN, retry_in_ms=60_000) from None
        # Another sign-in of theirs at the same time accepts what this one does not, or the next one will.
        with suppress(Conflict):
            mail = verified_mail(issued.id)
            self._people.join(claims.issuer, claims.subject, mail, of_tenant=None, around=joins)
        return claims
