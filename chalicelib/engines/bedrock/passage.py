"""A way past botocore's types, for callers whose Converse is theirs: the body as they wrote it, the answer as it came.

Through them, what botocore's release does not know would be lost. What it signs, sends and finds wrong stays the same.
"""

from typing import Any

BODY = "verbatim"
"""The parameter of Converse and ConverseStream that holds the body, and the member of a whole answer that is one."""

_RUNTIME = "bedrock-runtime"


def opened(client: Any) -> None:
    """Let this client of the runtime take BODY, and tell it."""
    events = client.meta.events
    for operation in ("Converse", "ConverseStream"):
        events.register(f"before-parameter-build.{_RUNTIME}.{operation}", _take)
        events.register(f"before-call.{_RUNTIME}.{operation}", _put)
    events.register(f"before-parse.{_RUNTIME}.Converse", _keep)


def _take(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if BODY in params:
        context[BODY] = params.pop(BODY)


def _put(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if BODY in context:
        params["body"] = context[BODY]
        params["headers"]["Content-Type"] = "application/json"


def _keep(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    customized_response_dict[BODY] = response_dict["body"]
