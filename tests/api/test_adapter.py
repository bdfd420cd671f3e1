"""The bridge behind the Lambda Web Adapter, which tells in headers what API Gateway knows."""

import json
from typing import Any

from app import app
from chalicelib.http.bridge import Bridge
from chalicelib.settings import Settings
from tests.small_deployments import Deployment, served

CONTEXT = {"stage": "api", "identity": {"sourceIp": "198.51.100.7", "userArn": "arn:aws:iam::123456789012:user/ops"}}


def behind_adapter(said: dict[str, Any], padding: int) -> dict[str, str]:
    """What the adapter adds to a client's request with headers of `padding` bytes."""
    context, own = json.dumps({**CONTEXT, **said}), json.dumps({"client_context": "x" * 2_000})
    return {"x-amzn-request-context": context, "x-amzn-lambda-context": own, "x-padding": "x" * padding}


def test_what_the_adapter_adds_names_the_principal_and_is_not_held_against_the_client(deployment: Deployment) -> None:
    assert deployment.tenancy.tenants()
    with served(Bridge(app, Settings().body_limit_bytes, {"AWS_LAMBDA_FUNCTION_NAME": "streaming"})) as gateway:
        answer = gateway.call("GET", "/admin/tenants", headers=behind_adapter({"path": "x" * 2_000}, 10_000))
        assert (answer.status, len(answer.json["tenants"])) == (200, 3)
        assert gateway.call("GET", "/health", headers=behind_adapter({}, 11_000)).status == 413
