"""Whether somebody is who they say: by their password, or with the secret that a client keeps."""

import base64
import hashlib
import hmac

import msgspec
from msgspec.structs import replace

from emulators.clock import Clock
from emulators.cognito import passwords
from emulators.cognito.directory import Directory
from emulators.cognito.momentary import Momentary
from emulators.cognito.passwords import Guesses
from emulators.cognito.randomness import Randomness
from emulators.cognito.records import Client, User
from emulators.cognito.refusal import CognitoError, not_authorized

_CHALLENGE_MS = 180_000  # AuthSessionValidity by default
_WRONG = "Incorrect username or password."


class Challenged(msgspec.Struct, frozen=True):
    """Who knew their password, which is temporary, at which client."""

    client: str
    username: str


class Credentials:
    def __init__(self, directory: Directory, clock: Clock, randomness: Randomness, *, password_cost: int) -> None:
        self._directory = directory
        self._guesses = Guesses()
        self._clock = clock
        self._new_salt = randomness.new_salt
        self._cost = password_cost
        self._challenged: Momentary[Challenged] = Momentary(_CHALLENGE_MS, clock, randomness.new_secret)

    def user(self, client: Client, name: str, password: str) -> User:
        """Whose password this is. Raises CognitoError, which tells no more than Cognito's does."""
        now_ms = self._clock()
        found = self._directory.known(self._directory.pool(client.pool), name)
        account = (client.pool, found.username if found else name)
        self._guesses.permit(account, now_ms)
        # Also where there is nobody, so that both take as long.
        right = passwords.matches(password, found.password if found else "", self._cost)
        if found is None:
            self._guesses.wrong(account, now_ms)
            raise (
                not_authorized(_WRONG)
                if client.hides_users
                else CognitoError("UserNotFoundException", "User does not exist.")
            )
        if not right:
            self._guesses.wrong(account, now_ms)
            raise not_authorized(_WRONG)
        if not found.enabled:
            raise not_authorized("User is disabled.")
        self._guesses.right(account)
        return found

    def challenge(self, client: Client, user: User) -> str:
        """The session in which somebody whose password is temporary may set another, within minutes."""
        return self._challenged.keep(Challenged(client.id, user.username))

    def renewed(self, client: Client, session: str, password: str) -> User:
        """Who has set this password in that session; it stays. Raises CognitoError."""
        pool = self._directory.pool(client.pool)
        passwords.check(password, pool.policy)
        challenged = self._challenged.take(session)
        user = self._directory.known(pool, challenged.username) if challenged else None
        if challenged is None or challenged.client != client.id or user is None:
            raise not_authorized("Invalid session for the user.")
        kept = passwords.hashed(password, self._new_salt(), self._cost)
        user = replace(user, password=kept, temporary=False, modified_ms=self._clock())
        self._directory.put(user)
        return user


def check_hash(client: Client, username: str, given: str) -> None:
    """The SECRET_HASH with which a program proves that it is a client with a secret. Raises CognitoError.

    https://docs.aws.amazon.com/cognito/latest/developerguide/signing-up-users-in-your-app.html#cognito-user-pools-computing-secret-hash
    """
    if not client.secret:
        return
    if not given:
        raise not_authorized(f"Client {client.id} is configured with secret but SECRET_HASH was not received")
    mac = hmac.new(client.secret.encode(), (username + client.id).encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(mac).decode(), given):
        raise not_authorized(f"Unable to verify secret hash for client {client.id}")
