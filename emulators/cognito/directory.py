"""Pools and what is in them, kept in rows: what was confirmed outlives the process, however that ends."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from emulators.cognito.records import Client, Group, Pool, ResourceServer, SignedIn, User
from emulators.cognito.refusal import CognitoError, not_found
from emulators.dynamodb import Rows
from emulators.dynamodb.rows import Span

Record = Pool | Client | Group | ResourceServer | User | SignedIn
T = TypeVar("T", bound=Record)
_ALL = b"pools"
_LAST = b"\xff"


class Directory:
    """One thread at a time, as its rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def put(self, record: Record) -> None:
        self._rows.put(type(record).__name__, _key(record), msgspec.json.encode(record))

    def delete(self, record: Record) -> None:
        self._rows.delete(type(record).__name__, _key(record))

    def pool(self, pool: str) -> Pool:
        """Raises CognitoError (ResourceNotFoundException)."""
        if found := self._one(Pool, _ALL, pool):
            return found
        raise not_found(f"User pool {pool} does not exist.")

    def pools(self) -> list[Pool]:
        return list(self._of(Pool, _ALL))

    def client(self, client: str) -> Client:
        """Raises CognitoError (ResourceNotFoundException)."""
        if found := self._one(Client, b"", client):
            return found
        raise not_found(f"User pool client {client} does not exist.")

    def clients(self, pool: str) -> list[Client]:
        return [each for each in self._of(Client, b"") if each.pool == pool]

    def user(self, pool: Pool, name: str) -> User:
        """By username, or where the pool has people sign in so by mail address. Raises CognitoError."""
        if found := self.known(pool, name):
            return found
        raise CognitoError("UserNotFoundException", "User does not exist.")

    def known(self, pool: Pool, name: str) -> User | None:
        found = self._one(User, pool.id.encode(), name)
        if found is None and pool.mail_is_username:
            mail = name.strip().lower()
            return next((each for each in self.users(pool.id) if each.email.lower() == mail), None)
        return found

    def users(self, pool: str) -> Iterator[User]:
        return self._of(User, pool.encode())

    def group(self, pool: str, name: str) -> Group:
        """Raises CognitoError (ResourceNotFoundException)."""
        if found := self._one(Group, pool.encode(), name):
            return found
        raise not_found("Group not found.")

    def groups(self, pool: str) -> list[Group]:
        return list(self._of(Group, pool.encode()))

    def resource_servers(self, pool: str) -> list[ResourceServer]:
        return list(self._of(ResourceServer, pool.encode()))

    def signed_in(self, pool: str, username: str, origin_jti: str) -> SignedIn | None:
        return self._one(SignedIn, f"{pool}/{username}".encode(), origin_jti)

    def sign_out(self, user: User) -> None:
        """Everywhere: none of their refresh tokens is good any more."""
        for each in list(self.sign_ins(user)):
            self.delete(each)

    def sign_ins(self, user: User) -> Iterator[SignedIn]:
        return self._of(SignedIn, f"{user.pool}/{user.username}".encode())

    def _one(self, kind: type[T], within: bytes, name: str) -> T | None:
        found = self._rows.item(kind.__name__, (within, name.encode()))
        return msgspec.json.decode(found, type=kind) if found is not None else None

    def _of(self, kind: type[T], within: bytes) -> Iterator[T]:
        for found in self._rows.span(kind.__name__, Span(first=(within, b""), last=(within, _LAST))):
            yield msgspec.json.decode(found, type=kind)


def _key(record: Record) -> tuple[bytes, bytes]:
    match record:
        case Pool():
            within, name = "pools", record.id
        case Client():
            within, name = "", record.id
        case Group():
            within, name = record.pool, record.name
        case ResourceServer():
            within, name = record.pool, record.identifier
        case User():
            within, name = record.pool, record.username
        case SignedIn():
            within, name = f"{record.pool}/{record.username}", record.origin_jti
    return within.encode(), name.encode()
