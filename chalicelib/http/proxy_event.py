"""A request over HTTP as API Gateway would hand it to a function."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from chalicelib.http.asgi import Scope
from chalicelib.http.hops import client_address


def proxy_event(
    scope: Scope,
    template: str,
    parameters: dict[str, str],
    *,
    behind_adapter: bool,
    trusted_hops: int,
) -> dict[str, Any]:
    """The API Gateway proxy event (REST, format 1.0) for an ASGI scope; its body is to come, as bytes.

    `behind_adapter`: the Lambda Web Adapter says in a header what API Gateway knows of the caller.
    """
    many: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        many.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    queries: dict[str, list[str]] = {}
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        queries.setdefault(name, []).append(value)
    client = scope.get("client")
    peer = client[0] if client else ""
    context = {"identity": {"sourceIp": client_address(peer, scope["headers"], trusted_hops)}}
    if behind_adapter:
        # Taken out: a few kilobytes that the client did not send, and that must not count as its own.
        many.pop("x-amzn-lambda-context", None)
        if said := many.pop("x-amzn-request-context", None):
            context = msgspec.json.decode(said[-1])
    return {
        "resource": template,
        "path": scope["path"],
        "httpMethod": scope["method"],
        "headers": {name: values[-1] for name, values in many.items()},
        "multiValueHeaders": many,
        "queryStringParameters": {name: values[-1] for name, values in queries.items()} or None,
        "multiValueQueryStringParameters": queries or None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {**context, "resourcePath": template, "httpMethod": scope["method"]},
        "body": b"",
        "isBase64Encoded": False,
    }
