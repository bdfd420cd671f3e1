"""All that the streaming function does at the store: every route that runs a model, as callers use it."""

import itertools
from collections.abc import Iterable
from typing import Any

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.http.route_table import ROUTES
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed
from chalicelib.tenancy.inference_profiles import InferenceProfiles
from tests.engines.responses import says
from tests.small_deployments import Deployment, Gateway, front, served

BODIES: dict[str, Any] = {
    "/inference": {"model": "model-a", "prompt": "hi"},
    "/tenants/{tenant}/v1/completions": {"model": "model-a", "prompt": "hi"},
    "/tenants/{tenant}/v1/embeddings": {"model": "model-a", "input": "hi"},
    "/tenants/{tenant}/v1/responses": {"model": "model-a", "input": "hi", "store": True},
}
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def answers(target: Target, call: Call) -> Iterable[Step]:
    """In the shape that can be kept, where one is asked for; to the other routes any will do."""
    if target.name == "broken":
        return (*itertools.islice(says("hello", call), 1), EngineFailed("broke off"))
    if call.operation == "responses":
        return says("hello", call)
    return words("hello") if call.stream else whole("hello")


def everything_that_streams(deployment: Deployment, key: str) -> None:
    with wiring.opening_into(deployment.rooms()), served(front()) as gateway:
        for route in ROUTES:
            if route.infers:
                _call(gateway, route.path.replace("{tenant}", "acme"), key, BODIES.get(route.path, CHAT))
        chat = "/tenants/acme/v1/chat/completions"
        again = {"Idempotency-Key": "once"}
        answered = [_call(gateway, chat, key, CHAT, again), _call(gateway, chat, key, CHAT, again)]
        assert answered[0] == 200 < answered[1]
        answer = gateway.call(
            "POST", "/tenants/acme/v1/responses", key=key, json=BODIES["/tenants/{tenant}/v1/responses"]
        )
        assert answer.status == 200, answer.body
        further = {"model": "model-a", "input": "and?", "previous_response_id": answer.json["id"]}
        answer = gateway.call("POST", "/tenants/acme/v1/responses", key=key, json=further)
        assert answer.status == 200, answer.body
        assert _call(gateway, "/tenants/acme/v1/responses", key, further | {"model": "broken", "store": True}) == 502
        assert _call(gateway, chat, key.replace("acme", "nobody"), CHAT) == 401
    profiles = InferenceProfiles(deployment.store.documents)
    profiles.remember("us-east-1", "model", "profile")
    assert profiles.recall("us-east-1", "model") == "profile"


def _call(gateway: Gateway, path: str, key: str, body: Any, headers: dict[str, str] | None = None) -> int:
    return gateway.call("POST", path, key=key, json=body, headers=headers).status
