"""DynamoDB's tables, and the wire to them: JSON in its own form, a header that names the operation, a signature.

This is what a request waits for, so it imports neither PynamoDB nor botocore: their clients take 0.1 s of a cold start
and 0.5 ms of CPU for each call. What is managed (`tables`) goes out by the same wire.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from chalicelib import aws_credentials
from chalicelib.aws_address import address
from chalicelib.aws_credentials import FindCredentials, NoCredentials
from chalicelib.clock import Clock
from chalicelib.http1 import message, trust
from chalicelib.http1.failure import Failed, Unreachable
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server
from chalicelib.refusal import StoreUnavailable
from chalicelib.signature import signed, wall
from chalicelib.store_window import Window

CONTENT_TYPE = "application/x-amz-json-1.0"
ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
"""DynamoDB stops a page at 1 MB of items and a batch at 16; in its wire form they are at most twice as long."""

SOUND_S = 0.05
"""See Server: DynamoDB hangs up on connections that have rested for longer, and says nothing unasked."""

_TARGET = "DynamoDB_20120810."
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

Item = dict[str, dict[str, Any]]
"""A DynamoDB item in its wire form: attribute -> {type: value}."""


Unheard = Callable[[], None]


def not_minded() -> None:
    """For who repeats a write at will."""


class ConditionFailed(Exception):
    """A conditional write lost. `old` is the item as it was, {} where there was none (or none was asked for)."""

    def __init__(self, old: Item) -> None:
        super().__init__("condition failed")
        self.old = old


class Complaint(Exception):
    """DynamoDB's own error; `old` is the item that a failed condition was asked to return."""

    def __init__(self, code: str, text: str, old: Item, request_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        self.old = old
        self.request_id = request_id


class DynamoDB:
    """DynamoDB in one region. Thread-safe; nothing is opened before the first call."""

    def __init__(
        self, region: str, deadline_ms: int, endpoint_url: str, credentials: FindCredentials, clock: Clock
    ) -> None:
        """`deadline_ms`: to be connected, and again until an answer begins. `clock`: see signature.wall."""
        self.region = region
        self.url = endpoint_url
        self.observe: Callable[[str], None] | None = None  # told each operation before it leaves, also a repeated one
        deadline_s = deadline_ms / 1_000
        self._server = Server(Place.of(endpoint_url), Patience(deadline_s, deadline_s), trust.of_aws, SOUND_S)
        self._window = Window(deadline_s)
        self._path = self._server.place.path or "/"
        self._credentials = credentials
        self._clock = clock

    def send(self, operation: str, arguments: Mapping[str, Any], unheard: Unheard = not_minded) -> dict[str, Any]:
        """What DynamoDB answers. Raises Complaint; StoreUnavailable where it did not answer in time, or not sense.

        Every write of ours is conditional and may be repeated, so it may leave twice: `unheard` is told each time that
        nobody heard what became of it. It may have been carried out then, or may be yet.
        """
        body = _encode(arguments)
        response = self._heard(operation, body, unheard)
        if isinstance(response, Failed) or response.status >= 500:
            # Once covers a connection that died idle; more would only outlast the caller's patience.
            response = self._heard(operation, body, unheard)
        if isinstance(response, Failed):
            raise StoreUnavailable(response.symptom) from response
        answer = _decoded(response.body)
        if answer is None:
            unheard()
            raise StoreUnavailable("no JSON")
        if response.status == 200:
            return answer
        raise Complaint(
            str(answer.get("__type", response.status)).rpartition("#")[2],
            str(answer.get("message") or answer.get("Message") or ""),
            answer.get("Item", {}),
            response.headers.get("x-amzn-requestid", ""),
        )

    def _heard(self, operation: str, body: bytes, unheard: Unheard) -> "_Response | Failed":
        response = self._sent(operation, body)
        if isinstance(response, Failed):
            if not isinstance(response, Unreachable):
                unheard()
        elif response.status >= 500:
            unheard()
        return response

    def _sent(self, operation: str, body: bytes) -> "_Response | Failed":
        server, place = self._server, self._server.place
        began_s = self._window.enter()
        if began_s is None:
            raise StoreUnavailable("as many calls are under way as it answers in time")
        try:
            return self._asked(operation, body, server, place)
        finally:
            self._window.leave(began_s)

    def _asked(self, operation: str, body: bytes, server: Server, place: Place) -> "_Response | Failed":
        try:
            credentials = self._credentials()
        except NoCredentials as error:
            raise StoreUnavailable(str(error)) from error
        headers = signed(
            place.host,
            self._path,
            {"Content-Type": CONTENT_TYPE, "X-Amz-Target": _TARGET + operation},
            body,
            region=self.region,
            service="dynamodb",
            credentials=credentials,
            now_ms=self._clock(),
        )
        if self.observe is not None:
            self.observe(operation)
        try:
            answer = server.ask_once(message.head("POST", self._path, place.host, headers, len(body)), body)
            return _Response(answer.status, answer.headers, answer.read(ANSWER_LIMIT_BYTES))
        except Failed as failure:
            server.forget()  # a sandbox that thaws finds all of them dead: the next try takes a fresh one
            return failure


class _Response(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return answer if isinstance(answer, dict) else None


class Tables(msgspec.Struct, frozen=True):
    """The tables of one deployment, behind one client. What is in which stands in tables.py, with their models."""

    connection: DynamoDB
    prefix: str

    def name(self, table: str) -> str:
        return f"{self.prefix}-{table}"

    @property
    def tenancy(self) -> str:
        return self.name("tenancy")

    @property
    def meters(self) -> str:
        return self.name("meters")

    @property
    def ledger(self) -> str:
        return self.name("ledger")

    @property
    def heads(self) -> str:
        return self.name("heads")

    @property
    def contents(self) -> str:
        return self.name("contents")

    @property
    def usage(self) -> str:
        return self.name("usage")

    def call(self, operation: str, unheard: Unheard = not_minded, **arguments: Any) -> dict[str, Any]:
        """One DynamoDB call; `unheard` as in `DynamoDB.send`.

        Raises: ConditionFailed, StoreUnavailable.
        """
        try:
            return self.connection.send(operation, arguments, unheard)
        except Complaint as complaint:
            if complaint.code != "ConditionalCheckFailedException":
                raise StoreUnavailable(complaint.code) from complaint
            raise ConditionFailed(complaint.old) from None

    def pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """What a Query or a Scan answers, page by page to its end; each is asked for when it is wanted.

        Raises StoreUnavailable.
        """
        while True:
            answer = self.call(operation, **arguments)
            yield answer
            if not answer.get("LastEvaluatedKey"):
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def open_tables(region: str, prefix: str, deadline_ms: int, endpoint_url: str | None = None) -> Tables:
    """One deployment's tables (`<prefix>-tenancy`, ...). No call is made and nothing is opened before the first use.

    `endpoint_url` is for tests that talk to several stores at once; elsewhere the environment says it.
    """
    url = endpoint_url or address("dynamodb", region, os.environ)
    return Tables(DynamoDB(region, deadline_ms, url, aws_credentials.own(), wall), prefix)
