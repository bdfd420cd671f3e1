"""An HTTP request as a door sees it, whichever transport brought it."""

import base64
import codecs
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from chalicelib.http.credentials import credential_of
from chalicelib.http.ids import Ids
from chalicelib.http.problems import Shape
from chalicelib.http.route import Route
from chalicelib.identity.credential import Credential
from chalicelib.refusal import Malformed, TooLarge
from chalicelib.sight.trace import Trace
from chalicelib.tenancy.sources import NetworkSource
from chalicelib.tenancy.tenant import SurfaceName

T = TypeVar("T")

HEADER_BYTES = 10_240
"""What API Gateway takes for all headers together; the same bound holds wherever there is none."""


class Incoming(msgspec.Struct, frozen=True):
    """One request: names of headers in lower case, the body as bytes."""

    method: str
    route: str  # by which it came, as `Route.called`
    surface: SurfaceName
    shape: Shape  # of its answer, and of what refuses it
    parameters: Mapping[str, str]  # of the path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes  # none until `with_body`: who is calling is judged first
    request_id: str
    trace: Trace
    arrived_ms: int
    credential: Credential | None  # as the route takes it
    source: NetworkSource
    closed: bool  # members that the body's type does not know are refused
    full_path: str  # with API Gateway's stage, or its custom domain's base path; empty where there is no API Gateway

    @property
    def ids(self) -> Ids:
        return Ids(self.request_id, self.trace)

    @property
    def tenant(self) -> str | None:
        """The one that the request names, if it names one."""
        return _tenant(self.surface, self.headers, self.parameters)

    @property
    def source_ip(self) -> str:
        return self.source.ip

    def with_body(self, event: Mapping[str, Any], limit: int) -> "Incoming":
        """The same, with what the event has as its body. Raises Malformed, TooLarge."""
        body = _decoded(sent_body(event, limit), self.headers.get("content-encoding"), limit)
        return msgspec.structs.replace(self, body=body) if body else self

    def json(self, form: type[T]) -> T:
        """The body decoded and checked; none at all counts as `{}`. Raises Malformed naming what is wrong."""
        self.must_be_json()
        try:
            if self.closed:
                self._must_be_known(form)
            read: T = _decoder(form).decode(self.document)  # type: ignore[arg-type]  # every type can be hashed
            return read
        except msgspec.ValidationError as error:
            raise misfit(error, form) from None
        except msgspec.DecodeError as error:
            raise Malformed(f"The body is not valid JSON: {error}.") from None
        except UnicodeDecodeError:
            raise Malformed("The body is not valid UTF-8.") from None
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None

    def query_as(self, form: type[T]) -> T:
        """The query decoded and checked. Raises Malformed naming the parameter that is wrong."""
        try:
            return msgspec.convert(dict(self.query), form, strict=False)
        except msgspec.ValidationError as error:
            raise misfit(error, form) from None

    def _must_be_known(self, form: Any) -> None:
        """Raises Malformed for the first member, at any depth, that the type has no place for, or that is there twice.

        Raises also what msgspec does, for what is no JSON.
        """
        # Not at the top: who runs models does not pay for loading it.
        from chalicelib.http.unknown_members import must_be_there_once, unknown_members

        body = msgspec.json.decode(self.document)
        must_be_there_once(self.document)
        for unknown in unknown_members(body, form):
            name = unknown.name[:64]
            raise Malformed(
                f"{unknown.holder or 'The body'} has no member `{name}`. It takes: {', '.join(unknown.known)}.",
                field=f"{unknown.holder}.{name}" if unknown.holder else name,
            )

    @property
    def document(self) -> bytes:
        """The body as JSON: without a byte-order mark, which some editors and clients begin UTF-8 with and JSON has no
        place for (RFC 8259, section 8.1). None at all counts as `{}`."""
        return self.body.removeprefix(codecs.BOM_UTF8) or b"{}"

    def mount(self, path: str) -> str:
        """What stands before our paths where the caller is: the stage, on API Gateway. `path`: the one of ours that was
        called."""
        return self.full_path.rstrip("/").removesuffix(path.rstrip("/"))

    def accepts(self, media_type: str) -> bool:
        """Whether `Accept` names it, and not with a weight of nothing: `*/*` is what programs say."""
        return names(self.headers.get("accept", ""), media_type)

    @property
    def media_type(self) -> str:
        return _media_type(self.headers)

    def must_be_json(self) -> None:
        kind = self.media_type
        if kind != "application/json" and not kind.endswith("+json"):
            raise Malformed(f"The content type {kind[:64]!r} is not understood. Send application/json.")


