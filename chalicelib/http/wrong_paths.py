"""What is said where nothing is served, in the shape that whoever asks there understands.

An SDK whose base URL is wrong asks for the right thing at a wrong place: the end of the path tells which SDK it is.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from chalicelib.http.cross_origin import headers_for
from chalicelib.http.ids import ids_of
from chalicelib.http.problems import Shape, kind_of
from chalicelib.http.route_table import ROUTES
from chalicelib.http.shapes import SHAPES
from chalicelib.http.surface import answer_to_preflight, headers_of, refused
from chalicelib.refusal import MethodNotAllowed, NotFound

VERSION = "/tenants/{tenant}/v1"
"""Below which the SDKs' own paths stand."""

HINTS: Mapping[Shape, str] = {
    "openai": "The base_url of OpenAI's SDKs ends in /tenants/{tenant}/v1 here.",
    "anthropic": "The base_url of Anthropic's SDKs ends in /tenants/{tenant} here, without /v1.",
}


METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def of_a_page(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a web page asks a tenant, whose origins decide whether it may read the answer."""
    return "origin" in headers and _tenant_of(path) is not None


def reply_where_nothing_is(
    missing: NotFound | MethodNotAllowed, method: str, path: str, headers: Mapping[str, str]
) -> dict[str, Any]:
    """`headers`: by lower-case name. Reads the tenant where `of_a_page`, and only there."""
    ids = ids_of({"headers": headers})
    tenant = _tenant_of(path) if of_a_page(path, headers) else None
    if tenant is not None and method == "OPTIONS":  # so that the page may read what is wrong with its request
        return answer_to_preflight({"headers": headers}, tenant, METHODS, SHAPES.of(path), ids).to_dict()
    lost = None if isinstance(missing, MethodNotAllowed) else _sdk_that_asks(path)
    shape = lost or SHAPES.of(path)
    if "anthropic-version" in headers and (lost or shape == "openai"):
        shape = "anthropic"
    if lost:
        missing.text = f"{HINTS[shape]} {missing.text}"
    if shape != "problem":  # which has a title, and says it there
        missing.text = f"{kind_of(missing).title}. {missing.text}"
    reply = refused(missing, shape, ids)
    reply.headers |= headers_of(ids) | {"Request-Id": ids.request_id}  # Anthropic's name for it
    if tenant is not None:
        reply.headers.update(headers_for(headers["origin"], tenant))
    return reply.to_dict()


def _tenant_of(path: str) -> str | None:
    segments = tuple(filter(None, path.split("/")))
    return segments[1] if segments[:1] == ("tenants",) and len(segments) > 1 else None


def _sdk_that_asks(path: str) -> Shape | None:
    """Whose path it ends in, if in an SDK's; None also for our own."""
    asked = tuple(filter(None, path.split("/")))
    for end, shape in _ends():
        if asked[-len(end) :] == end:
            return shape
    return None


@cache
def _ends() -> tuple[tuple[tuple[str, ...], Shape], ...]:
    """How the SDKs' paths end, the longest first."""

    def known() -> Iterator[tuple[tuple[str, ...], Shape]]:
        for path in ROUTES.paths:
            end, shape = path.removeprefix(f"{VERSION}/"), SHAPES.of(path)
            if shape != "problem" and "{" not in end:
                yield tuple(end.split("/")), shape

    return tuple(sorted(known(), key=lambda pair: -len(pair[0])))
