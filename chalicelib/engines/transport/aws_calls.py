"""Calls of AWS's services that answer in streams: botocore's cannot be read without waiting, nor cut by another thread.

Nothing is repeated here but what no server can have heard: who calls knows other targets, and deadlines.
https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from chalicelib.aws_credentials import FindCredentials, NoCredentials
from chalicelib.clock import Clock
from chalicelib.http1 import message, trust
from chalicelib.http1.answer import Answer
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server
from chalicelib.signature import signed

COMPLAINT_BYTES = 64 * 1024

Prove = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]
"""Host, path, headers and body of a request -> its headers with those that prove who sends it. Raises NoCredentials."""


class AwsCalls:
    """POSTs to one service at one place. Thread-safe; nothing is opened before the first one."""

    def __init__(self, url: str, patience: Patience, prove: Prove) -> None:
        """Raises ValueError for what is no URL."""
        self._server = Server(Place.of(url), patience, trust.of_aws)
        self._prove = prove

    def post(self, path: str, headers: Mapping[str, str], body: bytes, patience: Patience | None = None) -> Answer:
        """The answer, as soon as its head is there. Raises Failed; NoCredentials, also where they would end a line."""
        place = self._server.place
        path = place.path + path
        try:
            proved = self._prove(place.host, path, headers, body)
            head = message.head("POST", path, place.host, proved, len(body))
        except ValueError:
            raise NoCredentials("no header can hold them") from None
        return self._server.ask(head, body, patience)

    def reach(self, patience: Patience) -> None:
        """See whether anybody answers there, whatever it is. Raises Failed."""
        place = self._server.place
        head = message.head("GET", place.path or "/", place.host, {}, 0)
        self._server.ask(head, patience=patience).close()  # the body is left unread: it need not end


def by_signature(service: str, region: str, credentials: FindCredentials, clock: Clock) -> Prove:
    """`service`: as signatures name it. `clock`: see signature.wall."""

    def prove(host: str, path: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        return signed(
            host, path, headers, body, region=region, service=service, credentials=credentials(), now_ms=clock()
        )

    return prove


def by_key(key: str, url: str) -> Prove:
    """An API key (RFC 6750), which whoever can read along on the way could use. `url`: where it is sent to."""

    def prove(host: str, path: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:  # noqa: ARG001
        if not _private(url):
            raise NoCredentials("no key goes over plain HTTP")
        return {**headers, "Authorization": f"Bearer {key}"}

    return prove


def _private(url: str) -> bool:
    """Whether nobody on the way can read along: under TLS, or within this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


class Complaint(msgspec.Struct, frozen=True):
    """What a service answers in place of an answer. Its text stays within: it may name what is not the caller's."""

    code: str  # the exception's name; the status where there is none
    status: int
    text: str
    body: bytes  # where services say more


class _Said(msgspec.Struct):
    code: str = ""
    type: str = msgspec.field(default="", name="__type")
    message: str = ""
    Message: str = ""


_said = msgspec.json.Decoder(_Said)


def complaint(status: int, headers: Mapping[str, str], body: bytes) -> Complaint:
    try:
        said = _said.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Said(message=body.decode(errors="replace"))
    named = headers.get("x-amzn-errortype") or said.code or said.type
    # As `ValidationException:http://...` in the header, and as `com.amazonaws...#ValidationException` in the body.
    code = named.partition(":")[0].rpartition("#")[2] or str(status)
    return Complaint(code, status, said.message or said.Message, body)
