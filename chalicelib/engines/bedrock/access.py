"""The way to Bedrock: clients for one region and one secret, and calls that are repeated where that can help.

A client holds one credential; another credential is another client. So the clients are made again when the
credential changes, which costs some 100 ms and the open connections, once in a rotation.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import msgspec
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from chalicelib.clock import Clock
from chalicelib.dialects import failures
from chalicelib.engines.bedrock import passage
from chalicelib.engines.bedrock.credentials import Credential, Source
from chalicelib.engines.bedrock.failures import GARBLED, NO_CREDENTIALS, Failure, failure_of
from chalicelib.engines.secrets_manager import Unreadable
from chalicelib.refusal import EngineFailed, Malformed
from chalicelib.settings import Settings

ATTEMPTS = 4  # together about 0.7 s of pauses at most: placement knows other targets
FIRST_PAUSE_MS = 100  # doubled each time, and of that a random share
CONNECTIONS = 64

RUNTIME = "bedrock-runtime"
CONTROL = "bedrock"


class Times(msgspec.Struct, frozen=True):
    """What passes time, and what tells it."""

    monotonic: Clock  # for deadlines
    wall: Clock  # for what others date
    sleep: Callable[[float], None] = time.sleep  # seconds
    draw: Callable[[], float] = random.random  # in [0, 1)


class _Clients(msgspec.Struct, frozen=True):
    credential: Credential | None  # None: the gateway's own role
    region: str
    session: Any  # of botocore, which has no types
    made: dict[str, Any]  # by service


class Access:
    """Bedrock in one region, with the credential of one secret or the gateway's own role. Thread-safe."""

    def __init__(self, region: str, source: Source | None, settings: Settings, times: Times) -> None:
        """`region`: empty for the one that the secret names."""
        self._region = region
        self._source = source
        self._settings = settings
        self._times = times
        self._lock = threading.Lock()
        self._clients: _Clients | None = None

    @property
    def region(self) -> str:
        """Raises EngineFailed where it stands in a secret that cannot be read."""
        return self._current().region

    def send(self, service: str, operation: str, request: Mapping[str, object], until_ms: int) -> Mapping[str, Any]:
        """Call once; again while Bedrock is busy or faulty and `until_ms` (monotonic) allows; and again with
        another credential, if it refuses this one and the secret holds another by now.

        Raises: Failure, as Bedrock answers. EngineFailed: there is no credential. Malformed: too deeply nested.
        """
        pause_ms = FIRST_PAUSE_MS
        attempts_left = ATTEMPTS - 1
        may_renew = self._source is not None
        while True:
            clients = self._current()
            try:
                answer: Mapping[str, Any] = getattr(self._client(clients, service), operation)(**request)
                return answer
            except (BotoCoreError, ClientError) as error:
                failure = failure_of(error)
            except RecursionError:
                raise Malformed("The request is nested too deeply for the model.") from None
            except (AttributeError, LookupError, TypeError, ValueError):
                # What is not Bedrock's, a proxy's page for one, comes apart in botocore's parser in any of these ways.
                failure = Failure(GARBLED)
            if failure.refused and may_renew:
                may_renew = False
                if self._renewed(clients, stale=failure.stale):
                    continue
            wait_ms = round(pause_ms * self._times.draw())
            if not (failure.passing and attempts_left) or self._times.monotonic() + wait_ms >= until_ms:
                raise failure
            self._times.sleep(wait_ms / 1_000)
            pause_ms *= 2
            attempts_left -= 1

    def partition(self) -> str:
        """`aws`, `aws-us-gov`, ..., as botocore knows it for the region."""
        name: str = self._client(self._current(), CONTROL).meta.partition
        return name

    def reach(self, deadline_s: float) -> None:
        """See whether anybody answers at the runtime's address, whatever it is. Raises EngineFailed."""
        clients = self._current()
        url = self._client(clients, RUNTIME).meta.endpoint_url
        authorities = clients.session.get_config_variable("ca_bundle") or True
        http = URLLib3Session(authorities, get_environ_proxies(url), deadline_s)
        try:
            # The body is left unread: it need not end, and the deadline is for each read only.
            http.send(AWSRequest("GET", url, stream_output=True).prepare()).raw.close()
        except BotoCoreError as error:
            raise EngineFailed(failures.UNREACHABLE, symptom=type(error).__name__, unsent=True) from error
        finally:
            http.close()

    def _current(self) -> _Clients:
        try:
            credential = self._source.current() if self._source else None
        except Unreadable as error:
            raise EngineFailed(NO_CREDENTIALS, symptom="no credential in its secret") from error
        clients = self._clients
        if clients is None or clients.credential != credential:
            with self._lock:
                clients = self._clients
                if clients is None or clients.credential != credential:
                    clients = self._clients = self._made(credential)
        return clients

    def _renewed(self, refused: _Clients, *, stale: bool) -> bool:
        """Whether there is another credential to try than the one that was refused."""
        if self._source is None or refused.credential is None:
            return False
        try:
            return self._source.after(refused.credential, stale=stale) != refused.credential
        except Unreadable:
            return False

    def _made(self, credential: Credential | None) -> _Clients:
        session = botocore.session.get_session()
        if credential is not None and not credential.api_key:
            session.set_credentials(
                credential.access_key_id, credential.secret_access_key, credential.session_token or None
            )
        named = credential.region if credential else ""
        return _Clients(credential, self._region or named or self._settings.region, session, {})

    def _client(self, clients: _Clients, service: str) -> Any:
        client = clients.made.get(service)
        if client is None:
            with self._lock:
                client = clients.made.get(service)
                if client is None:
                    client = clients.session.create_client(
                        service, region_name=clients.region, config=self._config(clients.credential)
                    )
                    if clients.credential is not None and clients.credential.api_key:
                        client.meta.events.register("before-send", _Bearer(clients.credential))
                    if service == RUNTIME:
                        passage.opened(client)
                    clients.made[service] = client
        return client

    def _config(self, credential: Credential | None) -> Config:
        deadlines: dict[str, Any] = {
            "connect_timeout": self._settings.connect_deadline_ms / 1_000,
            "read_timeout": self._settings.idle_deadline_ms / 1_000,
            "max_pool_connections": CONNECTIONS,
            "retries": {"total_max_attempts": 1},  # ours know the deadline, and what has been sent already
            "tcp_keepalive": True,
            "parameter_validation": False,  # the service validates as well, and this costs CPU on every call
        }
        if credential is not None:
            # Said here, it counts for more than an API key in the environment, which is the gateway's own.
            deadlines["signature_version"] = UNSIGNED if credential.api_key else "v4"
        return Config(**deadlines)


class _Bearer:
    """Writes the API key into a request (RFC 6750).

    As the last thing before it leaves, for botocore's own signer would take a key from the environment only.
    """

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __call__(self, request: AWSPreparedRequest, **_: object) -> None:
        if not _private(request.url):
            raise EngineFailed(failures.FAILED)
        request.headers["Authorization"] = f"Bearer {self._credential.api_key}"


def _private(url: str) -> bool:
    """Whether nobody on the way can read along: under TLS, or within this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