def names(said: str, name: str) -> bool:
    """Whether an Accept or Accept-Encoding names this, and not with a weight of nothing."""
    for each in said.lower().split(","):
        what, *details = (part.strip() for part in each.split(";"))
        if what == name:
            return not any(re.fullmatch(r"q=0(\.0*)?", detail) for detail in details)
    return False


@lru_cache(maxsize=256)
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(form)


def must_fit(value: Any, form: Any, field: str) -> None:
    """Raises Malformed, of that member."""
    try:
        msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        raise misfit(error, form, field) from None


def misfit(error: msgspec.ValidationError, form: Any, holder: str = "") -> Malformed:
    """What msgspec found wrong with a value that is to be a `form`, in the words of who sent it as `holder`."""
    from chalicelib.http import misfits  # nobody else pays for loading it

    return misfits.misfit(error, form, holder)


def incoming(event: Mapping[str, Any], route: Route, now_ms: int, ids: Ids) -> Incoming:
    """Read an API Gateway proxy event (REST, format 1.0) that came in by this route, all but its body.

    Raises: TooLarge, Forbidden; `ids` still tell what to answer with.
    """
    headers = {name.lower(): value or "" for name, value in (event.get("headers") or {}).items()}
    # With what was repeated, of which `headers` holds the last.
    several = event.get("multiValueHeaders") or {name: [value] for name, value in headers.items()}
    if sum(len(name) + len(value or "") for name, values in several.items() for value in values) > HEADER_BYTES:
        raise TooLarge(f"The headers are larger than {HEADER_BYTES} bytes together.")
    caller = event["requestContext"].get("identity") or {}
    surface, shape = taken_as(event, route)
    # API Gateway hands them over as they came, the bridge decoded; no name of ours has a percent sign.
    parameters = {name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()}
    tenant = _tenant(surface, headers, parameters)
    return Incoming(
        method=event["httpMethod"],
        route=route.called,
        surface=surface,
        shape=shape,
        parameters=parameters,
        query=event.get("queryStringParameters") or {},
        headers=headers,
        body=b"",
        request_id=ids.request_id,
        trace=ids.trace,
        arrived_ms=now_ms,
        credential=credential_of(
            route, event["httpMethod"], tenant, headers, _media_type(headers), caller.get("userArn")
        ),
        source=NetworkSource(caller.get("sourceIp") or "", caller.get("vpceId") or ""),
        closed=route.closed,
        full_path=event["requestContext"].get("path") or "",
    )


def _tenant(surface: SurfaceName, headers: Mapping[str, str], parameters: Mapping[str, str]) -> str | None:
    return headers.get("x-tenant-id") if surface == "native" else parameters.get("tenant")


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "application/json").partition(";")[0].strip().lower()


def taken_as(event: Mapping[str, Any], route: Route) -> tuple[SurfaceName, Shape]:
    """To which surface the request comes, and in which shape it is answered."""
    if route.returns_to_anthropic is not None and any(
        name.lower() == "anthropic-version" for name in event.get("headers") or {}
    ):
        return "anthropic", "anthropic"
    return route.surface, route.shape


def sent_body(event: Mapping[str, Any], limit: int) -> bytes:
    """The body as it came. Raises Malformed, TooLarge."""
    text = event.get("body") or ""
    if isinstance(text, bytes):  # the bridge has no reason to encode what it would decode again
        body = text
    elif event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(text, validate=True)
        except ValueError:  # binascii.Error is one; so is a letter that is no ASCII
            raise Malformed("The body is not valid base64.") from None
    else:
        body = text.encode()
    if len(body) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    return body


def _decoded(body: bytes, coding: str | None, limit: int) -> bytes:
    """The body without its content encoding: as it is, or gzip, of which never more than the limit is inflated."""
    if not coding or not body:
        return body
    codings = [name for name in (each.strip().lower() for each in coding.split(",")) if name not in ("", "identity")]
    if not codings:
        return body
    if len(codings) > 1 or codings[0] not in ("gzip", "x-gzip"):
        raise Malformed(f"The content encoding {coding[:64]!r} is not understood. Send the body as it is, or as gzip.")
    import zlib  # not for those who do not compress

    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        whole = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise Malformed("The body is not valid gzip, as its content encoding says. Send it as it is.") from None
    if len(whole) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes when it is unpacked.")
    if not inflater.eof or inflater.unused_data:  # a second part could be the first of a million
        raise Malformed("The body is not exactly one gzip stream: it breaks off, or more follows.")
    return whole
