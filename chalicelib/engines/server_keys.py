"""API keys of servers, out of AWS Secrets Manager: what such a secret may hold, and when it is read again.

    sk-...                   the key itself
    {"api_key": "sk-..."}    or a JSON object that names it

Nothing of a key is in any error, log or repr.
"""

import logging
import re
import threading
from collections.abc import Callable

import msgspec

from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.engines.secrets_manager import ReadSecret, Secrets, Unreadable
from chalicelib.http1.answer import Answer
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings

Send = Callable[[dict[str, str]], Answer]
"""Sends a request with these headers more."""

log = logging.getLogger(__name__)

SECRET_AGE_MS = 300_000  # a secret is read again after it, so that a rotated key is not met at its last use
PAUSE_MS = 10_000  # until it is looked at again, when it could not be read or still held what had been refused

LONG_CHARACTERS = 12  # of a key that is no word

_HEADER = re.compile(r"[\x21-\x7e]{1,8192}")  # what a header may hold


class Key(msgspec.Struct, frozen=True):
    text: str

    def __repr__(self) -> str:
        return "Key(...)"


class _Secret(msgspec.Struct):
    api_key: str


class KeyedTarget(OpenAICompatible, frozen=True, kw_only=True, tag="openai_compatible"):
    """The target as whoever tells of its failures knows it: what the server quotes of the key is not shown."""

    key: Key

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*super().addresses, self.key.text)

    @property
    def secrets(self) -> tuple[str, ...]:
        # A shorter one may be a word (`none`, `EMPTY`), as servers have them that want none.
        return (self.key.text,) if len(self.key.text) >= LONG_CHARACTERS else ()


class ServerKeys:
    """The keys of all targets that have one. Thread-safe."""

    def __init__(self, settings: Settings, clock: Clock, read: ReadSecret | None = None) -> None:
        self._read = read or Secrets(settings)
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, SecretKey] = {}

    def ask(self, target: OpenAICompatible, send: Send) -> tuple[Answer, OpenAICompatible]:
        """The response to what `send` sends with the target's key, and the target as its failures are told.

        Where the server refuses the key, it is sent once more with the one that the secret holds by now, if that is
        another. Raises EngineFailed where there is no key, or it would be readable on the way; what `send` raises.
        """
        if not target.private:
            raise EngineFailed(failures.NO_CREDENTIALS, symptom="no key goes over plain HTTP")
        with self._lock:
            held = self._keys.setdefault(target.secret, SecretKey(target.secret, self._read, self._clock))
        try:
            key = held.current()
        except Unreadable as error:
            # Callers hear of a target that fails. What is to be mended, its operator finds here.
            log.warning("The target %s has no key: %s", target.name, error)
            raise EngineFailed(failures.NO_CREDENTIALS, symptom="no key in its secret") from error
        response = send(_bearer(key))
        if response.status in (401, 403):
            newer = held.after(key)
            if newer != key:
                response.close()
                key = newer
                response = send(_bearer(key))
            if response.status in (401, 403):
                log.warning("The target %s answers %d to the key in its secret.", target.name, response.status)
        members = {name: getattr(target, name) for name in target.__struct_fields__}
        return response, KeyedTarget(**members, key=key)


class SecretKey:
    """The key that one secret holds. Thread-safe."""

    def __init__(self, secret: str, read: ReadSecret, clock: Clock) -> None:
        self._secret = secret
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Key | None = None
        self._renew_at_ms = 0
        self._doubted_ms: int | None = None  # when the secret was last looked at because its key was refused, in vain

    def current(self) -> Key:
        """The key, read again now and then. Raises Unreadable if there is none yet."""
        held = self._held
        if held is None:
            with self._lock:
                held = self._held or self._renewed()
        elif self._clock() >= self._renew_at_ms and self._lock.acquire(blocking=False):
            # One thread renews; the others go on with the old key meanwhile.
            try:
                held = self._renewed()
            except Unreadable:  # the server may take the old one still, and says so if not
                self._renew_at_ms = self._clock() + PAUSE_MS
            finally:
                self._lock.release()
        return held

    def after(self, refused: Key) -> Key:
        """What to try now that the server has refused `refused`: the same one where the secret still says so."""
        with self._lock:
            now_ms = self._clock()
            if self._held != refused:
                return self._held or refused  # another thread was here first
            if self._doubted_ms is not None and now_ms - self._doubted_ms < PAUSE_MS:
                return refused  # one that is refused for good must not be read for every call
            try:
                held = self._renewed()
            except Unreadable:
                held = refused
            self._doubted_ms = now_ms if held == refused else None
            return held

    def _renewed(self) -> Key:
        key = _parsed(self._read(self._secret))
        self._held, self._renew_at_ms = key, self._clock() + SECRET_AGE_MS
        return key


def _bearer(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.text}"}


def _parsed(text: str) -> Key:
    text = text.strip()
    if text.startswith("{"):
        try:
            text = msgspec.json.decode(text, type=_Secret).api_key.strip()
        except msgspec.MsgspecError:
            raise Unreadable("The secret for a target is a JSON object without a text `api_key`.") from None
    if not _HEADER.fullmatch(text):
        raise Unreadable("The secret for a target is not a key that a header can hold.")
    return Key(text)
