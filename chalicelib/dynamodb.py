"""PynamoDB's connection, with a shorter way to the wire.

botocore's client costs 0.6 ms of CPU for each call, most of it in finding endpoints, building user agents
and walking service models; and 50 ms when it is made. DynamoDB's protocol needs none of that: JSON in its
wire form, a header that names the operation, a signature. So the operations go out with botocore's
credentials and signer on the standard library's connections, which send a request in one piece: a quarter of
the CPU, and nothing to build.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

import os
import ssl
from collections.abc import Callable, Mapping
from email.message import Message
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.httpsession import get_cert_path
from pynamodb.connection import Connection
from pynamodb.exceptions import VerboseClientError

CONTENT_TYPE = "application/x-amz-json-1.0"
CONNECTIONS = 64

_TARGET = "DynamoDB_20120810."
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def endpoint(region: str, environment: Mapping[str, str]) -> str:
    """Where DynamoDB is, as AWS's SDKs find it: what the environment names, or AWS's own (for FIPS 140)."""
    named = environment.get("AWS_ENDPOINT_URL_DYNAMODB") or environment.get("AWS_ENDPOINT_URL")
    fips = "-fips" if environment.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true" else ""
    return named or f"https://dynamodb{fips}.{region}.amazonaws.com"  # the same suffix in `aws` and `aws-us-gov`


class DynamoDB(Connection):
    """A PynamoDB connection to one region. Thread-safe; nothing is opened before the first call."""

    def __init__(self, region: str, deadline_ms: int, endpoint_url: str | None) -> None:
        super().__init__(region=region, host=endpoint_url)
        self._url = endpoint_url or endpoint(region, os.environ)
        self._deadline_s = deadline_ms / 1000
        self._idle: list[HTTPConnection] = []  # kept alive; append and pop are atomic
        self.observe: Callable[[str], None] | None = None  # told each operation before it leaves, also a repeated one

    def _make_api_call(self, operation_name: str, operation_kwargs: dict[str, Any]) -> dict[str, Any]:
        """What every operation of PynamoDB comes down to. Raises VerboseClientError, EndpointConnectionError."""
        body = _encode(operation_kwargs)
        response = self._sent(operation_name, body)
        if response is None or response.status >= 500:
            # Every write of ours is conditional and may be repeated; once covers a connection that died idle.
            # More would only outlast the caller's patience.
            response = self._sent(operation_name, body)
        if response is None:
            raise EndpointConnectionError(endpoint_url=self._url)
        answer: dict[str, Any] = self._decoded(response)
        if response.status == 200:
            return answer
        code = str(answer.get("__type", response.status)).rpartition("#")[2]
        message = str(answer.get("message") or answer.get("Message") or "")
        raise StoreError(
            {"Error": {"Code": code, "Message": message}},
            operation_name,
            {
                "request_id": response.headers.get("x-amzn-requestid", ""),
                "table_name": operation_kwargs.get("TableName", ""),
            },
            old=answer.get("Item", {}),
        )

    def _sent(self, operation: str, body: bytes) -> "_Response | None":
        """The response, or None where the store could not be reached or did not answer in time."""
        request = AWSRequest(
            "POST", self._url, {"Content-Type": CONTENT_TYPE, "X-Amz-Target": _TARGET + operation}, body
        )
        # Frozen: key, secret and token of one and the same credential, whatever is refreshed meanwhile.
        SigV4Auth(self._credentials.get_frozen_credentials(), "dynamodb", self.region).add_auth(request)
        if self.observe is not None:
            self.observe(operation)
        try:
            line = self._idle.pop()
        except IndexError:
            line = self._connected()
        try:
            line.request("POST", self._path, body, dict(request.headers.items()))
            answer = line.getresponse()
            response = _Response(answer.status, answer.headers, answer.read())
        except (OSError, HTTPException):
            line.close()
            # One that died idle has company, a thawed sandbox finds all of them dead: the next try takes a fresh one.
            self._idle.clear()
            return None
        if answer.will_close or len(self._idle) >= CONNECTIONS:
            line.close()
        else:
            self._idle.append(line)
        return response

    def _connected(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, timeout=self._deadline_s, context=self._tls)
        return HTTPConnection(self._host, timeout=self._deadline_s)

    def _decoded(self, response: "_Response") -> Any:
        try:
            return _decode(response.body)
        except msgspec.DecodeError:
            raise EndpointConnectionError(endpoint_url=self._url) from None

    @cached_property
    def _path(self) -> str:
        return urlsplit(self._url).path or "/"

    @cached_property
    def _host(self) -> str:
        return urlsplit(self._url).netloc

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return _trust() if self._url.startswith("https:") else None

    @cached_property
    def _credentials(self) -> Credentials:
        credentials = self.session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials


def _trust() -> ssl.SSLContext:
    """Whom botocore would trust."""
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))


class _Response(msgspec.Struct, frozen=True):
    status: int
    headers: Message
    body: bytes


class StoreError(VerboseClientError):
    """DynamoDB's own error; `old` is the item that a failed condition was asked to return."""

    def __init__(
        self, response: dict[str, Any], operation: str, verbose: dict[str, str], *, old: dict[str, dict[str, Any]]
    ) -> None:
        super().__init__(response, operation, verbose)
        self.old = old
