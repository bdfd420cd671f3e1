"""A code that programs act on reaches them on every route that runs a model, before and after the first byte."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.call import Call, Delta, Started
from chalicelib.engines.scripted import Step
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.refusal import CODES, CONTEXT_LENGTH_EXCEEDED, Malformed
from tests.api.test_permissions import TABLE
from tests.small_deployments import Deployment, Gateway

ADAPTED = [route for route in ROUTES if route.infers and route.auth == "key"]
OPERATIONS = ("chat.completions", "completions", "embeddings", "invoke")
PROMPT_TOO_LONG = {
    "anthropic": "prompt is too long: It does not fit.",
    "bedrock": "Input is too long for requested model: It does not fit.",
}
"""What clients know it by, where there is no such code."""


BEGUN = {
    "messages": b'{"type":"ping"}',
    "responses": b'{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress"}}',
}
"""What an answer may begin with, where that is no chunk of a chat."""


class Refusing:
    """What the engine refuses with, and whether it has begun by then."""

    def __init__(self) -> None:
        self.code = ""
        self.late = False

    def __call__(self, _target: Target, call: Call) -> Iterable[Step]:
        refusal = Malformed("It does not fit.", field="messages", code=self.code)
        return (
            (Started("i-1"), Delta(BEGUN.get(call.operation, b'{"choices":[]}')), refusal) if self.late else (refusal,)
        )


@pytest.fixture
def refusing() -> Refusing:
    return Refusing()


@pytest.fixture
def deployment(refusing: Refusing) -> Iterator[Deployment]:
    deployment = Deployment(script=refusing)
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("a"),), operations=OPERATIONS))  # type: ignore[arg-type]
    deployment.tenant()
    with wiring.opening_into(deployment.rooms()):
        yield deployment


def told(route: Route, body: Any) -> tuple[str | None, str]:
    """Code and text, in the route's shape."""
    if route.shape == "problem":
        return body["code"], body["detail"]
    if route.shape == "bedrock":
        return body["reason"], body["message"]
    return body["error"]["code"], body["error"]["message"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("route", ADAPTED, ids=lambda route: route.name)
def test_the_code_of_a_refusal_survives(
    gateway: Gateway, deployment: Deployment, refusing: Refusing, route: Route, code: str
) -> None:
    refusing.code = code
    path = route.path.format(tenant="acme", model="m")
    answer = gateway.call("POST", path, key=deployment.key(), json=TABLE[f"POST {route.path}"].body)
    found, text = told(route, answer.json)
    assert (answer.status, found) == (400, code)
    if route.shape == "anthropic":
        assert answer.json["error"]["details"] == {"error_code": code}  # where their SDKs look
    too_long = PROMPT_TOO_LONG.get(route.shape) if code == CONTEXT_LENGTH_EXCEEDED else None
    assert text == (too_long or "It does not fit.")


def test_anthropics_clients_read_by_how_much_a_prompt_is_too_long(gateway: Gateway) -> None:
    refusal = Malformed("8 over 7.", code=CONTEXT_LENGTH_EXCEEDED, prompt_over_context=(6_014, 2_048))
    deployment = Deployment(script=lambda _target, _call: (refusal,))
    deployment.pool()
    deployment.tenant()
    body = {"model": "model-a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    with wiring.opening_into(deployment.rooms()):
        answer = gateway.call("POST", "/tenants/acme/v1/messages", key=deployment.key(), json=body)
    assert answer.json["error"]["message"] == "prompt is too long: 6014 tokens > 2048 maximum"


@pytest.mark.parametrize("route", [route for route in ADAPTED if route.streams], ids=lambda route: route.name)
def test_the_code_of_a_refusal_survives_in_a_stream(
    gateway: Gateway, deployment: Deployment, refusing: Refusing, route: Route
) -> None:
    refusing.code, refusing.late = CONTEXT_LENGTH_EXCEEDED, True
    body = {**(TABLE[f"POST {route.path}"].body or {}), "stream": True}
    path = route.path.format(tenant="acme", model="m")
    answer = gateway.call("POST", path, key=deployment.key(), json=body)
    assert answer.status == 200
    name = b"reason" if route.shape == "bedrock" else b"code"
    assert b'"%s":"context_length_exceeded"' % name in answer.body.rpartition(b"data: ")[2]
