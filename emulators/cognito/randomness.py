"""What nobody may guess, from this machine; an argument wherever it is needed."""

import os
import secrets
import uuid
from collections.abc import Callable

import msgspec

from emulators.cognito import keys
from emulators.cognito.records import SigningKey


class Randomness(msgspec.Struct, frozen=True):
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    new_secret: Callable[[], str] = lambda: secrets.token_urlsafe(32)
    new_salt: Callable[[], bytes] = lambda: os.urandom(16)
    new_signing_key: Callable[[], SigningKey] = keys.made


BY_CHANCE = Randomness()
