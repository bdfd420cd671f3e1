"""Bedrock's control plane, by botocore: which models and inference profiles there are. No answer waits for it twice."""

from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from chalicelib.aws_credentials import NoCredentials
from chalicelib.engines.bedrock.credentials import Credential
from chalicelib.engines.bedrock.failures import CUT, GARBLED, SILENT, UNREACHABLE, Failure
from chalicelib.engines.transport.aws_calls import by_key
from chalicelib.settings import Settings


class Control:
    """A client of the service `bedrock` in one region, with one credential. Thread-safe."""

    def __init__(self, region: str, credential: Credential | None, settings: Settings) -> None:
        """`credential`: None for the gateway's own role."""
        session = botocore.session.get_session()
        if credential is not None and not credential.api_key:
            session.set_credentials(
                credential.access_key_id, credential.secret_access_key, credential.session_token or None
            )
        self._client: Any = session.create_client("bedrock", region_name=region, config=_config(credential, settings))
        if credential is not None and credential.api_key:
            self._client.meta.events.register("before-send", _Bearer(credential.api_key))

    @property
    def partition(self) -> str:
        """`aws`, `aws-us-gov`, ..., as botocore knows it for the region."""
        name: str = self._client.meta.partition
        return name

    def send(self, operation: str, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Raises: Failure."""
        try:
            answer: Mapping[str, Any] = getattr(self._client, operation)(**request)
            return answer
        except (BotoCoreError, ClientError) as error:
            raise _failure_of(error) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # What is not Bedrock's, a proxy's page for one, comes apart in botocore's parser in any of these ways.
            raise Failure(GARBLED) from error


class _Bearer:
    """Writes the API key into a request, as the last thing before it leaves: botocore's own signer would take a key
    from the environment only."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: AWSPreparedRequest, **_: object) -> None:
        try:
            proved = by_key(self._key, request.url)("", "", {}, b"")
        except NoCredentials as missing:
            raise Failure(str(missing)) from None
        request.headers["Authorization"] = proved["Authorization"]


def _config(credential: Credential | None, settings: Settings) -> Config:
    deadlines: dict[str, Any] = {
        "connect_timeout": settings.connect_deadline_ms / 1_000,
        "read_timeout": settings.idle_deadline_ms / 1_000,
        "retries": {"total_max_attempts": 1},  # ours know the deadline, and what has been sent already
        "tcp_keepalive": True,
        "parameter_validation": False,  # the service validates as well
    }
    if credential is not None:
        # Said here, it counts for more than an API key in the environment, which is the gateway's own.
        deadlines["signature_version"] = UNSIGNED if credential.api_key else "v4"
    return Config(**deadlines)


def _failure_of(error: BotoCoreError | ClientError) -> Failure:
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return Failure(said.get("Code", ""), status, said.get("Message", ""))
    if isinstance(error, ReadTimeoutError):
        return Failure(SILENT)
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return Failure(UNREACHABLE)
    if isinstance(error, ConnectionClosedError):
        return Failure(CUT)
    return Failure(type(error).__name__)
