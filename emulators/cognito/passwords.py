"""Passwords: what a pool asks of one, what is kept of it, and how long a guesser waits."""

import base64
import hashlib
import hmac

from emulators.cognito.records import PasswordPolicy
from emulators.cognito.refusal import CognitoError, not_authorized

COST = 2**14
"""Of scrypt, in memory and time; whoever makes many people and has none to protect takes less."""
_FREE_GUESSES = 5
_LONGEST_LOCK_MS = 900_000
_MOST_COUNTED = 10_000
SYMBOLS = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+- "


def check(password: str, policy: PasswordPolicy) -> None:
    """Raises CognitoError (InvalidPasswordException), which says what is missing."""
    wanted = (
        (len(password) >= policy.minimum_length, "Password not long enough"),
        (not policy.require_uppercase or any(map(str.isupper, password)), "Password must have uppercase characters"),
        (not policy.require_lowercase or any(map(str.islower, password)), "Password must have lowercase characters"),
        (not policy.require_numbers or any(map(str.isdigit, password)), "Password must have numeric characters"),
        (not policy.require_symbols or set(SYMBOLS) & set(password), "Password must have symbol characters"),
    )
    for met, complaint in wanted:
        if not met:
            raise CognitoError(
                "InvalidPasswordException", f"Password did not conform with password policy: {complaint}"
            )


def hashed(password: str, salt: bytes, cost: int) -> str:
    """`salt`: 16 random bytes; `cost`: a power of two."""
    key = hashlib.scrypt(password.encode(), salt=salt, n=cost, r=8, p=1, dklen=32)
    return ".".join(base64.b64encode(each).decode() for each in (salt, key))


def matches(password: str, kept: str, cost: int) -> bool:
    """False, too, where nothing is kept; that takes as long."""
    salt, _, key = kept.partition(".")
    return hmac.compare_digest(hashed(password, base64.b64decode(salt), cost).partition(".")[2], key) and bool(key)


class Guesses:
    """After five wrong passwords an account is locked for a second, and twice as long after each further one.

    https://docs.aws.amazon.com/cognito/latest/developerguide/authentication.html#authentication-flow-lockout-behavior
    """

    def __init__(self) -> None:
        self._wrong: dict[tuple[str, str], tuple[int, int]] = {}  # account -> (how many, locked until, ms)

    def permit(self, account: tuple[str, str], now_ms: int) -> None:
        """Raises CognitoError while the account is locked."""
        if self._wrong.get(account, (0, 0))[1] > now_ms:
            raise not_authorized("Password attempts exceeded")

    def right(self, account: tuple[str, str]) -> None:
        self._wrong.pop(account, None)

    def wrong(self, account: tuple[str, str], now_ms: int) -> None:
        if len(self._wrong) >= _MOST_COUNTED:
            self._wrong.clear()
        count = self._wrong.get(account, (0, 0))[0] + 1
        over = count - _FREE_GUESSES
        lock_ms = min(1_000 << min(over, 10), _LONGEST_LOCK_MS) if over >= 0 else 0
        self._wrong[account] = (count, now_ms + lock_ms)
