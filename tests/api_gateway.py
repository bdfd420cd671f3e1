"""Events as API Gateway's proxy integration hands them to the function (payload version 1.0)."""

from collections.abc import Mapping
from typing import Any


def event(
    method: str,
    resource: str,
    parameters: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str | None] | None,
    body: str | None = None,
    encoded: bool = False,
    path: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A request for the path of this resource (`path`: as the client wrote it); `context` is said of it beside that."""
    return {
        "resource": resource,
        "path": path or resource.format(**(parameters or {})),
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": None if headers is None else {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1", "userArn": None},
            **(context or {}),
        },
        "body": body,
        "isBase64Encoded": encoded,
    }
