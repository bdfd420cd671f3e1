"""A picture is no long text: whichever door it comes by, it is admitted for what it may be."""

from typing import Any

import pytest

from tests.small_deployments import Deployment, Gateway

DATA = "iVBORw0KGgoAAAANSUhEUgAAAoAAAAHg" + "A" * 800_000  # a PNG of 640 by 480 pixels
OPENAIS = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
ANTHROPICS = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/tenants/acme/v1/chat/completions", OPENAIS),
        ("/tenants/acme/v1/messages", ANTHROPICS),
        ("/tenants/acme/v1/messages/count_tokens", ANTHROPICS),
        ("/inference", OPENAIS),
    ],
)
def test_a_large_image_is_within_everybodys_limits(
    gateway: Gateway, deployment: Deployment, path: str, part: dict[str, Any]
) -> None:
    body = {"model": "model-a", "max_tokens": 8, "messages": [{"role": "user", "content": [part]}]}
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    assert gateway.call("POST", path, key=deployment.key(), json=body).status == 200


def test_as_much_text_is_not(gateway: Gateway, deployment: Deployment) -> None:
    body = {"model": "model-a", "max_tokens": 8, "messages": [{"role": "user", "content": DATA}]}
    answer = gateway.call("POST", "/tenants/acme/v1/chat/completions", key=deployment.key(), json=body)
    assert answer.status == 413
