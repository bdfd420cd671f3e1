"""What OpenAI's SDKs read besides the status: whether to try again."""

import pytest

from chalicelib.admission.limits import Budget, Limits
from tests.small_deployments import Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


def test_an_sdk_is_told_not_to_repeat_what_cannot_pass(gateway: Gateway, deployment: Deployment) -> None:
    twice = Budget("calls", "requests", 2, "month")
    deployment.tenant("tiny", limits=Limits(rates=(), budgets=(twice,), in_flight=8))
    key = deployment.key("tiny")
    told = []
    for headers in ({"Idempotency-Key": "one"}, {"Idempotency-Key": "one"}, {}, {}):
        answer = gateway.call("POST", "/tenants/tiny/v1/chat/completions", key=key, json=CHAT, headers=headers)
        told.append((answer.status, answer.headers.get("x-should-retry")))
    assert told == [(200, None), (409, "false"), (200, None), (429, "false")]


@pytest.mark.parametrize("door", ["chat/completions", "messages"])
def test_whoever_would_repeat_a_request_without_a_valid_key_is_told_not_to(
    gateway: Gateway, deployment: Deployment, door: str
) -> None:
    assert deployment.key()  # there is a valid one
    wrong = "ck_acme.aaaaaaaa_" + "x" * 43
    answer = gateway.call("POST", f"/tenants/acme/v1/{door}", key=wrong, json=CHAT)
    assert (answer.status, answer.headers.get("x-should-retry")) == (401, "false")
