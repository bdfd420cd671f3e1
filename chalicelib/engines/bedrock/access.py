"""The way to Bedrock in one region with one secret: calls that are repeated where that can help.

The runtime, which answers wait for, is called over connections of our own; the control plane by botocore (`control`),
which is loaded when a model's profile is to be found. What holds a credential is made again when it changes, and its
connections are, once in a rotation.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from chalicelib import aws_credentials
from chalicelib.aws_address import address
from chalicelib.aws_credentials import NoCredentials
from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.engines.bedrock.failures import NO_CREDENTIALS, Failure, failure_of
from chalicelib.engines.secrets_manager import Unreadable
from chalicelib.engines.transport.aws_calls import COMPLAINT_BYTES, AwsCalls, Prove, by_key, by_signature, complaint
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import Failed
from chalicelib.http1.server import Patience
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings
from chalicelib.signature import Credentials, wall

if TYPE_CHECKING:  # loaded where a target has a secret, or its profile is to be found
    from chalicelib.engines.bedrock.control import Control
    from chalicelib.engines.bedrock.credentials import Credential, Source

ATTEMPTS = 4  # together about 0.7 s of pauses at most: placement knows other targets
FIRST_PAUSE_MS = 100  # doubled each time, and of that a random share

T = TypeVar("T")


class Times(msgspec.Struct, frozen=True):
    """What passes time, and what tells it."""

    monotonic: Clock  # for deadlines
    wall: Clock  # for what others date
    sleep: Callable[[float], None] = time.sleep  # seconds
    draw: Callable[[], float] = random.random  # in [0, 1)


class _Way:
    """With one credential to one region; made again with another."""

    def __init__(self, region: str, credential: "Credential | None", settings: Settings) -> None:
        """`credential`: None for the gateway's own role."""
        self.region = region
        self.credential = credential
        self._settings = settings
        self._lock = threading.Lock()
        self._control: Control | None = None
        url = address("bedrock-runtime", region, os.environ)
        patience = Patience(settings.connect_deadline_ms / 1_000, settings.idle_deadline_ms / 1_000)
        self.runtime = AwsCalls(url, patience, _proof(url, region, credential))

    @property
    def control(self) -> "Control":
        with self._lock:
            if self._control is None:
                # Not at the top: it loads botocore, which answers need not wait for.
                from chalicelib.engines.bedrock.control import Control

                self._control = Control(self.region, self.credential, self._settings)
            return self._control


class Access:
    """Bedrock in one region, with the credential of one secret or the gateway's own role. Thread-safe."""

    def __init__(self, region: str, source: "Source | None", settings: Settings, times: Times) -> None:
        """`region`: empty for the one that the secret names."""
        self._region = region
        self._source = source
        self._settings = settings
        self._times = times
        self._lock = threading.Lock()
        self._held: _Way | None = None

    @property
    def region(self) -> str:
        """Raises EngineFailed where it stands in a secret that cannot be read."""
        return self._current().region

    def post(self, path: str, headers: Mapping[str, str], body: bytes, until_ms: int) -> Answer:
        """Call the runtime: the answer, of which nothing but its head has been read. See _repeated.

        Raises: Failure, as Bedrock refuses. EngineFailed: there is no credential.
        """
        return self._posted(path, headers, body, until_ms, lambda: None)

    def post_by(self, path: str, headers: Mapping[str, str], body: bytes, until_ms: int) -> Answer:
        """The same, whose head is there by `until_ms`, however often it was repeated. Raises: as post."""
        connect_s = self._settings.connect_deadline_ms / 1_000

        def patience() -> Patience:
            left_s = max(until_ms - self._times.monotonic(), 1) / 1_000
            return Patience(connect_s, left_s, time.monotonic() + left_s)

        return self._posted(path, headers, body, until_ms, patience)

    def _posted(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        until_ms: int,
        patience: Callable[[], Patience | None],
    ) -> Answer:
        def once(way: _Way) -> Answer:
            try:
                answer = way.runtime.post(path, headers, body, patience())
                if answer.status == 200:
                    return answer
                said = complaint(answer.status, answer.headers, answer.read(COMPLAINT_BYTES))
            except Failed as failed:
                raise failure_of(failed) from failed
            except NoCredentials as missing:
                raise Failure(str(missing)) from missing
            raise Failure(said.code, said.status, said.text)

        return self._repeated(once, until_ms)

    def control(self, operation: str, request: Mapping[str, object], until_ms: int) -> Mapping[str, Any]:
        """Call the control plane, as botocore names its operations. Raises: as post."""
        return self._repeated(lambda way: way.control.send(operation, request), until_ms)

    def partition(self) -> str:
        """`aws`, `aws-us-gov`, ..., as botocore knows it for the region."""
        return self._current().control.partition

    def reach(self, deadline_s: float) -> None:
        """See whether anybody answers at the runtime's address, whatever it is. Raises EngineFailed."""
        try:
            self._current().runtime.reach(Patience(deadline_s, deadline_s))
        except Failed as failed:
            raise EngineFailed(failures.UNREACHABLE, symptom=failed.symptom, unsent=True) from failed

    def _repeated(self, once: Callable[[_Way], T], until_ms: int) -> T:
        """Once; again while Bedrock is busy or faulty and `until_ms` (monotonic) allows; and again with another
        credential, if it refuses this one and the secret holds another by now."""
        pause_ms = FIRST_PAUSE_MS
        attempts_left = ATTEMPTS - 1
        may_renew = self._source is not None
        while True:
            way = self._current()
            try:
                return once(way)
            except Failure as met:
                failure = met
            if failure.refused and may_renew:
                may_renew = False
                if self._renewed(way, stale=failure.stale):
                    continue
            wait_ms = round(pause_ms * self._times.draw())
            if not (failure.passing and attempts_left) or self._times.monotonic() + wait_ms >= until_ms:
                raise failure
            self._times.sleep(wait_ms / 1_000)
            pause_ms *= 2
            attempts_left -= 1

    def _current(self) -> _Way:
        try:
            credential = self._source.current() if self._source else None
        except Unreadable as error:
            raise EngineFailed(NO_CREDENTIALS, symptom="no credential in its secret") from error
        way = self._held
        if way is None or way.credential != credential:
            with self._lock:
                way = self._held
                if way is None or way.credential != credential:
                    named = credential.region if credential else ""
                    way = self._held = _Way(self._region or named or self._settings.region, credential, self._settings)
        return way

    def _renewed(self, refused: _Way, *, stale: bool) -> bool:
        """Whether there is another credential to try than the one that was refused."""
        if self._source is None or refused.credential is None:
            return False
        try:
            return self._source.after(refused.credential, stale=stale) != refused.credential
        except Unreadable:
            return False


def _proof(url: str, region: str, credential: "Credential | None") -> Prove:
    if credential is None:
        own_key = os.environ.get("AWS_BEARER_TOKEN_BEDROCK", "")
        return by_key(own_key, url) if own_key else by_signature("bedrock", region, aws_credentials.own(), wall)
    if credential.api_key:
        return by_key(credential.api_key, url)
    key = Credentials(credential.access_key_id, credential.secret_access_key, credential.session_token)
    return by_signature("bedrock", region, lambda: key, wall)
