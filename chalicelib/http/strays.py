"""What a request brings along and its route has no place for: a wish that is not granted, and they must hear of it.

Of members of a body, see `unknown_members`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chalicelib.http.incoming import Incoming
from chalicelib.http.problems import Shape
from chalicelib.http.route import Route
from chalicelib.refusal import Malformed

OF_SDKS: Mapping[Shape, Sequence[str]] = {"openai": ("api-version",), "anthropic": ("beta",)}
"""What Azure's SDKs, and Anthropic's for what is beta, put into every query. It says nothing that matters here."""

OF_SIGNATURES = "x-amz-"
"""How the parameters begin by which a signature of AWS may come in the query."""

LONGEST_NAME = 64


def must_have_a_place(asked: Incoming, event: Mapping[str, Any], route: Route) -> None:
    """Raises Malformed, naming the first of what the route does not read, or reads but once."""
    if route.closed_query:
        _must_be_known(asked, event, route)
    if asked.body and route.accepts is None:
        _must_be_empty(asked)


def _must_be_known(asked: Incoming, event: Mapping[str, Any], route: Route) -> None:
    known = _parameters(asked, route)
    for name in asked.query:
        if name in known or name in OF_SDKS.get(asked.shape, ()):
            continue
        if not (route.signed and name.lower().startswith(OF_SIGNATURES)):
            short, takes = name[:LONGEST_NAME], f"It takes: {', '.join(known)}." if known else "It takes none."
            raise Malformed(f"`{short}` is no query parameter of this route. {takes}", field=short)
    for name, values in (event.get("multiValueQueryStringParameters") or {}).items():
        if len(values) > 1 and name in known:
            raise Malformed(f"`{name}` is in the query {len(values)} times. Send it once.", field=name)


def _parameters(asked: Incoming, route: Route) -> Sequence[str]:
    for_anthropic_alone = route.returns_to_anthropic is not None and asked.shape != "anthropic"
    if route.query is None or for_anthropic_alone:  # OpenAI's lists of models have no pages
        return ()
    return [field.encode_name for field in msgspec.structs.fields(route.query)]


def _must_be_empty(asked: Incoming) -> None:
    """Some clients send an empty object with everything."""
    try:
        body = msgspec.json.decode(asked.document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = True
    if body:
        name = next(iter(body))[:LONGEST_NAME] if isinstance(body, dict) else None
        raise Malformed("This route takes no body. Leave it out.", field=name)
